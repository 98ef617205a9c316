"""A figure of runs over a setting in which they differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.config.schema import SETTINGS
from engine.config.setting import Value
from engine.runs.comparison import NOT_OF_TRAINING, SEED
from engine.runs.fields import differing_keys
from engine.runs.summary import RunSummary

FIGURES: dict[str, Callable[[RunSummary], float | None]] = {
    "best val": lambda run: run.best_val_loss,
    "last val": lambda run: run.val_loss,
    "last train": lambda run: run.train_loss,
    "train time": lambda run: run.train_seconds or None,
}
"""What can be plotted over a setting; the lowest is the best."""


@dataclass(frozen=True)
class SweptPoint:
    """A run in the plot.

    Attributes:
        run: The run.
        value: Of the setting.
        x: Where that stands: the number itself, or its rank among the values.
        y: The figure.
    """

    run: RunSummary
    value: Value
    x: float
    y: float


@dataclass(frozen=True)
class Sweep:
    """The points, by rising value, and the values by rank where these are no numbers."""

    points: list[SweptPoint]
    ranked: list[Value]


@dataclass(frozen=True)
class SeedSpread:
    """What the figure of runs that differ in the seed alone is.

    Attributes:
        runs: Their paths.
        x: Where they stand.
        mean: Of the figure.
        low: The lowest one.
        high: The highest one.
    """

    runs: list[str]
    x: float
    mean: float
    low: float
    high: float


def seed_spreads(points: Sequence[SweptPoint]) -> list[SeedSpread]:
    """Return the spread of each set of two or more runs that differ in the seed alone."""
    groups: dict[object, list[SweptPoint]] = {}
    for one in points:
        config = one.run.config
        alike = tuple(
            str(config.get(key)) if config else ""
            for key, setting in SETTINGS.items()
            if key != SEED and setting.section not in NOT_OF_TRAINING
        )
        groups.setdefault((alike, one.x), []).append(one)
    spreads = []
    for group in groups.values():
        if len(group) > 1:
            ys = [one.y for one in group]
            paths = [one.run.path for one in group]
            mean = sum(y / len(ys) for y in ys)
            spreads.append(SeedSpread(paths, group[0].x, mean, min(ys), max(ys)))
    return spreads


def swept_settings(runs: Sequence[RunSummary]) -> list[str]:
    """Return the settings in which runs differ, those with the most values first, seeds last."""
    keys = [key for key in differing_keys(runs) if SETTINGS[key].section not in NOT_OF_TRAINING]
    counts = {key: len({run.config.get(key) for run in runs if run.config}) for key in keys}
    return sorted(keys, key=lambda key: (key == SEED, -counts[key]))


def second_setting(
    runs: Sequence[RunSummary], keys: Sequence[str], first: str, most: int
) -> tuple[str, list[Value]]:
    """Return another setting in which runs differ, and its values; empty if there is none.

    Args:
        runs: That are plotted.
        keys: In which they differ.
        first: The setting they are plotted over.
        most: Values that it may have: each is a line.
    """
    for key in keys:
        values = {run.config.get(key) for run in runs if run.config is not None}
        if key not in (first, SEED) and 1 < len(values) <= most:
            return key, sorted(values, key=lambda value: (str(type(value)), value))
    return "", []


def sweep_over(runs: Sequence[RunSummary], key: str, figure: str) -> Sweep:
    """Place runs along the values of a setting; those without the figure are left out.

    Numbers of which some are 0 and the others span decades are ranked, as a logarithmic axis has
    no 0.
    """
    measure = FIGURES[figure]
    known = [
        (run, run.config.get(key), float(y))
        for run in runs
        if run.config is not None and (y := measure(run)) is not None and math.isfinite(y)
    ]
    values = sorted({value for _, value, _ in known}, key=lambda value: (str(type(value)), value))
    positive = [one for one in values if isinstance(one, (int, float)) and one > 0]
    is_number = SETTINGS[key].type in (int, float)
    spans = bool(positive) and max(positive) > 20 * min(positive)
    ranks = not is_number or (spans and len(positive) < len(values))
    points = [
        SweptPoint(run, value, float(values.index(value)) if ranks else float(value), y)
        for run, value, y in known
    ]
    return Sweep(sorted(points, key=lambda one: (one.x, one.y)), values if ranks else [])
