"""The columns of the table of runs: what each shows, and which of them fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from engine.runs.summary import DAMAGED, INTERRUPTED, RunSummary
from tui.charts.sparkline import spark
from tui.text.numbers import amount, duration, loss, moment, with_unit

GAP = 2
UNKNOWN = "–"

STATE_SIGNS = {
    "preparing": ("◌", "warning"),
    "training": ("●", "success"),
    "paused": ("‖", "warning"),
    "finished": ("✓", "success"),
    "stopped": ("■", "quiet"),
    "failed": ("✗", "error"),
    INTERRUPTED: ("!", "warning"),
    DAMAGED: ("✗", "error"),
}
"""How each state looks: its sign, and the kind of style it has."""

Cell = Callable[[RunSummary, int], str]


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: What it is called, and sorted by.
        title: In the header.
        cell: Its text for a run, given how wide it may be.
        narrowest: Cells it needs.
        widest: Cells it can use.
        right: It leans to the right.
    """

    key: str
    title: str
    cell: Cell
    narrowest: int
    widest: int = 0
    right: bool = False


def state_cell(run: RunSummary, _: int = 0) -> str:
    """Sign and word of a run's state."""
    return f"{STATE_SIGNS.get(run.state, ('?', ''))[0]} {run.state}"


def _steps(run: RunSummary, width: int) -> str:
    whole = f"{run.step:,}/{run.total_steps:,}"
    if run.step == run.total_steps:
        whole = f"{run.step:,}"
    return whole if len(whole) <= width else f"{amount(run.step)}/{amount(run.total_steps)}"


def _parameters(run: RunSummary, _: int) -> str:
    return UNKNOWN if run.parameters is None else amount(run.parameters)


def columns_of(sizes: Mapping[str, int]) -> list[Column]:
    """All columns, from left to right.

    Args:
        sizes: Bytes on the disk by a run's path, as far as they are known.
    """

    def size(run: RunSummary, _: int) -> str:
        known = sizes.get(run.path)
        return "" if known is None else with_unit(known, "B")

    return [
        Column("name", "name", lambda run, _: run.name, 14, 24),
        Column("state", "state", state_cell, 13),
        Column("loss", "loss", lambda run, width: spark(run.sparkline, width), 8, 16),
        Column("best", "best", lambda run, _: loss(run.best_val_loss), 6, right=True),
        Column("step", "step", _steps, 13, right=True),
        Column("time", "time", lambda run, _: duration(run.train_seconds), 7, right=True),
        Column("parameters", "params", _parameters, 6, right=True),
        Column("preset", "preset", lambda run, _: run.preset, 11),
        Column("data", "data", lambda run, _: run.corpus.rpartition("/")[2], 15),
        Column("disk", "disk", size, 7, right=True),
        Column("tags", "tags", lambda run, _: " ".join(run.tags), 12, 24),
        Column("created", "begun", lambda run, _: moment(run.created), 16),
        Column("note", "note", lambda run, _: run.note, 20, 80),
    ]


OF_TRAINING = ("loss", "best", "step", "time", "parameters")  # what a damaged run cannot tell

BY_IMPORTANCE = ("name", "state", "best", "step", "loss", "time", "tags", "parameters", "preset",
                 "disk", "data", "created", "note")  # fmt: skip


def fitting(columns: Sequence[Column], width: int) -> list[tuple[Column, int]]:
    """The columns for which there is room, each with its width; the rest of the room is shared.

    Args:
        columns: All, from left to right.
        width: Cells there are.
    """
    by_key = {column.key: column for column in columns}
    room, chosen = width + GAP, dict[str, int]()
    for key in BY_IMPORTANCE:
        need = by_key[key].narrowest + GAP
        if need > room and chosen:
            break
        chosen[key] = by_key[key].narrowest
        room -= need
    for key in chosen:
        more = min(max(room, 0), max(by_key[key].widest - chosen[key], 0))
        chosen[key] += more
        room -= more
    return [(column, chosen[column.key]) for column in columns if column.key in chosen]
