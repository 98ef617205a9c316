"""Maps steps and values to the cells of a chart.

This is not left to plotext, so that its lines and our raster agree to the dot, and so that plotext
only receives finite numbers of normal size: a single NaN makes plotext 6.1 abort the process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from engine.metrics import Column, Flags, Steps, Values, column_edges
from tui.charts.axes import Scale, Ticks
from tui.charts.raster import DOTS_ACROSS, DOTS_DOWN, ChartFrame, Masks, braille_masks, dot_rows

# Below this many cells the axes are left out, to give their room to the curve.
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
        """Return some of its points, not connected to each other."""
        chosen = spread(self.x.astype(np.int64), DISC_SPACING)
        return Line(self.x[chosen], self.y[chosen], np.ones(int(chosen.sum()), dtype=np.bool_))


@dataclass(frozen=True, slots=True)
class Layout:
    """The canvas, with an axis and its labels to the left of it and below."""

    width: int
    height: int
    left: int
    rows: int

    @classmethod
    def within(cls, width: int, height: int, y_ticks: Ticks) -> Layout:
        """Leave room for the axes, unless the canvas would get too small."""
        left = max((len(label) for _, label in y_ticks), default=0) + 1
        columns, rows = SMALLEST_CANVAS
        if width - left < columns or height - 2 < rows:
            return cls(width, height, 0, height)
        return cls(width, height, left, height - 2)

    @property
    def columns(self) -> int:
        return self.width - self.left

    @property
    def has_axes(self) -> bool:
        return self.left > 0

    def canvas_of(self, frame: ChartFrame) -> ChartFrame:
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
        """Return a curve with at most one point per cell column.

        Args:
            steps: Rising steps of all rows.
            measured: The values as measured: where they are not finite, the line has a gap.
            shown: The values to draw; finite where the measured ones are.
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


class Thinned(NamedTuple):
    """The rows of a curve to draw, and which of them begin a new piece of the line."""

    rows: Steps
    begins: Flags


def thin(steps: Steps, values: Values, first: int, last: int, columns: int) -> Thinned:
    """Choose the last finite row of every cell column.

    A column that holds rows but no finite one breaks the line; an empty column does not, since
    evaluations lie far apart.

    Args:
        steps: Rising steps of all rows.
        values: The values as measured; smoothed ones would hide the gaps.
        first: First step of the window.
        last: Last step of the window, included.
        columns: Cell columns across the window.
    """
    edges = column_edges(steps, first, last, columns)
    filled = np.flatnonzero(edges[:-1] < edges[1:])
    rows = edges[filled + 1] - 1
    for at in np.flatnonzero(~np.isfinite(values[rows])):
        begin, end = edges[filled[at]], edges[filled[at] + 1]
        finite = np.flatnonzero(np.isfinite(values[begin:end]))
        rows[at] = begin + finite[-1] if finite.size else -1
    drawn = rows >= 0
    # A piece begins at the first point, and after every column that had to be left out.
    after_gap = np.concatenate(([True], ~drawn[:-1])) if drawn.size else drawn
    return Thinned(rows[drawn], after_gap[drawn])


def spread(columns: Steps, apart: int) -> Flags:
    """Choose, from rising `columns`, those at least `apart` from each other, with the last one."""
    chosen = np.zeros(len(columns), dtype=np.bool_)
    free_up_to: int | None = None
    for at in range(len(columns) - 1, -1, -1):
        if free_up_to is None or columns[at] <= free_up_to:
            chosen[at] = True
            free_up_to = int(columns[at]) - apart
    return chosen
