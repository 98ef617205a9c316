"""A new ``run.db`` from what can still be read of a damaged one and what a checkpoint remembers.

Rows keep their ids and their branches. What was deleted on purpose stays so wherever the file still
says that it was. The caller holds the run's lock.
"""

from __future__ import annotations

import errno
import json
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import InputError
from engine.run.checkpoints import branch_of, list_snapshots, step_of
from engine.run.database import BLOCK_STEPS, RunDatabase, Unreadable, unpacked
from engine.run.folder import DATABASE_FILE
from engine.run.lineage import Branch, lineage
from engine.run.pages import Row, Value, read_pages

SALVAGED = "salvaged"  # the kind of journal entry that says so
FAR = 100_000  # no run loses so many rows, or trains for so many steps between checkpoints

# the columns of the tables, in the order of the file
Tail = dict[tuple[int, str, int], int | float | None]
Blocks = dict[tuple[int, str, int], tuple[bytes, bytes]]
Rows = dict[int, tuple[Any, ...]]


@dataclass(frozen=True)
class Memory:
    """What a checkpoint knows of the database that it was written beside.

    Attributes:
        name: Of the checkpoint.
        branch: It is on.
        step: Of it.
        journal_id: Of the last change of settings that took effect before it.
        created: Seconds since 1970.
        meta: The run's facts, each a JSON value.
        branches: The lines of history there were; empty if it was not noted.
    """

    name: str
    branch: int
    step: int
    journal_id: int
    created: float
    meta: dict[str, Any]
    branches: list[Branch]


@dataclass
class Salvage:
    """What was read back, table by table, and then completed."""

    meta: dict[str, str] = field(default_factory=dict)
    branches: dict[int, Branch] = field(default_factory=dict)
    journal: Rows = field(default_factory=dict)
    samples: Rows = field(default_factory=dict)
    blocks: Blocks = field(default_factory=dict)
    tail: Tail = field(default_factory=dict)
    pages: int = 0
    unread: int = 0  # pages

    def steps(self, metric: str, branch: int) -> np.ndarray:
        """The steps that a metric is known of on a branch: (n,) int64."""
        packed = [
            unpacked(steps, len(values) // 8)
            for (of, name, _), (steps, values) in self.blocks.items()
            if (of, name) == (branch, metric)
        ]
        rest = [step for of, name, step in self.tail if (of, name) == (branch, metric)]
        return np.unique(np.concatenate([*packed, np.array(rest, np.int64)]))


def read_salvage(file: Path) -> Salvage:
    """All that can still be made out in a database; nothing if it is gone.

    Raises:
        OSError: It is there and cannot be read.
    """
    pages = read_pages(file)
    found = Salvage(pages=pages.count, unread=pages.unread)
    for row in pages.rows:
        _sort_in(found, row)
    _drop_index_entries(found)
    for rows in (found.journal, found.samples):
        _drop_strays(rows)
    blocks = found.blocks  # what lies where a row of the tail once was has been packed since
    found.tail = {
        (branch, metric, step): value
        for (branch, metric, step), value in found.tail.items()
        if (branch, metric, step // BLOCK_STEPS) not in blocks
    }
    return found


def _sort_in(found: Salvage, row: Row) -> None:
    """Put a row where its shape says that it belongs; what is like no table's is damaged."""
    match (row.id, *row.values):
        case None, str(key), str(value) if _is_json(value):
            found.meta[key] = value
        case None, int(branch), str(metric), int(step), float() | int() | None as value:
            found.tail[branch, metric, step] = value
        case int(), int(branch), str(metric), int(block), bytes(steps), bytes(vals):
            if _is_block(block, steps, vals):
                found.blocks[branch, metric, block] = steps, vals
        case int(number), None, int(), int(), str(), str(detail), float() | int():
            if _is_json(detail):
                found.journal[number] = row.values[1:]
        case int(number), None, *texts if _is_sample(texts):
            found.samples[number] = tuple(texts)
        case int(number), None, int() | None as parent, int(step), float() | int() as created:
            # one that came before it; a damaged one could lead in a circle
            if parent in range(number) if number else parent is None:
                found.branches[number] = Branch(number, parent, step, float(created))


def _is_sample(values: list[Value]) -> bool:
    match values:
        case int(), int(), float() | int() | None, str(settings), str(), float() | int():
            return _is_json(settings)
    return False


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _is_block(block: int, steps: bytes, values: bytes) -> bool:
    """Whether blobs are the steps and values of a stretch of 1,024 steps."""
    if not steps or not values or len(steps) % 8 or len(values) % 8:
        return False
    if len(steps) not in (8, len(values)):
        return False
    of_it = unpacked(steps, len(values) // 8)
    return bool((of_it // BLOCK_STEPS == block).all() and (np.diff(of_it) > 0).all())


def _drop_index_entries(found: Salvage) -> None:
    """Drop what looks like a row of the tail: (branch, metric, block, rowid) of the blocks' index.

    A block's number is below every step of the tail of its branch, which comes after it.
    """
    newest: dict[int, int] = {}  # block that has begun, by branch
    for branch, block in (
        *((branch, step // BLOCK_STEPS) for branch, _, step in found.tail),
        *((branch, block + 1) for branch, _, block in found.blocks),
    ):
        newest[branch] = max(block, newest.get(branch, 0))
    for (branch, metric, step), value in list(found.tail.items()):
        if isinstance(value, int) and value > 0 and step < newest[branch]:
            del found.tail[branch, metric, step]


def _drop_strays(rows: Rows) -> None:
    """Drop rows below 0, and from the first id on that is damaged into one far above the others."""
    before = 0
    for number in sorted(rows):
        if number < 0 or number - before > FAR:
            del rows[number]
        else:
            before = number


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
            f"rebuilt: put it back from a copy; gpt-tui sample {run.name} still works"
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
    for one in lineage(list(found.branches.values()), branch):
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
