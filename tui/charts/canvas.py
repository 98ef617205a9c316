"""The field of a chart: which step and which value lie in which cell.

Values are turned into places here, not by plotext, so that its lines and our raster agree to the
dot, and so that it is only ever handed finite numbers of ordinary size: a single NaN makes plotext
6.1 abort the process.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.metrics import Column, Flags, Steps, Values
from tui.charts.axes import Scale, Ticks
from tui.charts.decimate import spread, thin
from tui.charts.raster import DOTS_ACROSS, DOTS_DOWN, ChartFrame, Masks, braille_masks, dot_rows

# Below this many cells the axes are left out, and what room there is goes to the curve.
SMALLEST_CANVAS = (8, 2)

# Evaluations are drawn as discs this many columns apart, so that the line between them shows.
DISC_SPACING = 4


@dataclass(frozen=True, slots=True)
class Line:
    """A line in canvas cells, counted from the lower left corner."""

    x: Values
    y: Values
    begins: Flags

    def cells(self, layout: Layout) -> Flags:
        """Return the cells (rows, columns), counted from the top left, that it runs through."""
        across = layout.columns * DOTS_ACROSS
        low, high = np.full(across, np.nan), np.full(across, np.nan)
        for piece in np.split(np.arange(len(self.x)), np.flatnonzero(self.begins)):
            if not piece.size:
                continue
            x, y = self.x[piece], self.y[piece]
            dots = np.arange(int(x[0] * DOTS_ACROSS), int(x[-1] * DOTS_ACROSS) + 1)
            ends = np.interp([dots / DOTS_ACROSS, (dots + 1) / DOTS_ACROSS], x, y)
            low[dots], high[dots] = ends.min(axis=0), ends.max(axis=0)
        rows = layout.rows
        return braille_masks(low / rows, high / rows, rows, layout.columns) > 0

    def discs(self) -> Line:
        """Return some of its points, none joined to another."""
        chosen = spread(self.x.astype(np.int64), DISC_SPACING)
        return Line(self.x[chosen], self.y[chosen], np.ones(int(chosen.sum()), dtype=np.bool_))


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things lie: the canvas, left of it the labels and an axis, below an axis and labels."""

    width: int
    height: int
    left: int
    rows: int

    @classmethod
    def within(cls, width: int, height: int, y_ticks: Ticks) -> Layout:
        """Make room for the axes, or leave them out where the canvas would get too small."""
        left = max((len(label) for _, label in y_ticks), default=0) + 1
        columns, rows = SMALLEST_CANVAS
        if width - left < columns or height - 2 < rows:
            return cls(width, height, 0, height)
        return cls(width, height, left, height - 2)

    @property
    def columns(self) -> int:
        """Width of the canvas."""
        return self.width - self.left

    @property
    def has_axes(self) -> bool:
        """Whether axes and labels are drawn."""
        return self.left > 0

    def canvas_of(self, frame: ChartFrame) -> ChartFrame:
        """Return the part of a frame that is the canvas."""
        return frame.part(slice(0, self.rows), slice(self.left, self.left + self.columns))


@dataclass(frozen=True, slots=True)
class Field:
    """A canvas over a window of steps, ends included, and a range of values."""

    first: int
    last: int
    scale: Scale
    layout: Layout

    def column_of(self, step: int) -> int:
        """Return the cell column of a step within the window."""
        columns = self.layout.columns
        return min((step - self.first) * columns // (self.last - self.first), columns - 1)

    def line(self, steps: Steps, measured: Values, shown: Values) -> Line:
        """Lay a curve through the canvas, at most one point a cell column.

        Args:
            steps: Rising steps of all rows.
            measured: The values as measured: where they are not finite, the line has a gap.
            shown: Those to draw; finite where the measured ones are.
        """
        layout = self.layout
        rows, begins = thin(steps, measured, self.first, self.last, layout.columns)
        across, down = layout.columns * DOTS_ACROSS, layout.rows * DOTS_DOWN
        dots = (steps[rows] - self.first) * across // (self.last - self.first)
        # The middle of a dot: on the border of two cells, plotext and we might choose differently.
        x = (np.minimum(dots, across - 1) + 0.5) / DOTS_ACROSS
        y = (down - dot_rows(self.scale.heights(shown[rows]), layout.rows) - 0.5) / DOTS_DOWN
        return Line(x, y, begins)

    def raw_masks(self, column: Column) -> Masks:
        """Draw every value of a curve, as braille dots."""
        dots = self.layout.columns * DOTS_ACROSS
        low, high, _ = column.min_max(self.first, self.last, dots)
        heights = self.scale.heights
        return braille_masks(heights(low), heights(high), self.layout.rows, self.layout.columns)
