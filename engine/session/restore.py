"""A run is opened although its database is damaged: its newest copy is put in its place first."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from data.errors import InputError
from engine.runs.checkpoint_names import list_checkpoints
from engine.runs.database import Unreadable
from engine.runs.folder import RunLock
from engine.runs.open import RunFiles, Watcher, open_run


def open_or_restore(path: Path, watcher: Watcher) -> RunFiles:
    """Open an existing run for writing, its database restored where that is needed.

    Raises:
        InputError: It is being written elsewhere, cannot be restored, or its text has changed.
    """
    try:
        return open_run(path, watcher)
    except Unreadable as error:
        if error.may_pass or not list_checkpoints(path):
            raise
    watcher.report("restoring the run's database")
    from engine.checkpoint.restore_database import restore_database  # PyTorch comes with it

    told: list[str] = []
    lock = RunLock(path)
    try:
        restore_database(path, told.append)
    except OSError as error:
        raise InputError(
            f"the database of the run {path.name!r} is damaged, and cannot be restored "
            f"({error.strerror or error}): make room, or allow writing in {path}"
        ) from None
    finally:
        lock.release()
    return dataclasses.replace(open_run(path, watcher), told=tuple(told))
