"""Find the files that a path or a pattern names."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from data.download import Watcher
from data.errors import InputError
from data.program import named
from data.sources.dataset_folder import rows_of
from data.sources.files import FileSource
from data.sources.folder import LINKS, files_of
from data.sources.gitignore import IGNORED, pattern_of
from data.sources.tally import Tally
from data.specs import anchored_path, is_pattern

ANY_DEPTH = "**"


@dataclass(frozen=True)
class Found:
    """Files.

    Attributes:
        sources: In their order, which is the same each time.
        is_one: Whether a single file was named, which nothing else can stand in for.
        place: The absolute path or pattern that finds them again.
    """

    sources: tuple[FileSource, ...]
    is_one: bool
    place: str


def find_files(spec: str, skipped: Tally, watcher: Watcher) -> Found:
    """Find what a path or a pattern names; a single file need not exist yet.

    Args:
        skipped: Receives what a folder has beside files of text.

    Raises:
        InputError: It cannot be used, or names nothing.
        Cancelled: `watcher.cancelled` returned true.
    """
    path = Path(anchored_path(spec))
    if is_pattern(spec):
        return Found(tuple(_matching(spec, path, skipped, watcher)), False, str(path))
    if not path.is_dir():
        return Found((FileSource(path, spec, path.name),), True, str(path))
    found = rows_of(path, files_of(path, spec, skipped, watcher), skipped)
    return Found(tuple(_source(one, path, spec) for one in found), False, str(path))


def _matching(spec: str, path: Path, skipped: Tally, watcher: Watcher) -> list[FileSource]:
    root, wanted = _parted(path)
    left_out = Tally()
    if ANY_DEPTH in wanted and not any(one.startswith(".") for one in wanted):
        found: Iterable[Path] = _at_any_depth(root, wanted, left_out, watcher)
    else:
        found = _at_their_depth(path, left_out, watcher)
    files = dict.fromkeys(found)  # once, also where a folder and what is in it match
    told = Tally()
    for why in (IGNORED, LINKS):  # of others it is not known whether they match
        told.add(why, left_out.first.get(why, ""), left_out.counts[why])
    skipped.merge(told)
    if not files:
        without = f" (left out: {told.described()})" if told.counts else ""
        raise InputError(
            f"no file matches {named(spec)}{without}: check the pattern, or name a folder"
        )
    named_root = str(_parted(Path(spec))[0])
    return [_source(one, root, "" if named_root == os.curdir else named_root) for one in files]


def _at_their_depth(path: Path, skipped: Tally, watcher: Watcher) -> Iterator[Path]:
    """Yield the files that a pattern matches, and those in folders that it matches."""
    matches = map(Path, glob.iglob(str(path), recursive=True))
    for match in sorted(matches, key=lambda one: one.parts):
        if not match.is_dir():
            yield match
        elif match.is_symlink():
            skipped.add(LINKS, str(match))
        else:
            yield from files_of(match, str(match), skipped, watcher)


def _at_any_depth(
    root: Path, wanted: tuple[str, ...], skipped: Tally, watcher: Watcher
) -> list[Path]:
    """Return what a pattern with ``**`` matches: as of a folder, links are not followed."""
    start = wanted.index(ANY_DEPTH)
    matches = pattern_of(wanted[start:])
    found: list[Path] = []
    for top in map(Path, glob.glob(str(root.joinpath(*wanted[:start])))):
        for file in files_of(top, str(top), skipped, watcher) if top.is_dir() else ():
            inside = file.relative_to(top)
            if any(matches.fullmatch(one.as_posix()) for one in (inside, *inside.parents[:-1])):
                found.append(file)
    return sorted(found, key=lambda one: one.parts)


def _parted(path: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the folder in which a pattern looks, and the parts of the pattern."""
    parts = path.parts
    end = next(i for i, part in enumerate(parts) if any(sign in part for sign in "*?["))
    return Path(*parts[:end]), parts[end:]


def _source(path: Path, root: Path, spec: str) -> FileSource:
    name = path.relative_to(root).as_posix()
    return FileSource(path, os.path.join(spec, name), name)
