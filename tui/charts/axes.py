"""The vertical axis, and round numbers along both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from engine.metrics import Flags, Values

# Share of the data's range left free above and below it, together.
PADDING = 0.10

# Magnitudes that no loss has, far enough from the limits of floats to calculate with.
HUGE, TINY = 1e300, 1e-300

# Limits of a logarithmic axis, as powers of ten that are still normal floats.
MOST_DECADES = 307.0

# How much of the steps so far the recent window shows.
RECENT_SHARE = 0.2

# Shortest horizontal axis: the first steps must not rescale it all the time.
EARLY_WINDOW = 100

# Ends of the horizontal axis, as factors of a power of ten: fine enough that at least two thirds
# of the axis are used, coarse enough that it seldom changes.
_ENDS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)

Ticks: TypeAlias = list[tuple[float, str]]
"""Places along an axis from 0 to 1, with their labels."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The range of the vertical axis; logarithmic ones hold powers of ten."""

    low: float
    high: float
    log: bool = False

    @classmethod
    def around(cls, low: float, high: float, *, log: bool) -> Scale:
        """Return a scale with some padding around the data; log only if all of it is positive."""
        if math.isnan(low):
            return cls(0.0, 1.0)
        if log and low > 0:
            decades = [clamped(math.log10(extreme), math.log10(HUGE)) for extreme in (low, high)]
            bottom, top = _padded(decades[0], decades[1], flat_room=0.1)
            return cls(clamped(bottom, MOST_DECADES), clamped(top, MOST_DECADES), log=True)
        low, high = clamped(low, HUGE), clamped(high, HUGE)
        bottom, top = _padded(low, high, flat_room=abs(low) * PADDING if abs(low) > TINY else 1.0)
        # A loss is never negative: do not use rows for values below zero.
        return cls(max(bottom, 0.0) if 0 <= low < high else bottom, top)

    def heights(self, values: Values) -> Values:
        """Return where values lie, from 0 at the bottom to 1 at the top; NaN stays NaN."""
        if self.log:
            values = np.log10(np.maximum(values, 10.0**self.low))
        # halves, because the distance between two floats may be more than the largest float
        above = 0.5 * values - 0.5 * self.low
        return np.clip(above / (0.5 * self.high - 0.5 * self.low), 0.0, 1.0)

    def holds(self, values: Values) -> Flags:
        """Return which values lie within the range; NaN does not."""
        ends = (10.0**self.low, 10.0**self.high) if self.log else (self.low, self.high)
        within: Flags = (ends[0] <= values) & (values <= ends[1])
        return within

    def ticks(self, most: int) -> Ticks:
        """Return at most about `most` round values within the range."""
        if not self.log:
            values = nice_values(self.low, self.high, most)
        elif self.high - self.low > 1.5:
            values = [10.0**power for power in nice_values(self.low, self.high, most, whole=True)]
        else:
            values = [v for v in nice_values(10**self.low, 10**self.high, most + 2) if v > 0]
        heights = self.heights(np.array(values, dtype=np.float64))
        return list(zip(heights.tolist(), value_labels(values), strict=True))


def clamped(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)


def _padded(low: float, high: float, flat_room: float) -> tuple[float, float]:
    span = high - low
    if span <= max(1e-9 * max(abs(low), abs(high)), TINY):
        return low - flat_room, high + flat_room
    # Rounded outwards, so that the axis does not change with each new extreme.
    grain = nice_step(span / 25)
    room = span * PADDING / 2
    return math.floor((low - room) / grain) * grain, math.ceil((high + room) / grain) * grain


def nice_step(at_least: float, *, whole: bool = False) -> float:
    """Return the smallest of 1, 2, 2.5, 5 times a power of ten that is at least this large."""
    power = 10.0 ** math.floor(math.log10(at_least))
    for factor in (1.0, 2.0, 2.5, 5.0, 10.0):
        step = factor * power
        if step >= at_least * (1 - 1e-9) and not (whole and step % 1):
            return step
    return max(10.0 * power, 1.0)


def nice_values(low: float, high: float, most: int, *, whole: bool = False) -> list[float]:
    """Return round, evenly spaced values in [low, high], `most` or one more of them."""
    step = nice_step((high - low) / most, whole=whole)
    slack = step * 1e-6
    first, last = math.ceil((low - slack) / step), math.floor((high + slack) / step)
    return [count * step for count in range(first, last + 1)]


def full_range(last_step: int, max_step: int | None = None) -> tuple[int, int]:
    """Return the ends of an axis over all steps: 0 and a round number, or `max_step` if earlier."""
    wanted = max(last_step, EARLY_WINDOW)
    power = 10.0 ** math.floor(math.log10(wanted))
    end = next(round(factor * power) for factor in _ENDS if factor * power >= wanted)
    if max_step is not None and last_step <= max_step:
        end = min(end, max_step)
    return 0, max(end, 1)


def recent_range(last_step: int, max_step: int | None = None) -> tuple[int, int]:
    """Return the ends of an axis over the last fifth of the steps, at most `max_step`."""
    width = max(last_step * RECENT_SHARE, EARLY_WINDOW)
    # It moves in leaps of a tenth to a fifth of its width: a chart that slides cannot be read.
    power = 10 ** math.floor(math.log10(width / 10))
    leap = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= width / 10)
    end = (last_step // leap + 1) * leap
    if max_step is not None and last_step <= max_step:
        end = max(min(end, max_step), 1)
    return max(int((last_step - width) // leap * leap), 0), end


def step_ticks(first: int, last: int, most: int) -> Ticks:
    """Return round steps along the horizontal axis."""
    values = nice_values(first, last, most, whole=True)
    return [((value - first) / (last - first), step_label(round(value))) for value in values]


def time_ticks(first: int, last: int, most: int) -> Ticks:
    """Return round times along a horizontal axis in milliseconds."""
    size, unit = next((s, u) for s, u in _TIMES if last >= 2 * s or s == _TIMES[-1][0])
    values = nice_values(first / size, last / size, most)
    return [
        ((value * size - first) / (last - first), f"{value:.6g}{unit}" if value else "0")
        for value in values
    ]


_TIMES = ((3_600_000, " h"), (60_000, " min"), (1_000, " s"), (1, " ms"))


def step_label(step: int) -> str:
    """Format a step: 500, 1.5k, 20k, 1.2M, 3B."""
    if step >= 1_000_000_000:
        return f"{step / 1_000_000_000:g}B"
    if step >= 1_000_000:
        return f"{step / 1_000_000:g}M"
    return f"{step / 1_000:g}k" if step >= 1_000 else str(step)


def value_labels(values: Sequence[float]) -> list[str]:
    """Format evenly spaced values with as many decimals as distinguish them, all alike."""
    largest = max(map(abs, values), default=0.0)
    smallest = min((abs(value) for value in values if value), default=1.0)
    if largest >= 1e6 or smallest < 1e-4:
        return [f"{value:.3g}".replace("e+0", "e").replace("e+", "e") for value in values]
    for decimals in range(8):
        if all(abs(value - round(value, decimals)) < smallest * 1e-6 for value in values):
            break
    return [f"{value:.{decimals}f}" for value in values]
