"""Find the files that a path or a pattern names."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from pathlib import Path

from data.download import Watcher
from data.errors import InputError
from data.program import named
from data.sources.dataset_folder import rows_of
from data.sources.files import FileSource
from data.sources.folder import files_of
from data.sources.tally import Tally
from data.specs import anchored_path, is_pattern


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
    root = Path(*_before_pattern(path))
    matches = sorted(map(Path, glob.iglob(str(path), recursive=True)), key=lambda one: one.parts)
    if not matches:
        raise InputError(f"no file matches {named(spec)}: check the pattern, or name a folder")
    files: dict[Path, None] = {}
    for match in matches:
        inside = files_of(match, str(match), skipped, watcher) if match.is_dir() else [match]
        files |= dict.fromkeys(inside)  # once, also where a folder and what is in it match
    named_root = os.path.join("", *_before_pattern(Path(spec)))
    return [_source(one, root, named_root) for one in files]


def _before_pattern(path: Path) -> list[str]:
    parts = list(path.parts)
    end = next(i for i, part in enumerate(parts) if any(sign in part for sign in "*?["))
    return parts[:end]


def _source(path: Path, root: Path, spec: str) -> FileSource:
    name = path.relative_to(root).as_posix()
    return FileSource(path, os.path.join(spec, name), name)
