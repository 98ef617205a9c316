"""Maps steps and values to the cells of a chart, and draws lines into their dots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from engine.metrics import Flags, Steps, Values
from tui.charts.axes import Scale, Ticks
from tui.charts.raster import DOTS_ACROSS, ChartFrame, Masks, braille_masks
from tui.charts.reduction import Reduction
from tui.charts.window import Window

# Below this many cells the axes are left out, to give their room to the curve.
SMALLEST_CANVAS = (8, 2)

# Below this many rows of canvas there is no horizontal axis, which takes two.
FEWEST_ROWS = 4

# Evaluations are drawn as discs this many columns apart, so that the line between them shows.
DISC_SPACING = 4


class Line(NamedTuple):
    """Straight pieces of a line, in canvas cells counted from the lower left corner."""

    x0: Values
    y0: Values
    x1: Values  # not to the left of x0
    y1: Values

    def masks(self, layout: Layout) -> Masks:
        """Return the dots of each cell that it runs through."""
        across = layout.columns * DOTS_ACROSS
        low, high = np.full(across, np.inf), np.full(across, -np.inf)
        first = np.clip((self.x0 * DOTS_ACROSS).astype(np.int64), 0, across - 1)
        last = np.clip((self.x1 * DOTS_ACROSS).astype(np.int64), first, across - 1)
        counts = last - first + 1
        piece = np.repeat(np.arange(len(first)), counts)
        dots = np.arange(len(piece)) - np.repeat(np.cumsum(counts) - counts, counts) + first[piece]
        x0, width = self.x0[piece], (self.x1 - self.x0)[piece]
        for border in (dots, dots + 1):  # where it enters and leaves each dot column
            share = (border / DOTS_ACROSS - x0) / np.where(width > 0, width, 1.0)
            share = np.where(width > 0, np.clip(share, 0.0, 1.0), border > dots)
            y = self.y0[piece] * (1.0 - share) + self.y1[piece] * share
            np.minimum.at(low, dots, y)
            np.maximum.at(high, dots, y)
        there, rows = low <= high, layout.rows
        low, high = np.where(there, low, np.nan), np.where(there, high, np.nan)
        return braille_masks(low / rows, high / rows, rows, layout.columns)


@dataclass(frozen=True, slots=True)
class Layout:
    """The canvas, with an axis and its labels to the left of it and below."""

    width: int
    height: int
    left: int
    rows: int

    @classmethod
    def within(cls, width: int, height: int, y_ticks: Ticks, least: int = 0) -> Layout:
        """Leave room for the axes, unless the canvas would get too small.

        Args:
            width: In cells.
            height: In cells.
            y_ticks: Their labels stand to the left of the canvas.
            least: Width of that room.
        """
        left = max(max((len(label) for _, label in y_ticks), default=0) + 1, least)
        columns, rows = SMALLEST_CANVAS
        if width - left < columns or height < rows:
            return cls(width, height, 0, height)
        return cls(width, height, left, height - 2 if height - 2 >= FEWEST_ROWS else height)

    @property
    def columns(self) -> int:
        return self.width - self.left

    @property
    def has_x_axis(self) -> bool:
        return self.rows < self.height

    def canvas_of(self, frame: ChartFrame) -> ChartFrame:
        return frame.part(slice(0, self.rows), slice(self.left, self.left + self.columns))


@dataclass(frozen=True, slots=True)
class Field:
    """A canvas over a window of steps, ends included, and a range of values."""

    window: Window
    scale: Scale
    layout: Layout

    def column_of(self, step: float) -> int:
        """Return the cell column of a step within the window."""
        columns = self.layout.columns
        borders = self.window.borders(columns)
        found = int(np.searchsorted(borders, round(step), side="right")) - 1
        return min(max(found, 0), columns - 1)

    def line(self, points: Points, shown: Values) -> Line:
        """Return the part of a curve that is within the canvas, cut off at its edges.

        Args:
            points: Those to connect.
            shown: Their values to draw.
        """
        x, y = points.x, self.scale.heights(shown) * self.layout.rows
        joined = np.flatnonzero(~points.begins)
        alone = np.flatnonzero(points.begins & np.append(points.begins[1:], True))
        before = np.concatenate((joined - 1, alone))
        after = np.concatenate((joined, alone))
        line = Line(x[before], y[before], x[after], y[after])
        return clipped(line, self.layout.columns, self.layout.rows)

    def discs(self, points: Points, shown: Values, apart: int) -> tuple[Steps, Steps]:
        """Return the cells (rows, columns) of some of a curve's points, as far as it is shown."""
        heights = self.scale.heights(shown)
        there = points.within & (heights >= 0) & (heights <= 1)
        columns, rows = points.x[there].astype(np.int64), self.layout.rows
        cells = np.minimum(((1.0 - heights[there]) * rows).astype(np.int64), rows - 1)
        chosen = spread(columns, apart)
        return cells[chosen], columns[chosen]


