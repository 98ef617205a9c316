"""The columns of the table of runs: what each shows, and which of them fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from data.specs import called
from engine.config.schema import SETTINGS
from engine.config.setting import Value, format_float
from engine.runs.summary import RunSummary
from tui.charts.sparkline import spark
from tui.control.runs_view import LEFT_TO_RIGHT, SETTINGS_HERE
from tui.text.numbers import (
    UNKNOWN,
    format_amount,
    format_duration,
    format_loss,
    format_steps,
    format_time,
    format_unit,
)
from tui.text.run_states import format_state

GAP = 2
WIDEST_VALUE = 16
WIDE = 100  # cells, from which names are whole before there are more columns

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
    """All columns but those of settings, from left to right.

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
        Column("parameters", "params", lambda run, _: format_amount(run.parameters), 7, right=True),
        Column("preset", "preset", lambda run, _: run.preset, 11),
        Column("data", "data", lambda run, _: run.corpus.rpartition("/")[2], 15),
        Column("disk", "disk", size, 7, right=True),
        Column("tags", "tags", lambda run, _: " ".join(run.tags), 12, 24),
        Column("created", "created", lambda run, _: format_time(run.created), 16),
        Column("note", "note", lambda run, _: run.note, 20, 80),
        Column("val", "val", lambda run, _: format_loss(run.val_loss), 6, right=True),
        Column("train", "train", lambda run, _: format_loss(run.train_loss), 6, right=True),
        Column("tokens", "tokens", lambda run, _: format_amount(run.tokens), 7, right=True),
        Column("speed", "tok/s", lambda run, _: format_amount(run.tokens_per_second), 6,
               right=True),
    ]  # fmt: skip


OF_TRAINING = ("loss", "best", "step", "time", "parameters", "val", "train", "tokens", "speed")
"""What a damaged run cannot tell."""

BY_IMPORTANCE = ("name", "state", "best", "step", "loss", SETTINGS_HERE, "time", "tags",
                 "parameters", "preset", "disk", "data", "created", "note")  # fmt: skip


def format_value(key: str, value: Value) -> str:
    """Format a setting for a narrow column; numbers in three digits, which filters match."""
    setting = SETTINGS[key]
    if isinstance(value, float) and value not in setting.special:
        return format_float(value, 3)
    text = setting.format(value)
    return called(text) if setting.several and value else text


def setting_column(key: str, title: str, runs: Sequence[RunSummary]) -> Column:
    """Return the column of a setting, wide enough for the values that these runs have."""

    def cell(run: RunSummary, _: int) -> str:
        return UNKNOWN if run.config is None else format_value(key, run.config.get(key))

    values = {run.config.get(key) for run in runs if run.config is not None}
    longest = max((len(format_value(key, value)) for value in values), default=0)
    width = max(len(title) + 1, min(longest, WIDEST_VALUE))
    return Column(key, title, cell, width, right=SETTINGS[key].type in (int, float))


def fitting(
    columns: Sequence[Column], width: int, important: Sequence[str] = BY_IMPORTANCE
) -> list[tuple[Column, int]]:
    """The columns for which there is room, each with its width; the rest of the room is shared.

    Args:
        columns: All, from left to right.
        width: Cells there are.
        important: The keys of columns to show, the most important ones first.
    """
    by_key = {column.key: column for column in columns}
    room, chosen = width + GAP, dict[str, int]()
    for key in important:
        if key not in by_key:
            continue
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


def arranged(
    sizes: Mapping[str, int],
    runs: Sequence[RunSummary],
    settings: Sequence[tuple[str, str]],
    chosen: Sequence[str],
    width: int,
) -> list[tuple[Column, int]]:
    """Return the columns to show, each with its width.

    Args:
        sizes: Bytes on the disk by a run's path.
        runs: Those listed.
        settings: Key and title of each setting that is a column.
        chosen: The keys of the columns to show, by importance; empty: as the program thinks fit.
        width: Cells there are.
    """
    by_key = {column.key: column for column in columns_of(sizes)}
    by_key |= {key: setting_column(key, title, runs) for key, title in settings}

    def with_settings(keys: Sequence[str]) -> list[str]:
        at = keys.index(SETTINGS_HERE)
        return [*keys[:at], *(key for key, _ in settings), *keys[at + 1 :]]

    name = by_key["name"]
    longest = max((len(run.name) for run in runs), default=0)
    needed = max(name.narrowest, min(longest, name.widest))
    by_key["name"] = replace(name, narrowest=needed if width >= WIDE else name.narrowest)
    columns = [by_key[key] for key in with_settings(LEFT_TO_RIGHT)]
    important = list(chosen)
    if "name" not in important:
        important.insert(0, "name")
    return fitting(columns, width, important if chosen else with_settings(BY_IMPORTANCE))
