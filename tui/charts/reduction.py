"""What charts need of long curves, computed once and kept: redrawing costs the same at any length.

Rows of a column never change, so that what was computed of a block of them holds until the column
is truncated. All of this is read by the thread that draws.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from engine.metrics import Column, Flags, Steps, Values

BLOCK = 64  # rows that are reduced to one
FEW_ROWS = 16_384  # fewer are reduced without blocks, which is as fast
KEPT_AVERAGES = 3  # of one column, with different weights


class Extremes(NamedTuple):
    """The least and the greatest finite value of some parts of a curve, NaN where there is none."""

    low: Values
    high: Values
    bad: Flags  # whether a part holds a value that is not finite


Item = TypeVar("Item", bound=np.generic)


class _Growing(Generic[Item]):
    """An array that grows at its end."""

    def __init__(self, kind: type[Item]) -> None:
        self._room: NDArray[Item] = np.zeros(BLOCK, dtype=kind)
        self.length = 0

    def add(self, items: NDArray[Item]) -> None:
        end = self.length + len(items)
        if end > len(self._room):
            self._room = np.resize(self._room, max(end, 2 * len(self._room)))
        self._room[self.length : end] = items
        self.length = end

    @property
    def items(self) -> NDArray[Item]:
        return self._room[: self.length]


class Reduction:
    """Extremes and running averages of one column."""

    def __init__(self) -> None:
        self._history: object = None
        self.steps: Steps = np.zeros(0, dtype=np.int64)
        self.values: Values = np.zeros(0)
        self._forget()

    def _forget(self) -> None:
        self._low, self._high = _Growing(np.float64), _Growing(np.float64)
        self._bad = _Growing(np.bool_)
        self._averages: dict[float, _Averages] = {}

    def read(self, column: Column) -> None:
        """Take in the rows that were added since the last time."""
        self.steps, self.values, history = column.rows()
        if history is not self._history:
            self._forget()
            self._history = history
        done, blocks = self._low.length, len(self.values) // BLOCK
        if done == blocks or len(self.values) < FEW_ROWS:
            return
        rows = self.values[done * BLOCK : blocks * BLOCK].reshape(-1, BLOCK)
        finite = np.isfinite(rows)
        sound: Flags = np.logical_and.reduce(finite, axis=1)
        if not sound.all():
            rows = np.where(finite, rows, np.nan)
        self._low.add(np.fmin.reduce(rows, axis=1))
        self._high.add(np.fmax.reduce(rows, axis=1))
        self._bad.add(~sound)

    def extremes(self, edges: Steps) -> Extremes:
        """Reduce the rows between successive edges.

        Args:
            edges: Row numbers that do not fall; rows [edges[i], edges[i + 1]) are part i.
        """
        begins, ends = edges[:-1], edges[1:]
        low, high = np.full(len(begins), np.nan), np.full(len(begins), np.nan)
        bad = np.zeros(len(begins), dtype=np.bool_)
        filled = np.flatnonzero(begins < ends)
        if not filled.size:
            return Extremes(low, high, bad)
        begins, ends = begins[filled], ends[filled]
        if edges[-1] - edges[0] < FEW_ROWS or self._low.length == 0:
            rows = self.values[edges[0] : edges[-1]]
            finite = np.isfinite(rows)
            rows = rows if finite.all() else np.where(finite, rows, np.nan)
            starts = begins - edges[0]  # reduceat reduces up to the next start
            low[filled], high[filled] = (
                np.fmin.reduceat(rows, starts), np.fmax.reduceat(rows, starts)
            )  # fmt: skip
            bad[filled] = np.logical_or.reduceat(~finite, starts)
            return Extremes(low, high, bad)
        low[filled], high[filled], bad[filled] = self._by_blocks(begins, ends)
        return Extremes(low, high, bad)

    def _by_blocks(self, begins: Steps, ends: Steps) -> Extremes:
        """Reduce whole blocks by their extremes, and the ragged rows at both ends directly."""
        first = -(-begins // BLOCK)
        after = np.minimum(ends // BLOCK, self._low.length)
        whole = first < after
        head_ends = np.where(whole, first * BLOCK, ends)
        tail_begins = np.where(whole, after * BLOCK, ends)
        parts = [self._gathered(begins, head_ends), self._gathered(tail_begins, ends)]
        middle = Extremes(
            np.full(len(begins), np.nan),
            np.full(len(begins), np.nan),
            np.zeros(len(begins), dtype=np.bool_),
        )
        if whole.any():
            borders = np.stack([first[whole], after[whole]], axis=1).ravel()
            # every second part lies between two columns; the extra block ends the last one
            lows, highs, bads = (
                np.append(one.items, one.items[-1]) for one in (self._low, self._high, self._bad)
            )
            middle.low[whole] = np.fmin.reduceat(lows, borders)[::2]
            middle.high[whole] = np.fmax.reduceat(highs, borders)[::2]
            middle.bad[whole] = np.logical_or.reduceat(bads, borders)[::2]
        parts.append(middle)
        return Extremes(
            np.fmin.reduce([part.low for part in parts]),
            np.fmax.reduce([part.high for part in parts]),
            np.logical_or.reduce([part.bad for part in parts]),
        )

    def _gathered(self, begins: Steps, ends: Steps) -> Extremes:
        """Reduce a few rows of each part, as a matrix of one row each."""
        width = int((ends - begins).max(initial=0))
        if not width:
            nothing = np.full(len(begins), np.nan)
            return Extremes(nothing, nothing, np.zeros(len(begins), dtype=np.bool_))
        rows = begins[:, None] + np.arange(width)
        within = rows < ends[:, None]
        values = self.values[np.minimum(rows, len(self.values) - 1)]
        finite = np.isfinite(values) & within
        values = np.where(finite, values, np.nan)
        return Extremes(
            np.fmin.reduce(values, axis=1),
            np.fmax.reduce(values, axis=1),
            (within & ~finite).any(axis=1),
        )

    def averages(self, rows: Steps, weight: float) -> Values:
        """Return the debiased running average at some rows; NaN before the first finite value.

        It is TensorBoard's: m ← weight · m + (1 - weight) · value over the finite values so far,
        divided by the sum of weights.
        """
        kept = self._averages.pop(weight, None) or _Averages(weight)
        self._averages[weight] = kept  # the latest used one last
        while len(self._averages) > KEPT_AVERAGES:
            del self._averages[next(iter(self._averages))]
        return kept.at(self.values, rows)


class _Averages:
    """The state of a running average at the beginning of each block."""

    def __init__(self, weight: float) -> None:
        self._weight = weight
        self._means, self._counts = _Growing(np.float64), _Growing(np.int64)
        self._means.add(np.zeros(1))
        self._counts.add(np.zeros(1, dtype=np.int64))
        age = np.subtract.outer(np.arange(BLOCK), np.arange(BLOCK))  # [j, i]: rows from i to j
        powers = np.power(weight, np.maximum(age, 0))
        self._shares = np.where(age >= 0, (1.0 - weight) * powers, 0.0)

    def at(self, values: Values, rows: Steps) -> Values:
        self._extend(values)
        if not len(rows):
            return np.zeros(0)
        blocks = rows // BLOCK
        places = blocks[:, None] * BLOCK + np.arange(BLOCK)
        seen = values[np.minimum(places, len(values) - 1)]
        finite, within = np.isfinite(seen), places <= rows[:, None]
        if finite.all():
            counts = rows - blocks * BLOCK + 1
            added = np.einsum("ij,ij->i", seen, self._shares[counts - 1])
        else:
            added, counts = self._sums(seen, finite & within)
        before = self._counts.items[blocks]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            means = self._means.items[blocks] * np.power(self._weight, counts) + added
            shares = 1.0 - np.power(self._weight, before + counts)
            averages: Values = np.where(before + counts > 0, means / shares, np.nan)
        limit = np.finfo(np.float64).max  # what rounding adds to the largest float is infinite
        return np.clip(averages, -limit, limit)

    def _extend(self, values: Values) -> None:
        done, blocks = self._means.length - 1, len(values) // BLOCK
        if done == blocks:
            return
        rows = values[done * BLOCK : blocks * BLOCK].reshape(-1, BLOCK)
        added, counts = self._sums(rows, np.isfinite(rows))
        mean, means = float(self._means.items[-1]), []
        for share, more in zip(
            np.power(self._weight, counts).tolist(), added.tolist(), strict=True
        ):
            mean = share * mean + more
            means.append(mean)
        self._means.add(np.array(means))
        self._counts.add(self._counts.items[-1] + np.cumsum(counts))

    def _sums(self, rows: Values, counted: Flags) -> tuple[Values, NDArray[np.int64]]:
        """Return each row's weighted sum of the counted values, and how many there are."""
        weight = self._weight
        if counted.all():
            ages = np.arange(rows.shape[1] - 1, -1, -1)
            sums: Values = rows @ ((1.0 - weight) * np.power(weight, ages))
            return sums, np.full(len(rows), rows.shape[1], dtype=np.int64)
        so_far = np.cumsum(counted, axis=1, dtype=np.int64)
        counts = so_far[:, -1]
        shares = (1.0 - weight) * np.power(weight, counts[:, None] - so_far)
        return (np.where(counted, rows, 0.0) * shares * counted).sum(axis=1), counts


_reductions: WeakKeyDictionary[Column, Reduction] = WeakKeyDictionary()
_reading = threading.local()


@contextmanager
def one_reading() -> Iterator[None]:
    """Have `reduction_of` read each column once.

    The engine adds rows in its own thread meanwhile, and removes them when a run goes back: row
    numbers that were found in one reading may not fit the next one.
    """
    if getattr(_reading, "columns", None) is not None:  # within another one
        yield
        return
    _reading.columns = set()
    try:
        yield
    finally:
        _reading.columns = None


def reduction_of(column: Column) -> Reduction:
    """Return what is known of a column, up to date with its rows."""
    reduction = _reductions.get(column)
    if reduction is None:
        reduction = _reductions[column] = Reduction()
    columns = getattr(_reading, "columns", None)
    if columns is None:
        reduction.read(column)
    elif column not in columns:
        columns.add(column)
        reduction.read(column)
    return reduction
