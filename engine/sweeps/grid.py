"""Grid and random search: turn settings with several values into a list of configurations.

``optim.learning_rate=1e-4..1e-2 log x5`` and ``model.n_layer=2,4`` are two axes of a grid.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data.errors import InputError
from engine.config.changes import with_one_end
from engine.config.schema import SETTINGS, Config, full_key, unknown_setting
from engine.config.setting import Setting, Value, format_float
from engine.config.unused import without_effect

MAX_RUNS = 1000
DIGITS = 6  # of computed values, as many as are shown
TRIES_PER_DRAW = 100  # without a new combination, before the search ends
NEXT_AXIS = re.compile(r"[;\s]+(?=[A-Za-z_]\w*(?:\.\w+)?\s*=)")


@dataclass(frozen=True)
class Axis:
    key: str
    values: tuple[Value, ...] = ()  # empty for a range to draw from
    low: float = 0.0
    high: float = 0.0
    log: bool = False  # values are spaced or drawn evenly on a logarithmic scale

    def draw(self, chance: random.Random) -> Value:
        if self.values:
            return chance.choice(self.values)
        return _value_at(self, chance.random())


@dataclass(frozen=True)
class Trial:
    """A planned run: the settings of the sweep, and the whole configuration."""

    changes: Mapping[str, Value]
    config: Config
    problems: tuple[str, ...] = ()  # why the run is not possible


@dataclass(frozen=True)
class Plan:
    """The runs of a sweep, and the combinations that are left out."""

    trials: tuple[Trial, ...]
    impossible: tuple[Trial, ...]

    def ineffective_settings(self) -> list[str]:
        """Return a sentence for each setting that has no effect in any of the runs."""
        told = []
        for key in self.trials[0].changes:
            reasons = [without_effect(trial.config, [key]) for trial in self.trials]
            if all(reasons):
                told += reasons[0]
        return told


def split_axes(text: str) -> list[str]:
    """Split a line into axes, at spaces and semicolons."""
    text = text.strip(" ;\t\n")
    return NEXT_AXIS.split(text) if text else []


def parse_axes(texts: Sequence[str]) -> tuple[list[Axis], list[str]]:
    """Parse axes; also return one sentence for each problem."""
    axes: dict[str, Axis] = {}
    problems: list[str] = []
    for text in texts:
        key, equals, values = text.partition("=")
        key = full_key(key.strip())
        if not equals:
            problems.append(
                f"a sweep takes name=values, as in learning_rate=1e-4..1e-2 log x5 "
                f"or n_layer=2,4, not {text!r}"
            )
        elif key not in SETTINGS:
            problems.append(unknown_setting(key))
        elif key in axes:
            problems.append(f"{key} is given twice: put all its values after one '='")
        else:
            axis, found = _parse_values(SETTINGS[key], values)
            axes[key] = axis
            problems += found
    return list(axes.values()), problems


def grid(axes: Sequence[Axis]) -> list[dict[str, Value]]:
    """Return all combinations, the last axis varying fastest.

    Raises:
        InputError: A range has no number of values, or there are too many combinations.
    """
    problems = [
        f"{axis.key}: give the number of values of {(ends := _span(axis))} to take, as in {ends} "
        "x5; 'gpt-tui sweep --random N' draws them"
        for axis in axes
        if not axis.values
    ]
    runs = math.prod(len(axis.values) for axis in axes)
    if runs > MAX_RUNS:
        problems.append(
            f"this grid has {runs:,} runs, and {MAX_RUNS:,} is the maximum: take fewer values, or "
            f"draw some of them with --random N"
        )
    if problems:
        raise InputError(*problems)
    keys = [axis.key for axis in axes]
    combinations = itertools.product(*(axis.values for axis in axes))
    return [dict(zip(keys, values, strict=True)) for values in combinations]


def draw(axes: Sequence[Axis], count: int, seed: int) -> list[dict[str, Value]]:
    """Draw distinct combinations at random; fewer are returned if there are no more.

    Raises:
        InputError: The count is out of range.
    """
    if not 1 <= count <= MAX_RUNS:
        raise InputError(f"--random takes 1 to {MAX_RUNS:,} runs, not {count:,}")
    chance = random.Random(seed)
    drawn: dict[tuple[Value, ...], None] = {}
    for _ in range(count * TRIES_PER_DRAW):
        drawn[tuple(axis.draw(chance) for axis in axes)] = None
        if len(drawn) == count:
            break
    keys = [axis.key for axis in axes]
    return [dict(zip(keys, values, strict=True)) for values in drawn]


def plan(base: Config, combinations: Sequence[Mapping[str, Value]]) -> Plan:
    """Validate each combination.

    Raises:
        InputError: None of them is valid.
    """
    trials, impossible = [], []
    for changes in combinations:
        config, problems = base.check(with_one_end(changes))
        if problems:
            impossible.append(Trial(dict(changes), config, tuple(problems)))
        else:
            trials.append(Trial(dict(changes), config))
    if not trials:
        raise InputError(*dict.fromkeys(p for one in impossible for p in one.problems))
    return Plan(tuple(trials), tuple(impossible))


def format_changes(changes: Mapping[str, Value]) -> str:
    """Format as ``optim.learning_rate=0.001 model.n_layer=4``."""
    return " ".join(f"{key}={SETTINGS[key].format(value)}" for key, value in changes.items())


# -- one axis ------------------------------------------------------------------------------------


def _parse_values(one: Setting, text: str) -> tuple[Axis, list[str]]:
    if one.type in (int, float) and ".." in text:
        return _parse_range(one, text)
    values, problems = [], []
    for word in text.split(","):
        try:
            values.append(one.parse(word.strip()))
        except ValueError as error:
            problems.append(str(error))
    return Axis(one.key, tuple(dict.fromkeys(values))), problems


def _parse_range(one: Setting, text: str) -> tuple[Axis, list[str]]:
    """Parse ``LOW..HIGH``, optionally followed by ``log`` and ``xCOUNT``."""
    first, _, rest = text.partition("..")
    last, *words = rest.split() or [""]
    problems: list[str] = []
    ends: list[float] = []
    for end in (first, last):
        try:
            ends.append(float(one.parse(end)))
        except ValueError as error:
            problems.append(str(error))
    log = "log" in words
    counts = [int(word[1:]) for word in words if re.fullmatch(r"x\d{1,9}", word)]
    others = [word for word in words if word != "log" and not re.fullmatch(r"x\d{1,9}", word)]
    if others or len(counts) > 1 or words.count("log") > 1:
        problems.append(
            f"{one.key}: after a range may follow 'log' and a count, as in 1e-4..1e-2 log x5, "
            f"not {' '.join(words)!r}"
        )
    if problems:
        return Axis(one.key), problems
    low, high = ends
    return _spaced(one, Axis(one.key, (), low, high, log), counts[0] if counts else None)


def _span(axis: Axis) -> str:
    return f"{format_float(axis.low, 6)}..{format_float(axis.high, 6)}"


def _spaced(one: Setting, span: Axis, count: int | None) -> tuple[Axis, list[str]]:
    """Compute the values of a range; an integer range without a count takes all of them."""
    if span.low >= span.high:
        low, high = format_float(span.low, 6), format_float(span.high, 6)
        return span, [f"{one.key}: the range must ascend: {low} is not below {high}"]
    if span.log and span.low <= 0:
        return span, [f"{one.key}: log needs a range above 0, not {_span(span)}"]
    if count is None:
        whole = int(span.high - span.low) + 1
        if one.type is float or span.log or whole > MAX_RUNS:
            return span, []
        count = whole
    if not 2 <= count <= MAX_RUNS:
        return span, [f"{one.key}: a range takes x2 to x{MAX_RUNS} values, not x{count}"]
    values = dict.fromkeys(_value_at(span, i / (count - 1)) for i in range(count))
    return Axis(one.key, tuple(values), span.low, span.high, span.log), []


def _value_at(span: Axis, share: float) -> Value:
    """Return the value at a fraction of a range, from 0 (low) to 1 (high)."""
    low, high = span.low, span.high
    value = low * (high / low) ** share if span.log else low + (high - low) * share
    if SETTINGS[span.key].type is int:
        return min(max(round(value), round(low)), round(high))
    if share in (0, 1):  # the ends exactly as typed
        return high if share else low
    return min(max(float(f"{value:.{DIGITS}g}"), low), high)
