"""Ranges and round numbers along both axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from engine.config.setting import format_float
from engine.metrics import Values

# Magnitudes that no loss has, far enough from the limits of floats to calculate with.
HUGE, TINY = 1e300, 1e-300

# Limits of a logarithmic axis, as powers of ten that are still normal floats.
MOST_DECADES = 307.0

# Parts of which a range is made: its ends are multiples of 1, 2 or 5 times a power of ten.
PARTS = 12

# A range is kept as long as the data takes up this share of it, so that the axis does not jump.
KEPT_SHARE = 0.6

# How much of the steps so far the recent window shows.
RECENT_SHARE = 0.2

# Shortest horizontal axis: the first steps must not rescale it all the time.
EARLY_WINDOW = 100

# How far outside the canvas a place may be: a line to it leaves the canvas upright.
FAR = 1e6

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
    def around(
        cls,
        low: float,
        high: float,
        *,
        log: bool = False,
        before: Scale | None = None,
        floor: float | None = None,
        ceiling: float | None = None,
    ) -> Scale:
        """Return a range with round ends around the data; logarithmic if all of it is positive.

        Args:
            low: Of the data; NaN if there is none.
            high: Of the data.
            log: Whether a logarithmic range is wanted.
            before: The range so far, which is kept if it is not much too large.
            floor: The lower end, where the user has chosen it.
            ceiling: The upper end, likewise.
        """
        if math.isnan(low):
            low, high = 0.0, 1.0
        log = log and low > 0 and all(end is None or end > 0 for end in (floor, ceiling))
        low, high = _clamped(low, HUGE), _clamped(high, HUGE)
        ends = tuple(None if end is None else _clamped(end, HUGE) for end in (floor, ceiling))
        if log:
            low, high = _clamped(math.log10(low), 300.0), _clamped(math.log10(high), 300.0)
            ends = tuple(None if end is None else math.log10(end) for end in ends)
        if before is not None and before.log == log and ends == (None, None):
            wide = before.high - before.low
            within = before.low <= low and high <= before.high
            if within and (high - low >= KEPT_SHARE * wide or low == high):
                return before
        bottom, top = _rounded_outwards(low, high, log)
        bottom = bottom if ends[0] is None else ends[0]
        top = top if ends[1] is None else ends[1]
        least = 1e-9 * max(abs(bottom), abs(top), TINY)
        if not top - bottom > least:  # limits that leave nothing between them and the data
            if ends[0] is not None:
                top = bottom + max(abs(bottom), 1.0)
            else:
                bottom = top - max(abs(top), 1.0)
        limit = MOST_DECADES if log else 2 * HUGE
        return cls(_clamped(bottom, limit), _clamped(top, limit), log)

    def heights(self, values: Values) -> Values:
        """Return where values lie: 0 at the bottom, 1 at the top, beyond them outside of it."""
        if self.log:
            tiny = 10.0 ** -(MOST_DECADES + 1)  # below any range, and its logarithm is finite
            values = np.log10(np.maximum(values, tiny))
        # halves, because the distance between two floats may be more than the largest float
        with np.errstate(over="ignore"):
            above = 0.5 * np.asarray(values) - 0.5 * self.low
            heights: Values = np.clip(above / (0.5 * self.high - 0.5 * self.low), -FAR, FAR)
        return heights

    def value_at(self, height: float) -> float:
        """Return the value at a height from 0 to 1."""
        value = self.low * (1 - height) + self.high * height
        return 10.0**value if self.log else value

    def ticks(self, most: int) -> Ticks:
        """Return round values within the range: at least two, and about `most` at most."""
        values = self._round_values(max(most, 2))
        heights = self.heights(np.array(values, dtype=np.float64))
        return list(zip(np.clip(heights, 0.0, 1.0).tolist(), value_labels(values), strict=True))

    def _round_values(self, most: int) -> list[float]:
        if not self.log:
            found = (nice_values(self.low, self.high, count) for count in range(most, most + 7))
            return next((values for values in found if len(values) > 1), [self.low, self.high])
        ends = 10.0**self.low, 10.0**self.high
        decades = range(math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9) + 1)
        sets = [
            [m * 10.0**power for power in (decades.start - 1, *decades) for m in mantissas]
            for mantissas in ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,))
        ]
        for values in sets:
            inside = [v for v in values if ends[0] * (1 - 1e-9) <= v <= ends[1] * (1 + 1e-9)]
            if 2 < len(inside) <= most + 1:
                return inside
        if self.high - self.low > 1.5:
            powers = nice_values(self.low, self.high, most, whole=True)
            if len(powers) > 1:
                return [10.0**power for power in powers]
        found = (nice_values(*ends, count) for count in range(most, most + 7))
        return next(
            (v for values in found if len(v := [one for one in values if one > 0]) > 1), list(ends)
        )


def _clamped(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)


def _rounded_outwards(low: float, high: float, log: bool) -> tuple[float, float]:
    span = high - low
    if span <= max(1e-9 * max(abs(low), abs(high)), TINY):
        if log:
            return low - 0.1, high + 0.1
        room = abs(low) / 20 if abs(low) > TINY else 1.0
        return low - room, high + room
    step = nice_step(span / PARTS)
    # Rounded outwards, so that the axis does not change with each new extreme.
    bottom = math.floor((low - step * 0.2) / step) * step
    top = math.ceil((high + step * 0.2) / step) * step
    # A loss is never negative: do not use rows for values below zero.
    return (max(bottom, 0.0) if low >= 0 and not log else bottom), top


def nice_step(at_least: float, *, whole: bool = False) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is at least this large."""
    power = 10.0 ** math.floor(math.log10(at_least))
    for factor in (1.0, 2.0, 5.0, 10.0):
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


def value_labels(values: Sequence[float]) -> list[str]:
    """Format evenly spaced values with as many decimals as distinguish them, all alike."""
    largest = max(map(abs, values), default=0.0)
    smallest = min((abs(value) for value in values if value), default=1.0)
    if largest >= 1e6 or smallest < 1e-4 or (smallest and largest / smallest > 1e5):
        return [format_float(value, 3) for value in values]
    for decimals in range(8):
        if all(abs(value - round(value, decimals)) < smallest * 1e-6 for value in values):
            break
    if largest / smallest > 100:  # a logarithmic axis: 0.001, 1, 1000
        return [f"{value:.6g}" for value in values]
    return [f"{value:.{decimals}f}" for value in values]
