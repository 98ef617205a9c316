"""A new ``run.db`` from what was read of a damaged one and what a checkpoint remembers.

The caller holds the run's lock.
"""

from __future__ import annotations

import errno
import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import InputError
from engine.checkpoint.run_record import Memory
from engine.program import program
from engine.repair.salvage import FAR, Salvage
from engine.runs.checkpoint_names import branch_of, list_snapshots, step_of
from engine.runs.database import BLOCK_STEPS, RunDatabase, Unreadable
from engine.runs.folder import DATABASE_FILE, typed_name
from engine.runs.lineage import Branch, Lineage

SALVAGED = "salvaged"  # the kind of journal entry that says so


# -- completing ----------------------------------------------------------------------------------


def complete(found: Salvage, run: Path, memory: Memory | None) -> None:
    """Add what a checkpoint and the journal know, and what the run needs to be opened.

    Raises:
        InputError: Where a line of history began is not known any more.
    """
    _add_branches(found, run, memory)
    _drop_out_of_reach(found, run)
    for key, value in memory.meta.items() if memory else ():
        found.meta.setdefault(key, json.dumps(value))
    _add_parent(found)


def _add_branches(found: Salvage, run: Path, memory: Memory | None) -> None:
    known = found.branches
    for one in memory.branches if memory else ():
        known.setdefault(one.id, one)
    before = 0
    for _, (branch, step, kind, _, created) in sorted(found.journal.items()):
        if kind == "rewound":
            known.setdefault(branch, Branch(branch, before, step, created))
        before = branch
    known.setdefault(0, Branch(0, None, 0, 0.0))
    needed = {*map(branch_of, list_snapshots(run))} | {0}
    needed |= {one.parent for one in known.values() if one.parent is not None}
    if unknown := needed - {*known}:
        raise InputError(
            f"neither the damaged {DATABASE_FILE} nor a checkpoint of the run {run.name!r} still "
            f"tells where its line of history {min(unknown)} began, so the database cannot be "
            f"rebuilt: put it back from a copy; {program()} sample {typed_name(run)} still works"
        )
    _drop_unknown(found)


def _drop_unknown(found: Salvage) -> None:
    """Drop what is on a line of history that nothing else knows; it was damaged, or never saved."""
    known = found.branches
    found.tail = {key: one for key, one in found.tail.items() if key[0] in known}
    found.blocks = {key: one for key, one in found.blocks.items() if key[0] in known}
    found.journal = {number: row for number, row in found.journal.items() if row[0] in known}
    found.samples = {number: row for number, row in found.samples.items() if row[0] in known}


def _drop_out_of_reach(found: Salvage, run: Path) -> None:
    """Drop figures of steps that the run cannot have come to: the number is damaged."""
    known = [step_of(path) for path in list_snapshots(run)]
    known += [(block + 1) * BLOCK_STEPS for _, _, block in found.blocks]
    reach = range(max(known, default=0) + FAR)
    found.tail = {key: value for key, value in found.tail.items() if key[2] in reach}


def _add_parent(found: Salvage) -> None:
    """A fork says so in its journal, too."""
    for _, step, kind, detail, _ in found.journal.values():
        if kind == "forked from":
            parent = {"run": json.loads(detail)["run"], "step": step, "branch": 0}
            found.meta.setdefault("parent", json.dumps(parent))


# -- what is lost --------------------------------------------------------------------------------


def losses(found: Salvage, memory: Memory | None) -> list[str]:
    """What is known to be missing, in words."""
    told = []
    missing = _missing_steps(found, memory)
    if len(missing):
        told.append(f"the figures of steps {in_ranges(missing)} ({len(missing):,} in all)")
    told += journal_losses(found, memory)
    if memory and not memory.branches and 1 not in found.journal and "parent" not in found.meta:
        told.append("whether it was forked from another run")
    if found.unread:
        told.append(f"whatever else lay on {found.unread:,} of its {found.pages:,} pages")
    return told


def journal_losses(found: Salvage, memory: Memory | None) -> list[str]:
    """What is missing of the journal, in words."""
    told = []
    missing = max(found.journal, default=0) - len(found.journal)
    if missing:
        told.append(f"journal entries ({missing:,})")
    if memory and _journal_ends_before(found, memory):
        told.append("the newest entries of the journal" if found.journal else "the journal")
    return told


def _missing_steps(found: Salvage, memory: Memory | None) -> np.ndarray:
    """Steps without a training loss, on the way to the newest checkpoint and beyond: (n,) int64."""
    branch, saved = (memory.branch, memory.step) if memory else (max(found.branches), 0)
    recorded = [np.array([], np.int64)]
    for one in Lineage(list(found.branches.values()), branch):
        steps = found.steps("train_loss", one.branch)
        recorded.append(steps[(steps > one.after) & (steps <= one.up_to)])
    known = np.concatenate(recorded)
    return np.setdiff1d(np.arange(1, max([saved, *known.tolist()]) + 1), known)


def _journal_ends_before(found: Salvage, memory: Memory) -> bool:
    """Whether even that the checkpoint was saved is not in the journal, which is always noted."""
    newest = max((row[-1] for row in found.journal.values()), default=0.0)
    return bool(newest < memory.created)


def in_ranges(steps: np.ndarray, most: int = 5) -> str:
    """Rising steps (n,) int64 in words: ``3 to 7, 12``; what is beyond ``most`` is counted."""
    runs = np.split(steps, np.flatnonzero(np.diff(steps) > 1) + 1)
    told = [f"{run[0]:,} to {run[-1]:,}" if len(run) > 1 else f"{run[0]:,}" for run in runs]
    more = [f"and {len(told) - most:,} stretches more"] if len(told) > most else []
    return ", ".join(told[:most] + more)


# -- writing -------------------------------------------------------------------------------------


def write_salvage(found: Salvage, file: Path, memory: Memory | None, lost: list[str]) -> None:
    """Write a new database, and into its journal what is missing.

    Raises:
        OSError: The folder takes nothing now.
    """
    entry = max([*found.journal, memory.journal_id if memory else 0]) + 1
    branch, step = (memory.branch, memory.step) if memory else (max(found.branches), 0)
    detail = {"lost": lost, "journal_is_whole": not journal_losses(found, memory)}
    try:
        RunDatabase(file).close()
        with closing(sqlite3.connect(file)) as db, db:
            _insert(db, "meta", found.meta.items())
            branches = found.branches.values()
            _insert(db, "branches", ((b.id, b.parent, b.step, b.created) for b in branches))
            _insert(db, "metric_tail", ((*key, value) for key, value in found.tail.items()))
            _insert(db, "metric_blocks", ((*key, *blobs) for key, blobs in found.blocks.items()))
            for table, rows in (("samples", found.samples), ("journal", found.journal)):
                _insert(db, table, ((number, *row) for number, row in rows.items()))
            _insert(
                db, "journal", [(entry, branch, step, SALVAGED, json.dumps(detail), time.time())]
            )
        _pack(found, file)
    except (sqlite3.DatabaseError, Unreadable) as error:
        why = error.why if isinstance(error, Unreadable) else str(error)
        raise OSError(errno.EIO, why) from None


def _pack(found: Salvage, file: Path) -> None:
    """Pack rows of the tail from before their stretch was packed, found where they once lay."""
    database = RunDatabase(file)
    try:
        for branch in found.branches:
            database.add_metrics(branch, [])
    finally:
        database.close()


def _insert(db: sqlite3.Connection, table: str, rows: Any) -> None:
    for row in rows:
        places = ", ".join("?" * len(row))
        db.execute(f"INSERT OR REPLACE INTO {table} VALUES ({places})", row)
