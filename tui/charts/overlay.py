"""The chart of several runs: a line each, with a letter at its end, over steps, tokens or time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from engine.metrics import Column, Mark
from tui.charts.axes import Scale, Ticks, step_ticks
from tui.charts.canvas import Field, Layout, Line
from tui.charts.decimate import thin
from tui.charts.loss import extent, paint_gaps, paint_marks
from tui.charts.plotext_backend import draw_lines
from tui.charts.raster import ChartFrame
from tui.charts.sharing import is_braille, is_disc, share_cells


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of an overlay.

    Args:
        column: What to draw; its steps may be any whole numbers along the horizontal axis.
        letter: Written at its end.
        style: The index of its style.
        smooth: Whether its running average is drawn, as of dense curves; else its values, with
            discs.
    """

    column: Column
    letter: str
    style: int
    smooth: bool


@dataclass(frozen=True, slots=True)
class Overlay:
    """What to draw.

    Args:
        curves: Where they run through the same cells, each shows in turn.
        first: Left edge.
        last: Right edge, after `first`.
        ticks: Makes labels for the horizontal axis, of its ends and about how many there may be.
        log_y: Logarithmic losses, where all of them are positive.
        marks: Places where one run was forked off another.
    """

    curves: Sequence[Curve]
    first: int
    last: int
    ticks: Callable[[int, int, int], Ticks] = step_ticks
    log_y: bool = False
    marks: Sequence[Mark] = ()


def draw_overlay(overlay: Overlay, width: int, height: int) -> ChartFrame:
    """Draw an overlay of exactly `width` by `height` cells."""
    if width <= 0 or height <= 0:
        return ChartFrame.blank(max(width, 0), max(height, 0))
    scale = Scale.around(*overlay_extent(overlay, width), log=overlay.log_y)
    y_ticks = scale.ticks(min(max(2, (height - 2) // 3), 10))
    layout = Layout.within(width, height, y_ticks)
    x_ticks = overlay.ticks(overlay.first, overlay.last, max(2, layout.columns // 14))
    field = Field(overlay.first, overlay.last, scale, layout)

    curves = list(reversed(overlay.curves))
    lines = [(_line(curve, field), curve.style) for curve in curves]
    discs = [
        (line.discs(), style)
        for curve, (line, style) in zip(curves, lines, strict=True)
        if not curve.smooth
    ]
    frame = draw_lines(layout, lines, discs, x_ticks, y_ticks)
    canvas = layout.canvas_of(frame)
    share_cells(canvas, [(line.cells(layout), style) for line, style in lines], is_braille)
    share_cells(canvas, [(line.cells(layout), style) for line, style in discs], is_disc)
    paint_gaps(canvas, field, [curve.column for curve in curves])
    paint_marks(frame, field, overlay.marks)
    ends = [(line, curve) for curve, (line, _) in zip(curves, lines, strict=True) if len(line.x)]
    ends.sort(key=lambda end: -end[0].y[-1])  # where there is no room, the lower one gives way
    for line, curve in ends:
        _paint_letter(canvas, line, curve)
    return frame


def overlay_extent(overlay: Overlay, columns: int) -> tuple[float, float]:
    """Return the smallest and the largest value drawn, NaN where there is none.

    Averages are what is drawn of dense curves, one a column, and what counts: their values, and
    the steep fall within the first column of a long run, would leave few rows to the rest.
    """
    low = high = np.nan
    for curve in overlay.curves:
        lowest, highest = _extent(curve, overlay.first, overlay.last, columns)
        low, high = np.fmin(low, lowest), np.fmax(high, highest)
    return float(low), float(high)


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
