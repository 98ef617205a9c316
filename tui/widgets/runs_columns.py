"""The columns of the table of runs: what each shows, and which of them fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from engine.runs.summary import RunSummary
from tui.charts.sparkline import spark
from tui.text.numbers import (
    format_amount,
    format_duration,
    format_loss,
    format_steps,
    format_time,
    format_unit,
)
from tui.text.run_states import format_state

GAP = 2

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


def _steps(run: RunSummary, width: int) -> str:
    done = run.step == run.total_steps
    whole = f"{run.step:,}" if done else format_steps(run.step, run.total_steps)
    return (
        whole
        if len(whole) <= width
        else f"{format_amount(run.step)}/{format_amount(run.total_steps)}"
    )


def columns_of(sizes: Mapping[str, int]) -> list[Column]:
    """All columns, from left to right.

    Args:
        sizes: Bytes on the disk by a run's path, as far as they are known.
    """

    def size(run: RunSummary, _: int) -> str:
        known = sizes.get(run.path)
        return "" if known is None else format_unit(known, "B")

    return [
        Column("name", "name", lambda run, _: run.name, 14, 24),
        Column("state", "state", lambda run, _: format_state(run.state), 13),
        Column("loss", "loss", lambda run, width: spark(run.sparkline, width), 8, 16),
        Column("best", "best", lambda run, _: format_loss(run.best_val_loss), 6, right=True),
        Column("step", "step", _steps, 13, right=True),
        Column("time", "time", lambda run, _: format_duration(run.train_seconds), 7, right=True),
        Column("parameters", "params", lambda run, _: format_amount(run.parameters), 6, right=True),
        Column("preset", "preset", lambda run, _: run.preset, 11),
        Column("data", "data", lambda run, _: run.corpus.rpartition("/")[2], 15),
        Column("disk", "disk", size, 7, right=True),
        Column("tags", "tags", lambda run, _: " ".join(run.tags), 12, 24),
        Column("created", "begun", lambda run, _: format_time(run.created), 16),
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
