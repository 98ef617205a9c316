"""The chart of several runs: a line each, with a letter at its end, over steps, tokens or time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from engine.metrics import Column, Flags, Mark
from tui.charts.axes import Ticks, step_ticks
from tui.charts.canvas import Field, Line, thin
from tui.charts.picture import MakeTicks, Picture, extent, paint_gaps, paint_marks
from tui.charts.plotext_backend import DISC, draw_lines
from tui.charts.raster import FIRST_BRAILLE, FIRST_RUN, LAST_BRAILLE, RUNS, Characters, ChartFrame

# Columns that a shared stretch is of one colour. Discs lie four columns apart: with dashes of two
# or four they would all take the same turn.
DASH = 3


@dataclass(frozen=True, slots=True)
class Curve:
    """The curve of a run.

    Args:
        name: Of the run.
        place: Which run it is; it keeps its letter and its colour whatever else is shown.
        column: What to draw; its steps may be any whole numbers along the horizontal axis.
        smooth: Whether its running average is drawn, as of dense curves; else its values, with
            discs.
    """

    name: str
    place: int
    column: Column
    smooth: bool

    @property
    def letter(self) -> str:
        """What marks it at its end and in the legend."""
        return RUNS[self.place][-1].upper()

    @property
    def style(self) -> int:
        """The index of its style."""
        return FIRST_RUN + self.place


@dataclass(frozen=True, slots=True)
class Overlay(Picture):
    """What to draw.

    Args:
        curves: Where they run through the same cells, each shows in turn.
        first: Left edge.
        last: Right edge, after `first`.
        ticks: Labels of the horizontal axis.
        log_y: Logarithmic losses, where all of them are positive.
        marks: Places where one run was forked from another.
    """

    curves: Sequence[Curve]
    first: int
    last: int
    ticks: MakeTicks = step_ticks
    log_y: bool = False
    marks: Sequence[Mark] = ()

    def extent(self, columns: int) -> tuple[float, float]:
        """Return the range of what is drawn.

        Of dense curves that is one average a column: their values, and the steep fall within the
        first column of a long run, would leave few rows to the rest.
        """
        low = high = np.nan
        for curve in self.curves:
            lowest, highest = _extent(curve, self.first, self.last, columns)
            low, high = np.fmin(low, lowest), np.fmax(high, highest)
        return float(low), float(high)

    def paint(self, field: Field, x_ticks: Ticks, y_ticks: Ticks) -> ChartFrame:
        """Draw the lines, the first one on top, and a letter at the end of each."""
        layout = field.layout
        curves = list(reversed(self.curves))
        lines = [(_line(curve, field), curve.style) for curve in curves]
        discs = [
            (line.discs(), style)
            for curve, (line, style) in zip(curves, lines, strict=True)
            if not curve.smooth
        ]
        frame = draw_lines(layout, lines, discs, x_ticks, y_ticks)
        canvas = layout.canvas_of(frame)
        _share_cells(canvas, [(line.cells(layout), style) for line, style in lines], is_braille)
        _share_cells(canvas, [(line.cells(layout), style) for line, style in discs], _is_disc)
        paint_gaps(canvas, field, [curve.column for curve in curves])
        paint_marks(frame, field, self.marks)
        ends = [(line, one) for one, (line, _) in zip(curves, lines, strict=True) if len(line.x)]
        ends.sort(key=lambda end: -end[0].y[-1])  # where there is no room, the lower one gives way
        for line, curve in ends:
            _paint_letter(canvas, line, curve)
        return frame


def _extent(curve: Curve, first: int, last: int, columns: int) -> tuple[float, float]:
    if not curve.smooth:
        return extent((curve.column,), first, last)
    steps, values, smoothed = curve.column.snapshot()
    drawn = smoothed[thin(steps, values, first, last, columns).rows]
    if not drawn.size:
        return float("nan"), float("nan")
    return float(drawn.min()), float(drawn.max())


def _line(curve: Curve, field: Field) -> Line:
    steps, values, smoothed = curve.column.snapshot()
    return field.line(steps, values, smoothed if curve.smooth else values)


def _paint_letter(canvas: ChartFrame, line: Line, curve: Curve) -> None:
    """Write the letter right of the line's end, or as near to it as others leave room."""
    columns, rows = canvas.size
    x, end = min(int(line.x[-1]) + 1, columns - 1), rows - 1 - int(line.y[-1])
    for away in range(rows):
        for y in (end + away, end - away):
            if 0 <= y < rows and not canvas.characters[y, x].isalpha():
                canvas.write(x, y, curve.letter, curve.style)
                return


def _share_cells(
    canvas: ChartFrame,
    curves: Sequence[tuple[Flags, int]],
    drawn: Callable[[Characters], Flags],
) -> None:
    """Colour the cells of several curves by turns; a terminal has one colour for a cell.

    Without this the curve drawn last takes all of them, and the others seem to end there.

    Args:
        canvas: With the curves drawn on it.
        curves: The cells (rows, columns) that each runs through, and its style.
        drawn: Which characters are the curves' own.
    """
    if len(curves) < 2:
        return
    through = np.stack([cells for cells, _ in curves])  # (curves, rows, columns)
    count = through.sum(axis=0)
    shared = (count > 1) & drawn(canvas.characters)
    turn = np.arange(canvas.size[0]) // DASH % np.maximum(count, 1)
    rank = np.cumsum(through, axis=0) - 1
    for cells, place, (_, style) in zip(through, rank, curves, strict=True):
        canvas.styles[shared & cells & (place == turn)] = style


def is_braille(characters: Characters) -> Flags:
    """Which cells are part of a line."""
    within: Flags = (characters >= FIRST_BRAILLE) & (characters <= LAST_BRAILLE)
    return within


def _is_disc(characters: Characters) -> Flags:
    """Which cells hold a disc."""
    discs: Flags = characters == DISC
    return discs