class Points(NamedTuple):
    """The rows of a curve to draw."""

    rows: Steps
    begins: Flags  # which of them begin a new piece of the line
    x: Values  # where they are, in cell columns
    within: Flags  # of the window; one before it and one after it lead to its edges


def points_of(window: Window, reduction: Reduction, edges: Steps, columns: int) -> Points:
    """Choose what is drawn of a curve: at most one row per cell column.

    The rows next to the window are among them: they lead to its edges.

    Args:
        window: The steps.
        reduction: The curve.
        edges: Row numbers that divide the window into dot columns.
        columns: Cell columns.
    """
    values = reduction.values
    rows, begins, enters, leaves = thin(values, edges[::DOTS_ACROSS])
    dots = np.searchsorted(edges, rows, side="right") - 1
    x = (np.minimum(dots, len(edges) - 2) + 0.5) / DOTS_ACROSS  # the middle of a dot
    before, after = int(edges[0]) - 1, int(edges[-1])
    first = [before] if enters and before >= 0 and np.isfinite(values[before]) else []
    last = [after] if leaves and after < len(values) and np.isfinite(values[after]) else []
    if first or last:
        places = window.shares(reduction.steps[first + last]) * columns
        x = np.concatenate((np.minimum(places[: len(first)], 0.0), x, places[len(first) :]))
        joined = np.concatenate((begins, [False] * len(last))).astype(np.bool_)
        if joined.size:
            joined[0] = not first
        begins = np.concatenate(([True] * len(first), joined)).astype(np.bool_)
        rows = np.concatenate((first, rows, last)).astype(np.int64)
    within = (rows >= edges[0]) & (rows < edges[-1])
    return Points(rows, begins, x, within)


class Thinned(NamedTuple):
    rows: Steps
    begins: Flags
    enters: bool  # whether the first row is joined to what precedes the window
    leaves: bool  # whether the last one is joined to what follows


def thin(values: Values, cells: Steps) -> Thinned:
    """Choose the last finite row of every cell column.

    A column that holds rows but no finite one breaks the line; an empty column does not, since
    evaluations lie far apart.

    Args:
        values: The values as measured; smoothed ones would hide the gaps.
        cells: Row numbers that divide the window into cell columns.
    """
    filled = np.flatnonzero(cells[:-1] < cells[1:])
    rows = cells[filled + 1] - 1
    for at in np.flatnonzero(~np.isfinite(values[rows])):
        begin, end = cells[filled[at]], cells[filled[at] + 1]
        finite = np.flatnonzero(np.isfinite(values[begin:end]))
        rows[at] = begin + finite[-1] if finite.size else -1
    drawn = rows >= 0
    if not drawn.size:
        return Thinned(rows, drawn, True, True)
    # A piece begins at the first point, and after every column that had to be left out.
    begins = np.concatenate(([True], ~drawn[:-1]))
    return Thinned(rows[drawn], begins[drawn], bool(drawn[0]), bool(drawn[-1]))


def clipped(line: Line, columns: int, rows: int) -> Line:
    """Cut a line off at the edges of the canvas (Liang and Barsky)."""
    x0, y0, x1, y1 = line
    enters, leaves = np.zeros(len(x0)), np.ones(len(x0))
    for step, room in ((x0 - x1, x0), (x1 - x0, columns - x0), (y0 - y1, y0), (y1 - y0, rows - y0)):
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            at = room / step
        enters = np.where(step < 0, np.maximum(enters, at), enters)
        leaves = np.where(step > 0, np.minimum(leaves, at), leaves)
        leaves = np.where((step == 0) & (room < 0), -1.0, leaves)
    seen = enters <= leaves
    x0, y0, x1, y1, enters, leaves = (
        part[seen] for part in (x0, y0, x1, y1, enters, leaves)
    )  # fmt: skip
    across, up = x1 - x0, y1 - y0
    return Line(x0 + across * enters, y0 + up * enters, x0 + across * leaves, y0 + up * leaves)


def spread(columns: Steps, apart: int) -> Flags:
    """Choose, from rising `columns`, those at least `apart` from each other, with the last one."""
    chosen = np.zeros(len(columns), dtype=np.bool_)
    free_up_to: int | None = None
    for at in range(len(columns) - 1, -1, -1):
        if free_up_to is None or columns[at] <= free_up_to:
            chosen[at] = True
            free_up_to = int(columns[at]) - apart
    return chosen
