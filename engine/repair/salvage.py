"""What can still be read of a damaged ``run.db``, table by table.

Rows keep their ids and their branches. What was deleted on purpose stays so wherever the file still
says that it was.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.repair.sqlite_pages import Row, Value, read_pages
from engine.runs.database import BLOCK_STEPS, unpacked
from engine.runs.lineage import Branch

FAR = 100_000  # no run loses so many rows, or trains for so many steps between checkpoints

# the columns of the tables, in the order of the file
Tail = dict[tuple[int, str, int], int | float | None]
Blocks = dict[tuple[int, str, int], tuple[bytes, bytes]]
Rows = dict[int, tuple[Any, ...]]


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
