"""The chart of several runs: a line for each, with a letter at its end."""

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
from tui.text.letters import letter_of

# Columns of one colour where curves share cells. Discs are four columns apart: with dashes of two
# or four columns all of them would have the same colour.
DASH = 3


@dataclass(frozen=True, slots=True)
class Curve:
    """The curve of a run.

    Args:
        place: Determines letter and colour, whatever other runs are shown.
        column: Its steps may be any whole numbers along the horizontal axis.
        smooth: Draw the running average, as for dense curves; else the values, with discs.
    """

    name: str
    place: int
    column: Column
    smooth: bool

    @property
    def letter(self) -> str:
        return letter_of(self.place)

    @property
    def style(self) -> int:
        return FIRST_RUN + self.place % len(RUNS)


@dataclass(frozen=True, slots=True)
class Overlay(Picture):
    """What to draw: curves that share cells alternate there."""

    curves: Sequence[Curve]
    first: int
    last: int
    ticks: MakeTicks = step_ticks
    log_y: bool = False
    marks: Sequence[Mark] = ()

    def extent(self, columns: int) -> tuple[float, float]:
        """Return the range of what is drawn.

        For dense curves that is one average per column: their values, and the steep fall within the
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
        ends.sort(key=lambda end: -end[0].y[-1])  # the upper one gets the place next to its end
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
    """Write the letter to the right of the line's end, or above or below other letters there."""
    columns, rows = canvas.size
    x, end = min(int(line.x[-1]) + 1, columns - 1), rows - 1 - int(line.y[-1])
    for away in range(rows):
        for y in (end + away, end - away):
            if 0 <= y < rows and not canvas.characters[y, x].isalpha():
                canvas.write(x, y, curve.letter[-1], curve.style)
                return


def _share_cells(
    canvas: ChartFrame,
    curves: Sequence[tuple[Flags, int]],
    drawn: Callable[[Characters], Flags],
) -> None:
    """Alternate the colours of cells that several curves share; a cell has only one colour.

    Otherwise the curve drawn last has all of them, and the others seem to end there.

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
    """Return which cells are part of a line."""
    within: Flags = (characters >= FIRST_BRAILLE) & (characters <= LAST_BRAILLE)
    return within


def _is_disc(characters: Characters) -> Flags:
    discs: Flags = characters == DISC
    return discs
