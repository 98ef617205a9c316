"""Find the files of a tokenizer: GPT-2's wherever they may be, or those that are named."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from data.download import DownloadError, Watcher, fetch_url, is_offline
from data.errors import InputError, reason_of
from data.files import write_atomically
from data.paths import cache_folder, typed_path
from data.program import named
from data.tokenizers.base import END_OF_TEXT
from data.tokenizers.byte_level import standard_bpe

STANDARD = "tokenizer.json"
PAIRS = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
LARGEST_FILE = 1 << 26  # bytes
GPT2_URL = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/"
GPT2_HASHES = {
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}


def read_tokenizer_file(spec: str) -> dict[str, Any]:
    """Read a ``tokenizer.json``, or a folder with one or with a vocabulary and merges.

    Raises:
        InputError: There is none, or it is no such file.
    """
    path = typed_path(spec)
    try:
        if path.is_dir():
            if found := _in_folder(path):
                return found
            names = ", or ".join(" and ".join(pair) for pair in PAIRS)
            raise InputError(
                f"the folder {named(spec)} has no tokenizer: it needs a {STANDARD}, {names}"
            )
        if not path.is_file():
            raise InputError(
                f"there is no tokenizer {named(spec)}: use char, bytes, bpe, gpt2 or the path of a "
                f"{STANDARD}"
            )
        return _parsed(path)
    except OSError as error:
        raise InputError(f"{named(spec)} cannot be read: {reason_of(error)}") from None


def find_gpt2(watcher: Watcher) -> dict[str, Any]:
    """Return GPT-2's tokenizer: from our cache, that of Hugging Face, or the network.

    Raises:
        InputError: It is nowhere.
        Cancelled: `watcher.cancelled` returned true.
    """
    own = cache_folder() / "tokenizers" / "gpt2"
    for folder in (own, *_hub_folders()):
        with suppress(OSError, InputError):
            if found := _in_folder(folder):
                return found
    why = "GPT_TUI_OFFLINE is set"
    if not is_offline():
        watcher.check_may_download("GPT-2's tokenizer")
        try:
            _download_gpt2(own, watcher)
            if found := _in_folder(own):
                return found
        except DownloadError as error:
            why = str(error)
        except OSError as error:
            why = f"{own} cannot be written: {reason_of(error)}"
    raise InputError(
        f"GPT-2's tokenizer is not on this machine, and it could not be downloaded ({why}): name "
        f"a {STANDARD} of it, as in --set data.tokenizer=PATH, or use data.tokenizer bpe"
    )


def _download_gpt2(folder: Path, watcher: Watcher) -> None:
    bodies = {}
    for name, sha256 in GPT2_HASHES.items():
        watcher.report(f"downloading GPT-2's {name}…")
        bodies[name] = fetch_url(GPT2_URL + name, watcher, max_bytes=LARGEST_FILE)
        if hashlib.sha256(bodies[name]).hexdigest() != sha256:
            raise DownloadError(f"the {name} received has a different hash")
    for name, body in bodies.items():
        write_atomically(folder / name, body)


def _hub_folders() -> Iterator[Path]:
    """Yield the folders in which Hugging Face's libraries keep GPT-2."""
    home = os.environ.get("HF_HOME") or Path("~/.cache/huggingface").expanduser()
    hub = Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")
    for name in ("models--openai-community--gpt2", "models--gpt2"):
        with suppress(OSError):
            yield from sorted((hub / name / "snapshots").iterdir())


def _in_folder(folder: Path) -> dict[str, Any] | None:
    if (folder / STANDARD).is_file():
        return _parsed(folder / STANDARD)
    for vocabulary, merges in PAIRS:
        if (folder / vocabulary).is_file() and (folder / merges).is_file():
            return _byte_level(folder / vocabulary, folder / merges)
    return None


def _byte_level(vocabulary: Path, merges: Path) -> dict[str, Any]:
    """Return the tokenizer of GPT-2's two files."""
    pairs = [line for line in _text(merges).split("\n") if line and not line.startswith("#version")]
    names = _parsed(vocabulary)
    merged = [line.split(" ", 1) for line in pairs]
    special = [END_OF_TEXT] if END_OF_TEXT in names else []
    return standard_bpe(names, byte_level=True, merges=merged, special=special)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(path))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError(f"{named(str(path))} is no {STANDARD}: it is not a JSON object")
    return found


def _text(path: Path) -> str:
    if path.stat().st_size > LARGEST_FILE:
        raise InputError(f"{named(str(path))} is too large for a tokenizer")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{named(str(path))} is no part of a tokenizer: not in UTF-8") from None
