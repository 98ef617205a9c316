"""A run's database that is damaged or gone: its newest copy takes its place, and it is kept."""

from __future__ import annotations

import errno
import json
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from data.errors import InputError
from engine.checkpoint.load import place_aside, read_good, set_aside
from engine.checkpoint.run_record import begin_database
from engine.checkpoint.store import LATEST, copy_of_database, read_checkpoint
from engine.protocol import State
from engine.runs.checkpoint_names import branch_of, list_checkpoints, list_snapshots, step_of
from engine.runs.database import RunDatabase, Unreadable
from engine.runs.folder import DATABASE_FILE, sync_to_disk

RESTORED = "salvaged"  # the kind of journal entry that says so, as older versions named it
BESIDE = ("-wal", "-shm")  # what SQLite keeps beside a database

Say = Callable[[str], None]


def restore_database(run: Path, say: Say) -> None:
    """Put a new database in the place of one that is damaged or gone.

    It is the copy beside the newest whole checkpoint that has one; where none has, a new one that
    begins at the newest. Only for whoever holds the run's lock.

    Raises:
        InputError: No checkpoint is whole, and none holds a copy.
        OSError: The folder takes nothing now.
    """
    file = run / DATABASE_FILE
    new = file.with_name(f".{file.name}.new")
    _remove(new)  # of a repair that was killed
    try:
        lost, unknown = _write_anew(run, new)
        for path in unknown:
            aside = set_aside(path)
            say(f"{path.name}, with no whole copy of {file.name}, is kept as {aside.name}")
        kept = _set_file_aside(file)
        new.replace(file)
    except BaseException as error:
        _remove(new)
        if isinstance(error, sqlite3.DatabaseError | Unreadable):  # of the new one: the disk's
            raise OSError(errno.EIO, str(error)) from None
        raise
    sync_to_disk(run)
    say(f"{lost}{f'; the damaged one is kept as {kept.name}' if kept else ''}")


def _write_anew(run: Path, new: Path) -> tuple[str, list[Path]]:
    """Write the database; what that means, in words, and the checkpoints it knows nothing of."""
    if not list_checkpoints(run):
        RunDatabase(new).close()
        return f"{DATABASE_FILE} is empty now: there is no checkpoint, so the run begins anew", []
    path, state, has_copy = _source(run)
    if has_copy:
        shutil.copyfile(path / DATABASE_FILE, new)
        lost = (
            f"{DATABASE_FILE} is restored from its copy in {path.name}: what was recorded after "
            f"step {step_of(path):,} is lost, and the steps after it are trained again"
        )
    else:
        begin_database(new, state)
        lost = (
            f"no checkpoint holds a whole copy of {DATABASE_FILE} (older versions wrote none), so "
            f"a new one begins at {path.name}: curves, samples and journal before it are lost"
        )
    _note(new, path, state, {"lost": [lost], "journal_is_whole": has_copy})
    return lost, _later_ones(run, path) if has_copy and state else []


def _source(run: Path) -> tuple[Path, dict[str, Any], bool]:
    """The checkpoint to take, its state if it is whole, and whether it has a copy."""
    checkpoints = list_checkpoints(run)[::-1]
    for path in checkpoints:
        with suppress(InputError):
            if copy_of_database(path):
                return path, read_checkpoint(path, with_optimizer=False).state, True
    try:
        good = read_good(run, LATEST, with_optimizer=False)
    except InputError:
        for path in checkpoints:  # what is recorded is worth saving all the same
            with suppress(InputError):
                if copy_of_database(path):
                    return path, {}, True
        raise
    return good.path, good.snapshot.state, False


def _later_ones(run: Path, taken: Path) -> list[Path]:
    """Checkpoints from the next full one on; lines of history may have begun in between."""
    full, there = list_checkpoints(run), list_snapshots(run)
    later = full[full.index(taken) + 1 :]
    return there[there.index(later[0]) :] if later else []


def _note(new: Path, path: Path, state: dict[str, Any], detail: dict[str, Any]) -> None:
    """Write into a new database where the run stands now, and how that came."""
    step, final = step_of(path), state.get("standing", {}).get("final_step")
    database = RunDatabase(new)  # brings one of an older version to the present format
    try:
        stands = {
            "state": State.FINISHED if step == final else State.STOPPED,
            "step": step,
            "saved_step": step,
        }
        database.set_meta(summary=database.meta().get("summary", {}) | stands)
    finally:
        database.close()
    with closing(sqlite3.connect(new)) as db, db:
        db.execute(  # above what the checkpoint has seen of the journal
            "INSERT INTO journal SELECT 1 + max(coalesce(max(id), 0), ?), ?, ?, ?, ?, ? "
            "FROM journal",
            (
                state.get("journal_id", 0),
                branch_of(path),
                step,
                RESTORED,
                json.dumps(detail),
                time.time(),
            ),
        )
    sync_to_disk(new)


def _set_file_aside(file: Path) -> Path | None:
    """Keep it under another name, too, and move what lies beside it, which is not the new one's.

    Returns:
        Where it is now; None if it was gone.
    """
    aside = place_aside(file)
    if file.exists():  # not moved: a kill before the new one is in its place leaves all as it was
        try:
            aside.hardlink_to(file)
        except OSError:  # not every file system has them
            shutil.copyfile(file, aside)
    for one, suffix in zip(_beside(file), BESIDE, strict=True):
        if one.exists():
            one.rename(aside.with_name(aside.name + suffix))
    return aside if aside.exists() else None


def _beside(file: Path) -> list[Path]:
    return [file.with_name(file.name + suffix) for suffix in BESIDE]


def _remove(new: Path) -> None:
    for path in (new, *_beside(new)):
        path.unlink(missing_ok=True)
