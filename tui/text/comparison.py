"""The comparison of runs as text, for the command and the screen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import mean, stdev
from typing import NamedTuple

from engine.runs.comparison import (
    ComparedRun,
    described,
    differing_settings,
    seed_groups,
    tokens_differ,
)
from engine.runs.summary import RunSummary
from tui.text.numbers import UNKNOWN, format_amount, format_duration, format_loss, format_steps


class Line(NamedTuple):
    """One line of the table."""

    label: str
    cells: list[str]  # one for each run
    best: frozenset[int] = frozenset()  # indices of the best cells, if the line has any


def setting_lines(runs: Sequence[ComparedRun]) -> list[Line]:
    """Return the settings that differ, as ``optim.learning_rate  0.001→0.0003  0.001``."""
    return [
        Line(key, [_cut(described(key, one)) or "(empty)" for one in values])
        for key, values in differing_settings(runs).items()
    ]


def _cut(words: str) -> str:
    """Shorten a long value, such as a prompt, so that the other columns stay visible."""
    half = MOST_LETTERS // 2
    return words if len(words) <= MOST_LETTERS else f"{words[:half]}…{words[1 - half :]}"


def figure_lines(runs: Sequence[ComparedRun]) -> list[Line]:
    """Return the results of each run, without lines that are empty for all."""
    lines = [
        Line(label, [words(run.summary) for run in runs], _best(label, runs))
        for label, words in FIGURES.items()
        if label != BITS or tokens_differ(runs)  # else it says no more than the loss
    ]
    return [line for line in lines if any(cell != UNKNOWN for cell in line.cells)]


def seed_lines(runs: Sequence[ComparedRun], names: Sequence[str]) -> list[str]:
    """Return a sentence for each set of runs that differ in the seed alone: mean and deviation.

    Args:
        runs: Those compared.
        names: What each is called.
    """
    lines = []
    for group in seed_groups(runs):
        losses = [runs[i].summary.best_val_loss for i in group]
        known = [loss for loss in losses if loss is not None and math.isfinite(loss)]
        if len(known) > 1:
            who = ", ".join(names[i] for i in group)
            lines.append(
                f"{who} differ in the seed alone: best val {format_loss(mean(known))} ± "
                f"{format_loss(stdev(known))}"
            )
    return lines


MOST_LETTERS = 40  # of a value in its cell

BITS = "best bits/byte"

FIGURES: dict[str, Callable[[RunSummary], str]] = {
    BITS: lambda run: _at(run.best_bits_per_byte, run.best_step),
    "best val": lambda run: _at(run.best_val_loss, run.best_step),
    "last val": lambda run: format_loss(run.val_loss),
    "last train": lambda run: format_loss(run.train_loss),
    "steps": lambda run: format_steps(run.step, run.total_steps),
    "tokens": lambda run: format_amount(run.tokens),
    "train time": lambda run: format_duration(run.train_seconds),
    "tokens/s": lambda run: f"{run.tokens_per_second:,.0f}" if run.tokens_per_second else UNKNOWN,
    "parameters": lambda run: format_amount(run.parameters),
    "state": lambda run: f"{run.state} (live)" if run.live else run.state,
    "measured on": lambda run: run.val_measured or UNKNOWN,
    "forked from": lambda run: f"{run.parent} at {run.parent_step:,}" if run.parent else UNKNOWN,
}


def _at(value: float | None, step: int | None) -> str:
    return format_loss(value) if step is None else f"{format_loss(value)} at {step:,}"


def _best(label: str, runs: Sequence[ComparedRun]) -> frozenset[int]:
    if label != (BITS if tokens_differ(runs) else "best val"):
        return frozenset()
    scores = (
        run.summary.best_bits_per_byte if label == BITS else run.summary.best_val_loss
        for run in runs
    )
    known = {i: one for i, one in enumerate(scores) if one is not None}
    if len(known) < 2 or len(set(known.values())) == 1:
        return frozenset()
    return frozenset(i for i, one in known.items() if one == min(known.values()))
