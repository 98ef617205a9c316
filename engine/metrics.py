"""The metric store: all curves of a run, written by the engine and read by the screen.

One thread writes and any thread reads, without locks. Two rules make that safe. A row is written
before the length is increased, so a reader never sees a partial row. And the rows within the length
are never written again: growing and truncating create another buffer, so a reader's view does not
change.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isfinite, nan
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Steps: TypeAlias = NDArray[np.int64]
Values: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]

BLOCK = 64  # rows that are averaged by one matrix product
FIRST_CAPACITY = 256
FEW_ROWS = 256  # fewer are appended one by one, which is faster
SPARKLINE_POINTS = 64
WEIGHT_IS_ONE = 40.0  # 1 - exp(-40) is 1 in 64 bits


class _Buffer:
    """Preallocated rows; readers see the first `length` of them."""

    __slots__ = ("history", "length", "smoothed", "steps", "values")

    def __init__(self, capacity: int) -> None:
        self.steps: Steps = np.zeros(capacity, dtype=np.int64)
        self.values: Values = np.zeros(capacity, dtype=np.float64)
        self.smoothed: Values = np.zeros(capacity, dtype=np.float64)
        self.length = 0
        self.history = object()  # the same in all buffers that only ever added rows

    @property
    def capacity(self) -> int:
        return len(self.steps)

    def first_rows(self, rows: int, capacity: int) -> _Buffer:
        copy = _Buffer(capacity)
        for name in ("steps", "values", "smoothed"):
            getattr(copy, name)[:rows] = getattr(self, name)[:rows]
        copy.length = rows
        if rows == self.length:
            copy.history = self.history
        return copy


class Column:
    """One metric over time: steps, values and their running average, append-only.

    Steps never decrease; several rows may share a step. The average is TensorBoard's debiased
    exponential moving average; values that are not finite do not change it.

    Args:
        smoothing: Weight of the old average, 0 (no smoothing) up to but not including 1.
    """

    def __init__(self, smoothing: float = 0.9) -> None:
        if not 0.0 <= smoothing < 1.0:
            raise ValueError(f"smoothing must be in [0, 1), not {smoothing}")
        self.smoothing = smoothing
        self._buffer = _Buffer(FIRST_CAPACITY)
        self._average = nan
        self._averaged = 0  # how many finite values the average has seen

    def __len__(self) -> int:
        return self._buffer.length

    @property
    def last(self) -> float | None:
        """The latest value, finite or not; None if there is none."""
        buffer = self._buffer
        return float(buffer.values[buffer.length - 1]) if buffer.length else None

    @property
    def last_smoothed(self) -> float | None:
        """The latest value of the running average; None if there is no finite value."""
        buffer = self._buffer
        if not buffer.length:
            return None
        average = float(buffer.smoothed[buffer.length - 1])
        return average if isfinite(average) else None

    @property
    def last_step(self) -> int | None:
        buffer = self._buffer
        return int(buffer.steps[buffer.length - 1]) if buffer.length else None

    def append(self, step: int, value: float) -> None:
        """Add one row.

        Raises:
            ValueError: If the step lies before the last one.
        """
        buffer = self._buffer
        row = buffer.length
        if row and step < buffer.steps[row - 1]:
            raise ValueError(f"step {step} comes after step {buffer.steps[row - 1]}")
        if row == buffer.capacity:
            buffer = buffer.first_rows(row, 2 * row)
            self._buffer = buffer
        buffer.steps[row] = step
        buffer.values[row] = value
        buffer.smoothed[row] = self._average_with(value)
        buffer.length = row + 1

    def extend(self, steps: Iterable[int], values: Iterable[float]) -> None:
        """Add many rows, in order; as many steps as values.

        Raises:
            ValueError: If a step lies before the one before it, or the numbers of rows differ.
        """
        new_steps: Steps = _as_array(steps, np.int64)
        new_values: Values = _as_array(values, np.float64)
        if len(new_steps) != len(new_values):
            raise ValueError(f"{len(new_steps)} steps for {len(new_values)} values")
        if len(new_steps) < FEW_ROWS:
            for step, value in zip(new_steps.tolist(), new_values.tolist(), strict=True):
                self.append(step, value)
            return
        buffer = self._buffer
        row, end = buffer.length, buffer.length + len(new_steps)
        if np.any(np.diff(new_steps) < 0) or (row and new_steps[0] < buffer.steps[row - 1]):
            raise ValueError("the steps must not decrease")
        if end > buffer.capacity:
            buffer = buffer.first_rows(row, max(end, 2 * row))
            self._buffer = buffer
        buffer.steps[row:end] = new_steps
        buffer.values[row:end] = new_values
        buffer.smoothed[row:end] = self._averages_with(new_values)
        buffer.length = end

    def snapshot(self) -> tuple[Steps, Values, Values]:
        """Return steps, values and averages: consistent read-only views that never change."""
        buffer = self._buffer
        length = buffer.length
        steps, values = buffer.steps[:length], buffer.values[:length]
        smoothed = buffer.smoothed[:length]
        for view in (steps, values, smoothed):
            view.flags.writeable = False
        return steps, values, smoothed

    def rows(self) -> tuple[Steps, Values, object]:
        """Return steps and values, as `snapshot`, and what they are a part of.

        As long as that is the same object, rows were only added: what a reader has computed of
        the first ones still holds.
        """
        buffer = self._buffer
        length = buffer.length
        return buffer.steps[:length], buffer.values[:length], buffer.history

    def truncate(self, after_step: int) -> None:
        """Drop the rows after a step, as when a run goes back to a checkpoint."""
        buffer = self._buffer
        kept = int(np.searchsorted(buffer.steps[: buffer.length], after_step, side="right"))
        if kept == buffer.length:
            return
        self._averaged = int(np.isfinite(buffer.values[:kept]).sum())
        self._average = float(buffer.smoothed[kept - 1]) if kept else nan
        self._buffer = buffer.first_rows(kept, max(buffer.capacity, FIRST_CAPACITY))

    def _average_with(self, value: float) -> float:
        if isfinite(value):
            self._averaged += 1
            # The weight of the new value after debiasing (as in Adam): 1 for the first value,
            # decreasing to 1 - smoothing. Unlike a debiased sum, a weighted mean cannot overflow.
            weight = (1.0 - self.smoothing) / (1.0 - self.smoothing**self._averaged)
            past = (1.0 - weight) * self._average if self._averaged > 1 else 0.0
            self._average = past + weight * value
        return self._average

    def _averages_with(self, values: Values) -> Values:
        """Do as `_average_with` for many values, vectorised."""
        finite = np.isfinite(values)
        all_finite = bool(finite.all())
        sound = values if all_finite else values[finite]
        rate = float(np.log(self.smoothing or 5e-324))
        start = self._average * -float(np.expm1(self._averaged * rate)) if self._averaged else 0.0
        means = _running_mean(sound, self.smoothing, start)
        # debias: divide by the sum of weights, 1 - smoothing ** count, until that rounds to 1
        young = max(0, min(len(sound), int(WEIGHT_IS_ONE / -rate) + 1 - self._averaged))
        counts = self._averaged + np.arange(1, young + 1)
        means[:young] /= -np.expm1(counts * rate)
        averages = np.concatenate([[self._average], means])
        self._average, self._averaged = float(averages[-1]), self._averaged + len(sound)
        smoothed: Values = averages[1:] if all_finite else averages[np.cumsum(finite)]
        return smoothed


@dataclass(frozen=True, slots=True)
class Mark:
    """A step at which something happened.

    Args:
        kind: ``change`` of a setting, ``fork``, ``checkpoint``, ``best``, or another kind of entry
            in the journal.
        value: What was measured there.
    """

    step: int
    label: str
    kind: str = "change"
    value: float = nan


BEST_SO_FAR = " · the best so far"  # behind the label of an evaluation


class MetricStore:
    """All curves of a run by name, and marks at changes of settings.

    Args:
        smoothing: As TensorBoard's slider: 0 is no smoothing, 0.95 averages over about the last
            twenty values.
    """

    def __init__(self, smoothing: float = 0.9) -> None:
        self.smoothing = smoothing
        self.version = 0
        """Increases with every change; a chart drawn at this version is up to date."""
        self.marks: list[Mark] = []
        self.events: list[Mark] = []
        """What else happened: evaluations, checkpoints, pauses and the like."""
        self.bests: list[Mark] = []
        """Those of the events that are evaluations better than all before."""
        self.references: dict[str, float] = {}
        """What does not change in a run, such as ln V; see ``engine.metric_catalogue``."""
        self._columns: dict[str, Column] = {}
        self._ghosts: dict[str, list[Column]] = {}

    def append(self, name: str, step: int, value: float) -> None:
        self.column(name).append(step, value)
        self.version += 1

    def extend(self, name: str, steps: Iterable[int], values: Iterable[float]) -> None:
        self.column(name).extend(steps, values)
        self.version += 1

    def column(self, name: str) -> Column:
        """Return a curve; an unknown name creates an empty one."""
        column = self._columns.get(name)
        if column is None:
            # setdefault is atomic: a chart may create a curve while the engine writes to it
            column = self._columns.setdefault(name, Column(self.smoothing))
        return column

    def names(self) -> list[str]:
        """Return the names of all curves, in order of creation."""
        return list(self._columns)

    def add_mark(self, step: int, label: str) -> None:
        self.marks = [*self.marks, Mark(step, label)]
        self.version += 1

    def add_event(self, step: int, label: str, kind: str, value: float = nan) -> None:
        """Mark something that happened, besides changes of settings."""
        self.events.append(Mark(step, label, kind, value))
        if kind == "best":
            self.bests.append(self.events[-1])
        self.version += 1

    def settle_best(self, step: int, value: float, label: str) -> None:
        """Make an evaluation the best of all, once it was measured on the same as the others."""
        events = [
            replace(one, kind="evaluation", label=one.label.removesuffix(BEST_SO_FAR))
            if one.kind == "best" and one.step >= step
            else one
            for one in self.events
        ]
        self.events = [one for one in events if (one.kind, one.step) != ("evaluation", step)]
        self.bests = [one for one in self.bests if one.step < step]
        self.add_event(step, label, "best", value)

    def add_ghost(self, name: str, steps: Steps, values: Values) -> None:
        """Add a part of a curve that the run abandoned by going back."""
        if len(steps):
            ghost = Column(self.smoothing)
            ghost.extend(steps, values)
            self._ghosts[name] = [*self.ghosts(name), ghost]
            self.version += 1

    def ghosts(self, name: str) -> list[Column]:
        """Return the abandoned parts of a curve, the oldest first."""
        return self._ghosts.get(name, [])

    def clear(self) -> None:
        self.marks, self.events, self.bests = [], [], []
        self._columns.clear()
        self._ghosts.clear()
        self.version += 1

    def truncate(self, after_step: int) -> None:
        """Drop the rows and marks after a step, in every curve."""
        for column in list(self._columns.values()):
            column.truncate(after_step)
        self.marks = [mark for mark in self.marks if mark.step <= after_step]
        self.events = [mark for mark in self.events if mark.step <= after_step]
        self.bests = [mark for mark in self.bests if mark.step <= after_step]
        self.version += 1


def sparkline(
    metrics: MetricStore, name: str, points: int = SPARKLINE_POINTS
) -> list[float | None]:
    """Sample the running average of a metric at evenly spaced steps, first and last included.

    Its cost does not depend on the length of the run, as it is called once a second.

    Returns:
        At most `points` averages, rounded to five digits; None before the first finite value.
    """
    if name not in metrics.names():
        return []
    steps, _, smoothed = metrics.column(name).snapshot()
    if len(steps) > points:
        wanted = np.linspace(steps[0], steps[-1], points)
        smoothed = smoothed[np.searchsorted(steps, wanted)]
    return [float(f"{value:.5g}") if isfinite(value) else None for value in smoothed.tolist()]


def _as_array(items: Iterable[Any], kind: type) -> NDArray[Any]:
    return np.asarray(items, kind) if isinstance(items, np.ndarray) else np.fromiter(items, kind)


def _running_mean(values: Values, weight: float, start: float) -> Values:
    """Compute m ← weight · m + (1 - weight) · value after each value, beginning with `start`."""
    stretches = -(-len(values) // BLOCK)
    rows = np.zeros((stretches, BLOCK))
    rows.ravel()[: len(values)] = values
    age = np.subtract.outer(np.arange(BLOCK), np.arange(BLOCK))  # [j, i]: rows from i to j
    share = np.where(age >= 0, (1.0 - weight) * np.power(weight, np.maximum(age, 0)), 0.0)
    means = rows @ share.T  # of each block alone; what precedes it is added below
    carried = np.empty(stretches)
    for stretch, last in enumerate(means[:, -1].tolist()):
        carried[stretch] = start
        start = weight**BLOCK * start + last
    means += carried[:, None] * np.power(weight, np.arange(1, BLOCK + 1))
    result: Values = means.ravel()[: len(values)]
    return result
