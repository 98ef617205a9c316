"""Runs as folders that move: renamed, put elsewhere, copied while they are being trained."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from data.errors import InputError
from engine.runs.database import RunDatabase
from engine.runs.folder import (
    CHECKPOINTS_FOLDER,
    DATABASE_FILE,
    LOCK_FILE,
    RunLock,
    check_word,
    is_run,
)
from engine.runs.notes import change_notes
from engine.runs.summary import open_database

POINTERS = ("latest", "best")  # files in the folder of checkpoints that name one of them
ATTEMPTS = 10


def rename_run(run: Path, name: str) -> Path:
    """Call a run something else; returns its new folder.

    Its former name stays in its notes, so that runs forked from it find it.

    Raises:
        InputError: The name is taken or unfit, or some program is training the run.
    """
    if name == run.name:
        return run
    place = free_place(run.parent, name, "choose another name")
    with held_still(run):
        change_notes(run, lambda notes: replace(notes, formerly=(*notes.formerly, run.name)))
        move(run, place)
    return place


def copy_run(run: Path, destination: Path) -> Path:
    """Copy a run as it is at this moment; some program may go on training it.

    Checkpoints never change, so that on the same disk both runs share their files.

    Args:
        run: Its folder.
        destination: The new folder, or an existing one to put it in under its name.

    Returns:
        The new run's folder.

    Raises:
        InputError: There is something already, the disk is full, or the run is damaged.
    """
    run = run.resolve()
    place = destination.expanduser().absolute()
    if place.is_dir() and not is_run(place):
        place = place / run.name
    if run in place.parents:
        raise InputError(f"a run cannot be copied into itself: choose a folder outside {run}")
    free_place(place.parent, place.name, "choose another folder")
    part = place.with_name(f".{place.name}.{secrets.token_hex(4)}.part")
    try:
        part.mkdir(parents=True)
        _copy_files(run, part)
        part.rename(place)
    except OSError as error:
        raise InputError(
            f"{run} cannot be copied to {place} ({error.strerror}): choose another folder, or "
            f"make room"
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return place


def free_place(folder: Path, name: str, way_out: str) -> Path:
    """Where a run of this name would be.

    Raises:
        InputError: There is something already, or the name is unfit.
    """
    check_word(name, "run")
    place = folder / name
    if place.exists():
        what = "a run" if is_run(place) else "something"
        raise InputError(f"there is already {what} {name!r} in {folder}: {way_out}")
    return place


@contextmanager
def held_still(run: Path) -> Iterator[None]:
    """While nobody trains the run, and nobody begins to.

    Raises:
        InputError: Some program does.
    """
    lock = RunLock(run)
    try:
        yield
    finally:
        lock.release()


def move(run: Path, place: Path) -> None:
    """Rename a run's folder.

    Raises:
        InputError: It cannot be written.
    """
    try:
        place.parent.mkdir(exist_ok=True)
        os.rename(run, place)
    except OSError as error:
        raise InputError(
            f"{run} cannot be moved to {place} ({error.strerror}): allow writing in {run.parent}"
        ) from None


def _copy_files(run: Path, part: Path) -> None:
    """The checkpoints first: what was recorded may be ahead of them, never behind."""
    _copy_checkpoints(run / CHECKPOINTS_FOLDER, part / CHECKPOINTS_FOLDER)
    with open_database(run) as database:
        if database:
            _copy_database(database, part / DATABASE_FILE)
    for path in run.iterdir():
        apart = path.name.startswith((".", DATABASE_FILE)) or path.name in (
            LOCK_FILE,
            CHECKPOINTS_FOLDER,
        )
        if not apart:
            copy = shutil.copytree if path.is_dir() else shutil.copy2
            copy(path, part / path.name)


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
        shutil.rmtree(target, ignore_errors=True)
    raise InputError(f"the checkpoints in {source} change too fast: try again")


def _copy_checkpoints_once(source: Path, target: Path) -> None:
    target.mkdir()
    # read first: the checkpoint that one names is dropped later than those it does not
    pointers = {name: source / name for name in POINTERS if (source / name).exists()}
    named = {name: path.read_text(encoding="utf-8") for name, path in pointers.items()}
    for folder in source.iterdir():
        if folder.is_dir() and not folder.name.startswith("."):
            _link_folder(folder, target / folder.name)
    for name, text in named.items():
        if not (target / text.strip()).is_dir():
            raise FileNotFoundError(text)
        (target / name).write_text(text, encoding="utf-8")


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
    except OSError:  # another disk, or one that knows no links
        shutil.copy2(file, target)
