"""Rename, copy, delete and restore runs.

Deleted runs are kept in a hidden folder of the runs folder, the trash.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from data.errors import InputError, reason_of
from data.files import remove_tree, write_atomically
from data.paths import absolute, quoted_path, typed_path, way_out_of
from data.reading import read_regular
from engine.program import program
from engine.runs.checkpoint_names import BEST, CHECKPOINTS_FOLDER, LATEST, read_pointer
from engine.runs.database import RunDatabase, reading
from engine.runs.folder import (
    DATABASE_FILE,
    LOCK_FILE,
    RunLock,
    check_name,
    in_runs_dir,
    is_run,
)
from engine.runs.notes import change_notes
from engine.runs.own_files import check_own_files, unlinked

ATTEMPTS = 10
TRASH_FOLDER = ".trash"
MOST_BYTES_OF_NAME = 100  # in the trash, where the time is added; those that runs are given
STAMP = "%Y%m%d-%H%M%S-%f"
ENTRY_PATTERN = re.compile(r"(.+)-([0-9]{8}-[0-9]{6}-[0-9]{6})", re.DOTALL)


def rename_run(run: Path, name: str) -> Path:
    """Rename a run; returns its new folder.

    Its former name stays in its notes, so that runs forked from it find it.

    Raises:
        InputError: The name is taken or invalid, or some program is training the run.
    """
    if name == run.name:
        return run
    place = check_name(name, run.parent, "choose another name")
    with RunLock(run):
        change_notes(run, lambda notes: replace(notes, formerly=(*notes.formerly, run.name)))
        _move(run, place)
    return place


def copy_run(run: Path, destination: Path) -> Path:
    """Copy a run, even while another program trains it.

    Checkpoints never change, so that on the same disk both runs share their files.

    Args:
        destination: The new folder, or an existing one to put it in under its name.

    Returns:
        The new run's folder.

    Raises:
        InputError: There is something already, the disk is full, the run is damaged, or links
            lead out of it.
    """
    run = Path(os.path.realpath(run))
    place = _place_of(run, destination)
    check_own_files(run, deep=True)
    part = place.with_name(f".{place.name}.{os.urandom(4).hex()}.part")
    try:
        part.mkdir(parents=True)
        _copy_files(run, part)
        part.rename(place)
    except OSError as error:
        raise InputError(
            f"{run} cannot be copied to {place} ({reason_of(error)}): choose another "
            f"folder, or make room"
        ) from None
    finally:
        remove_tree(part)
    return place


def _place_of(run: Path, destination: Path) -> Path:
    place = absolute(typed_path(destination))
    if os.path.isdir(place) and not is_run(place):
        place = place / run.name
    if run in (place.parent, *Path(os.path.realpath(place)).parents):
        raise InputError(f"a run cannot be copied into itself: choose a folder outside {run}")
    check_name(place.name, place.parent, "choose another folder")
    return place


@dataclass(frozen=True)
class Trashed:
    path: Path  # in the trash
    name: str  # before it was deleted
    deleted: float  # seconds since 1970


def trash_run(run: Path) -> Trashed:
    """Move a run to the trash of its runs folder.

    Raises:
        InputError: Some program is training it, or the folder cannot be written.
    """
    now = datetime.now()
    short = run.name
    while len(os.fsencode(short)) > MOST_BYTES_OF_NAME:
        short = short[:-1]
    place = _trash_of(run.parent) / f"{short}-{now.strftime(STAMP)}"
    with RunLock(run):
        if short != run.name:
            with _telling(run, place):
                write_atomically(_name_file(place), os.fsencode(run.name))
        _move(run, place)
    return Trashed(place, run.name, now.timestamp())


def list_trash(runs_dir: Path) -> list[Trashed]:
    """List the deleted runs, the latest last.

    Raises:
        InputError: The trash cannot be read, or is a link.
    """
    folder = _trash_of(runs_dir)
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}): allow it") from None
    found = [one for name in names if (one := _entry(folder / name))]
    return sorted(found, key=lambda one: (one.deleted, one.name))


def _entry(path: Path) -> Trashed | None:
    """Return what a path in the trash is; None if it is no run that was put there."""
    match = ENTRY_PATTERN.fullmatch(path.name)
    if not match or os.path.islink(path) or not is_run(path):
        return None
    try:
        deleted = datetime.strptime(match[2], STAMP).timestamp()
    except (ValueError, OverflowError):  # there is no such day, or none that is counted
        return None
    return Trashed(path, _full_name(path, match[1]), deleted)


def _name_file(path: Path) -> Path:
    """Return the file with the name of a deleted run that was too long to have the time added."""
    return path.with_name(f"{path.name}.name")


def _full_name(path: Path, short: str) -> str:
    try:
        name = os.fsdecode(read_regular(_name_file(path), 255))
    except OSError:
        return short
    return name if name.startswith(short) and not {"/", "\0"} & set(name) else short


def _trash_of(runs_dir: Path) -> Path:
    return unlinked(runs_dir / TRASH_FOLDER, "the trash")


def find_trashed(name: str, runs_dir: Path) -> Trashed:
    """Find a deleted run by the name it had (the latest of several) or by its name in the trash.

    Raises:
        InputError: There is none.
    """
    trashed = list_trash(runs_dir)
    name = name.removeprefix("./")  # before a name that looks like an option
    for one in reversed(trashed):
        if name in (one.name, one.path.name):
            return one
    names = ", ".join(dict.fromkeys(one.name for one in reversed(trashed)))
    hint = f"there are {names}" if names else "it is empty"
    raise InputError(f"there is no run {name!r} in the trash of {runs_dir}: {hint}")


def way_back(name: str, runs_dir: Path) -> str:
    """Return the command that restores a deleted run of a name; empty if there is none."""
    try:
        trashed = find_trashed(name, runs_dir)
    except InputError:
        return ""
    return f"{program()} runs restore {quoted_path(trashed.path.name)}{in_runs_dir(runs_dir)}"


def restore_run(trashed: Trashed, name: str | None = None) -> Path:
    """Restore a deleted run; returns its folder.

    Raises:
        InputError: The name is taken or invalid, or the folder cannot be written.
    """
    runs_dir = trashed.path.parent.parent
    _trash_of(runs_dir)
    if not _entry(trashed.path):
        raise InputError(f"the run {trashed.name!r} is no longer in the trash")
    way_out = f"give another name: {way_back(trashed.path.name, runs_dir)} --name NAME"
    place = runs_dir / trashed.name  # a name that it had, even if no new run could have it
    if name is not None or os.path.lexists(place):
        place = check_name(trashed.name if name is None else name, runs_dir, way_out)
    _move(trashed.path, place)
    with suppress(OSError):
        _name_file(trashed.path).unlink()
    return place


def empty_trash(runs_dir: Path) -> list[Trashed]:
    """Delete the runs in the trash permanently; returns them.

    Raises:
        InputError: Something could not be deleted.
    """
    trashed = list_trash(runs_dir)
    for one in trashed:
        try:
            shutil.rmtree(one.path)
            _name_file(one.path).unlink(missing_ok=True)
        except OSError as error:
            raise InputError(
                f"{one.path} cannot be deleted ({reason_of(error)}): delete it by hand"
            ) from None
    return trashed


def _move(run: Path, place: Path) -> None:
    with _telling(run, place):
        place.parent.mkdir(exist_ok=True)
        os.rename(run, place)


@contextmanager
def _telling(run: Path, place: Path) -> Iterator[None]:
    """Raise ``InputError`` if a run cannot be moved."""
    try:
        yield
    except OSError as error:
        refused = error.errno in (errno.EACCES, errno.EPERM)
        way_out = f"allow writing in {run.parent}" if refused else way_out_of(error)
        raise InputError(
            f"{run} cannot be moved to {place} ({reason_of(error)}): {way_out}"
        ) from None


def _copy_files(run: Path, part: Path) -> None:
    """Copy the checkpoints first: the database may be ahead of them, never behind."""
    _copy_checkpoints(run / CHECKPOINTS_FOLDER, part / CHECKPOINTS_FOLDER)
    with reading(run) as database:
        if (run / DATABASE_FILE).exists():
            _copy_database(database, part / DATABASE_FILE)
    for path in run.iterdir():
        apart = path.name.startswith((".", DATABASE_FILE)) or path.name in (
            LOCK_FILE,
            CHECKPOINTS_FOLDER,
        )
        if not apart:
            _copy(path, part / path.name)


def _copy(path: Path, target: Path) -> None:
    if path.is_dir():
        shutil.copytree(path, target, symlinks=True)
    else:
        shutil.copy2(path, target, follow_symlinks=False)


def _copy_database(database: RunDatabase, target: Path) -> None:
    try:
        database.copy_to(target)
    except sqlite3.Error as error:
        raise InputError(
            f"{database.path} cannot be copied to {target.parent.parent} ({error}): make room there"
        ) from None


def _copy_checkpoints(source: Path, target: Path) -> None:
    if not source.is_dir():
        return
    for _ in range(ATTEMPTS):
        with suppress(FileNotFoundError):  # an old one was dropped just then
            _copy_checkpoints_once(source, target)
            return
        remove_tree(target)
    raise InputError(f"the checkpoints in {source} change too fast: try again")


def _copy_checkpoints_once(source: Path, target: Path) -> None:
    target.mkdir()
    # read first: the checkpoint that one names is dropped later than those it does not
    named = {which: read_pointer(source.parent, which) for which in (LATEST, BEST)}
    there = {which: name for which, name in named.items() if name and (source / name).is_dir()}
    for folder in source.iterdir():
        if folder.is_dir() and not folder.name.startswith("."):
            _link_folder(folder, target / folder.name)
    for which, name in there.items():
        if not (target / name).is_dir():
            raise FileNotFoundError(name)
        (target / which).write_text(f"{name}\n", encoding="utf-8")


def _link_folder(folder: Path, target: Path) -> None:
    target.mkdir()
    identity = folder.stat().st_ino
    for file in folder.iterdir():
        _link_or_copy(file, target / file.name)
    if folder.stat().st_ino != identity:  # it made room for another one of its name
        raise FileNotFoundError(folder)


def _link_or_copy(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except FileNotFoundError:
        raise
    except OSError:  # another disk, or one that knows no links, or a folder
        _copy(file, target)
