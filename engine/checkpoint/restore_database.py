"""Restore a damaged or missing database of a run from the newest copy in a checkpoint.

Where no checkpoint holds a copy, a new database begins with what the checkpoint's state records of
the run: it opens, and its curves begin at the checkpoint.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from data.errors import InputError
from data.files import sync_to_disk
from engine.checkpoint.load import read_good
from engine.checkpoint.store import (
    copy_of_database,
    place_aside,
    read_checkpoint,
    set_aside,
)
from engine.program import program
from engine.protocol import State
from engine.runs.checkpoint_names import (
    LATEST,
    branch_of,
    list_checkpoints,
    list_snapshots,
    step_of,
)
from engine.runs.database import RunDatabase, Unreadable
from engine.runs.folder import DATABASE_FILE, typed_name
from engine.runs.sqlite import BESIDE

RESTORED = "salvaged"  # the kind of journal entry that says so, as older versions named it

Say = Callable[[str], None]


def restore_database(run: Path, say: Say) -> None:
    """Replace a damaged or missing database; the damaged one is kept.

    The new one is the copy in the newest intact checkpoint that has one, else a new one that begins
    at the newest. The caller holds the lock of the run, and has called ``tidy_checkpoints``.

    Raises:
        InputError: No checkpoint is intact, and none holds a copy.
        OSError: The folder cannot be written.
    """
    file = run / DATABASE_FILE
    new = file.with_name(f".{file.name}.new")
    _remove(new)  # of a repair that was killed
    try:
        lost, unknown = _write_anew(run, new)
        for path in unknown:
            aside = set_aside(path)
            say(f"{path.name}, with no intact copy of {file.name}, is kept as {aside.name}")
        kept = _set_file_aside(file)
        new.replace(file)
    except BaseException as error:
        _remove(new)
        if isinstance(error, sqlite3.DatabaseError | Unreadable):  # of the new one: the disk's
            raise OSError(errno.EIO, getattr(error, "why", str(error))) from None
        raise
    sync_to_disk(run)
    say(f"{lost}{f'; the damaged one is kept as {kept.name}' if kept else ''}")


def _write_anew(run: Path, new: Path) -> tuple[str, list[Path]]:
    """Write the new database; returns what is lost, and the checkpoints that it does not cover."""
    if not list_checkpoints(run):
        RunDatabase(new).close()
        return f"{DATABASE_FILE} is empty now: there is no checkpoint, so the run begins anew", []
    path, state, has_copy = _source(run)
    if has_copy:
        shutil.copyfile(path / DATABASE_FILE, new)
        lost = (
            f"{DATABASE_FILE} is restored from its copy in {path.name}: anything that was recorded "
            f"after step {step_of(path):,} is lost, and the steps after it are trained again"
        )
    else:
        _begin_database(new, state)
        lost = (
            f"no checkpoint holds an intact copy of {DATABASE_FILE} (older versions wrote none), "
            f"so a new one begins at {path.name}: curves, samples and journal before it are lost"
        )
    _note(new, path, state, {"lost": [lost], "journal_is_whole": has_copy})
    return lost, _later_ones(run, path) if has_copy and state else []


def _source(run: Path) -> tuple[Path, dict[str, Any], bool]:
    """Return the checkpoint to take, its state if it is intact, and whether it has a copy."""
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
    """Return the checkpoints from the next full one on; branches may have begun in between."""
    full, there = list_checkpoints(run), list_snapshots(run)
    later = full[full.index(taken) + 1 :]
    return there[there.index(later[0]) :] if later else []


def _note(new: Path, path: Path, state: dict[str, Any], detail: dict[str, Any]) -> None:
    """Record in the new database the step of the run and that it was restored."""
    step, final = step_of(path), state.get("standing", {}).get("final_step")
    database = RunDatabase(new)  # brings one of an older version to the present format
    try:
        stands = {
            "state": State.FINISHED if step == final else State.STOPPED,
            "step": step,
            "saved_step": step,
        }
        database.set_meta(summary=database.meta().get("summary", {}) | stands)
        seen = state.get("journal_id", 0)  # what the checkpoint has seen of the journal
        database.add_journal(branch_of(path), step, RESTORED, detail, after_id=seen)
    finally:
        database.close()
    sync_to_disk(new)


def _set_file_aside(file: Path) -> Path | None:
    """Rename a damaged file and its write-ahead log; return the new path, None if it was gone."""
    aside = place_aside(file)
    if file.is_dir():
        file.rename(aside)
    elif file.exists():  # not moved: a kill before the new one is in its place leaves all as it was
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


# -- without a copy --------------------------------------------------------------------------------


def remember(database: RunDatabase) -> dict[str, Any]:
    """Return what a checkpoint records of the database: key-value pairs and branches."""
    meta: dict[str, Any] = {**database.meta()}
    if "summary" in meta:  # its curve is made anew from the figures
        meta["summary"] = {k: v for k, v in meta["summary"].items() if k != "sparkline"}
    return {"meta": meta, "branches": [dataclasses.astuple(one) for one in database.branches()]}


def _begin_database(file: Path, state: dict[str, Any]) -> None:
    """Write a new database that begins at a checkpoint.

    Args:
        state: Of the checkpoint; one that an older version wrote may lack the record.

    Raises:
        InputError: Nothing tells where the checkpoint's line of history began.
    """
    record = state.get("record") or {"meta": _facts(state), "branches": []}
    if state["branch"] not in {0, *(number for number, *_ in record["branches"])}:
        raise InputError(
            f"no checkpoint tells where the line of history {state['branch']} of the run began, so "
            f"that its {DATABASE_FILE} cannot be made anew: put it back from a copy of yours; "
            f"{program()} sample {typed_name(file.parent)} still works"
        )
    RunDatabase(file).close()
    with closing(sqlite3.connect(file)) as db, db:
        facts = [(key, json.dumps(value)) for key, value in record["meta"].items()]
        db.executemany("INSERT INTO meta VALUES (?, ?)", facts)
        db.executemany("INSERT OR REPLACE INTO branches VALUES (?, ?, ?, ?)", record["branches"])


def _facts(state: dict[str, Any]) -> dict[str, Any]:
    """Return what a run needs to be opened, for checkpoints without a record."""
    config = state["config"]
    corpus = {"name": Path(config["data"]["corpus"]).name, "note": ""}
    return {
        "preset": config["preset"],
        "corpus": corpus | {"sha256": state["corpus_sha256"]},
        "runtime": {"asked": config["system"], "resolved": state["runtime"]},
        "versions": state["versions"],
    }
