"""The horizontal axis: what it counts, which part of it is shown, and how one moves along it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.config.setting import format_float
from engine.metrics import Column, MetricStore, Steps, Values
from tui.charts.axes import FAR, Ticks, nice_values
from tui.charts.view import Unit

if TYPE_CHECKING:
    from engine.runs.curves import Axis

KNOTS = 4096  # of a recorded axis such as time, between which it is taken to rise evenly
FARTHEST = 2.0**60  # steps; the limits of int64 are not far


@dataclass(frozen=True, eq=False)
class XAxis:
    """What the horizontal axis counts, as a rising function of the step.

    Args:
        unit: Determines the labels.
        factor: Of the unit per step, where that is constant.
        knots: Steps and places between which it rises evenly; beyond them it rises as on average.
    """

    unit: Unit = "steps"
    factor: float = 1.0
    knots: tuple[Values, Values] | None = None

    @classmethod
    def along(cls, axis: Axis) -> XAxis:
        """Return the axis of the places that ``LossCurves.along`` returns."""
        from engine.runs.curves import MILLISECONDS, OF_AN_EPOCH, Axis

        return {
            Axis.STEPS: cls(),
            Axis.TOKENS: cls("tokens"),
            Axis.EPOCHS: cls("epochs", 1 / OF_AN_EPOCH),
            Axis.SECONDS: cls("time", 1 / MILLISECONDS),
        }[axis]

    @classmethod
    def recorded(cls, unit: Unit, column: Column, *, from_zero: bool = True) -> XAxis | None:
        """Return the axis that a metric is, such as the time at each step; None without one.

        Args:
            unit: Of the metric.
            column: Its values should rise; they are made to.
            from_zero: Count from the first value.
        """
        steps, values, _ = column.rows()
        if len(steps) > KNOTS:
            rows = np.unique(np.linspace(0, len(steps) - 1, KNOTS).astype(np.int64))
            steps, values = steps[rows], values[rows]
        sound = np.isfinite(values)
        sound[1:] &= np.diff(steps) > 0
        if sound.sum() < 2:
            return None
        places = np.maximum.accumulate(values[sound])
        if not places[-1] > places[0]:
            return None
        knots = steps[sound].astype(np.float64), places - (places[0] if from_zero else 0.0)
        return cls(unit, knots=knots)

    def times(self, factor: float, unit: Unit) -> XAxis:
        """Return the axis of what is so many times as much."""
        if self.knots is None:
            return XAxis(unit, self.factor * factor)
        return XAxis(unit, knots=(self.knots[0], self.knots[1] * factor))

    def of(self, steps: NDArray[np.generic] | float) -> Values:
        """Return the places of steps."""
        wanted = np.asarray(steps, dtype=np.float64)
        if self.knots is None:
            return wanted * self.factor
        return _interpolated(wanted, *self.knots)

    def steps_at(self, places: Values) -> Values:
        """Return the steps at places, not rounded."""
        if self.knots is None:
            return np.asarray(places, dtype=np.float64) / self.factor
        steps, known = self.knots
        return _interpolated(np.asarray(places, dtype=np.float64), known, steps)

    def label(self, place: float) -> str:
        """Format a place exactly, for the cursor."""
        if self.unit == "time":
            return _clock(place)
        if self.unit == "steps":
            return f"step {round(place):,}"
        if self.unit == "epochs":
            return f"epoch {format_float(place, 4)}"
        return f"{_amount(place)} {self.unit}"

    def ticks(self, first: float, last: float, most: int) -> list[tuple[float, str]]:
        """Return round places from first to last, with labels."""
        if self.unit == "time":
            size, name = next((s, u) for s, u in _TIMES if last >= 2 * s or s == _TIMES[-1][0])
            values = nice_values(first / size, last / size, most)
            return [(one * size, f"{one:.6g}{name}" if one else "0") for one in values]
        if self.unit == "steps":
            values = nice_values(first, last, most, whole=True)
            return [(one, step_label(round(one))) for one in values]
        return [(one, _amount(one)) for one in nice_values(first, last, most)]


_TIMES = ((86_400.0, " d"), (3_600.0, " h"), (60.0, " min"), (1.0, " s"), (0.001, " ms"))


def axis_of(store: MetricStore, unit: Unit, per_token: Mapping[str, float]) -> XAxis | None:
    """Return what the horizontal axis of a run's charts counts; None where that is not known.

    Args:
        store: With the time and the tokens at each step.
        unit: Wanted.
        per_token: Epochs and operations for each token.
    """
    if unit == "steps":
        return XAxis()
    if unit == "time":
        return XAxis.recorded(unit, store.column("wall_time")) or XAxis.recorded(
            unit, store.column("train_seconds")
        )
    tokens = XAxis.recorded("tokens", store.column("tokens"), from_zero=False)
    if tokens is None or unit == "tokens":
        return tokens
    factor = per_token.get(unit, 0.0)
    return tokens.times(factor, unit) if factor > 0 else None


def _interpolated(at: Values, xs: Values, ys: Values) -> Values:
    inside: Values = np.interp(at, xs, ys)
    slope = (ys[-1] - ys[0]) / (xs[-1] - xs[0])
    beyond = np.where(at > xs[-1], at - xs[-1], np.where(at < xs[0], at - xs[0], 0.0))
    result: Values = inside + beyond * slope
    return result


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the horizontal axis that is shown, ends included.

    Args:
        first: As a place of the axis.
        last: Above `first`.
        log: Logarithmic, where `first` is positive.
        ticks_of: Makes the labels; None leaves it to the axis.
    """

    first: float
    last: float
    axis: XAxis = field(default_factory=XAxis)
    log: bool = False
    ticks_of: Callable[[int], Ticks] | None = None

    @property
    def is_log(self) -> bool:
        return self.log and self.first > 0

    def shares(self, steps: NDArray[np.generic] | float) -> Values:
        """Return where steps lie: 0 at the left end, 1 at the right one, beyond them outside."""
        return self._shares_of(self.axis.of(steps))

    def _shares_of(self, places: Values) -> Values:
        first, last = self.first, self.last
        if self.is_log:
            places = np.log(np.maximum(places, first * 1e-30))
            first, last = math.log(first), math.log(last)
        shares: Values = np.clip((places - first) / (last - first), -FAR, FAR)
        return shares

    def steps_at(self, shares: Values | float) -> Values:
        """Return the steps, not rounded, at shares of the width."""
        shares = np.asarray(shares, dtype=np.float64)
        if self.is_log:
            places = self.first * np.power(self.last / self.first, shares)
        else:
            places = self.first + (self.last - self.first) * shares
        return self.axis.steps_at(places)

    def borders(self, parts: int) -> Steps:
        """Return the first whole step of each of some equal parts, and the step after the last."""
        borders = self.steps_at(np.arange(parts + 1) / parts)
        # a step on a border is always in the part to its right, whatever the rounding
        nearest = np.rint(borders)
        slack = 1e-6 * max(1.0, abs(borders[-1] - borders[0]) / parts)
        snapped = np.where(np.abs(borders - nearest) < slack, nearest, np.ceil(borders))
        snapped[-1] = math.floor(borders[-1] + slack) + 1.0
        snapped = np.maximum.accumulate(np.clip(snapped, -FARTHEST, FARTHEST))
        return snapped.astype(np.int64)

    def edges(self, steps: Steps, parts: int) -> Steps:
        """Return the row numbers that divide a window of rising steps into equal parts."""
        edges: Steps = np.searchsorted(steps, self.borders(parts), side="left")
        return edges

    def ticks(self, most: int) -> Ticks:
        """Return round places along the axis."""
        if self.ticks_of is not None:
            return self.ticks_of(most)
        labelled = self.axis.ticks(self.first, self.last, most)
        if self.is_log and self.last / self.first > 10:
            labelled = self._log_ticks(most) or labelled
        if not labelled:
            return []
        shares = self._shares_of(np.array([place for place, _ in labelled]))
        return [
            (share, label)
            for share, (_, label) in zip(shares.tolist(), labelled, strict=True)
            if 0 <= share <= 1
        ]

    def _log_ticks(self, most: int) -> list[tuple[float, str]]:
        low, high = math.ceil(math.log10(self.first)), math.floor(math.log10(self.last))
        powers = range(low, high + 1)
        every = max(1, math.ceil(len(powers) / most))
        found = []
        for power in powers[::every]:
            ticks = self.axis.ticks(10.0**power, 10.0**power * 1.5, 1)
            found.append((10.0**power, ticks[0][1] if ticks else format_float(10.0**power, 6)))
        return found


def step_label(step: int) -> str:
    """Format a step: 500, 1.5k, 20k, 1.2M, 3B."""
    return _amount(step) if abs(step) >= 1_000 else str(step)


def _amount(number: float) -> str:
    for size, unit in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.6g}{unit}"
    return format_float(number, 6)


def _clock(seconds: float) -> str:
    if abs(seconds) < 60:
        return f"{format_float(seconds, 3)} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02} min"
