"""The chart of one run: lines by plotext, above the raw values as braille dots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.metrics import Column, Mark
from tui.charts import raster
from tui.charts.axes import Ticks, step_ticks
from tui.charts.canvas import Field, Line
from tui.charts.picture import MakeTicks, Picture, extent, paint_gaps, paint_marks
from tui.charts.plotext_backend import draw_lines
from tui.charts.raster import ChartFrame

# How far ghosts may widen the vertical axis either way, as a share of the range of the curves: a
# ghost that diverged must not flatten them.
GHOST_ROOM = 0.5


@dataclass(frozen=True, slots=True)
class Chart(Picture):
    """What to draw.

    Args:
        train: The dense curve, raw values and running average.
        val: The sparse curve, shown as measured.
        smooth: Whether the training curve is smoothed.
        ghosts: Smoothed curves, faint beneath the training curve: abandoned steps, and the parent
            of a fork after the fork.
        ceiling: Upper limit of the vertical axis; higher values are drawn at its upper edge.
    """

    train: Column
    val: Column
    first: int
    last: int
    marks: Sequence[Mark] = ()
    log_y: bool = False
    smooth: bool = True
    ghosts: Sequence[Column] = ()
    ticks: MakeTicks = step_ticks
    ceiling: float = math.inf

    def extent(self, columns: int) -> tuple[float, float]:
        """Return the range of the raw values and the average, widened a little for ghosts."""
        low, high = extent((self.train, self.val), self.first, self.last)
        if self.smooth:
            start = average_before(self.train, self.first)
            low, high = float(np.fmin(low, start)), float(np.fmax(high, start))
        high = min(high, self.ceiling) if low < self.ceiling else high
        return _widened(low, high, *extent(self.ghosts, self.first, self.last))

    def paint(self, field: Field, x_ticks: Ticks, y_ticks: Ticks) -> ChartFrame:
        layout = field.layout
        val = _val_line(self, field)
        ghosts = [(_ghost_line(ghost, field), raster.GHOST) for ghost in self.ghosts]
        lines = [*ghosts, (_train_line(self, field), raster.TRAIN), (val, raster.VAL)]
        frame = draw_lines(layout, lines, [(val.discs(), raster.VAL)], x_ticks, y_ticks)
        canvas = layout.canvas_of(frame)
        paint_gaps(canvas, field, (self.train, self.val))
        paint_marks(frame, field, self.marks)
        style = raster.RAW if self.smooth else raster.TRAIN
        canvas.lay_braille_beneath(field.raw_masks(self.train), style)
        return frame


def average_before(column: Column, first: int) -> float:
    """Return the first average in a window, NaN where there is none.

    An average lies between the values it has seen: those in the window, and all earlier ones,
    which the first average stands for.
    """
    steps, _, smoothed = column.snapshot()
    row = int(np.searchsorted(steps, first))
    return float(smoothed[row]) if row < len(steps) else float("nan")


def _widened(low: float, high: float, ghost_low: float, ghost_high: float) -> tuple[float, float]:
    """Widen a range for ghosts, within limits; each pair may be NaN."""
    if math.isnan(ghost_low):
        return low, high
    if not low < high:  # no curve, or a flat one: there is no range to limit them by
        return float(np.fmin(low, ghost_low)), float(np.fmax(high, ghost_high))
    room = (high - low) * GHOST_ROOM
    lowest = max(low - room, low / 2) if low > 0 else low - room  # keeps a log axis possible
    return min(low, max(ghost_low, lowest)), max(high, min(ghost_high, high + room))


def _ghost_line(ghost: Column, field: Field) -> Line:
    steps, values, smoothed = ghost.snapshot()
    begin, end = np.searchsorted(steps, [field.first, field.last + 1])
    shown = smoothed[begin:end]
    beyond = ~field.scale.holds(shown)
    return field.line(steps[begin:end], np.where(beyond, np.nan, values[begin:end]), shown)


def _train_line(chart: Chart, field: Field) -> Line:
    steps, values, smoothed = chart.train.snapshot()
    if not chart.smooth:
        # One raw value per column would be noise, not the curve: unless they are sparse, draw
        # only the raster, which has all of them.
        first, last = np.searchsorted(steps, [chart.first, chart.last + 1])
        if last - first > field.layout.columns:
            steps = steps[:0]
    return field.line(steps, values, smoothed if chart.smooth else values)


def _val_line(chart: Chart, field: Field) -> Line:
    steps, values, _ = chart.val.snapshot()
    return field.line(steps, values, values)
