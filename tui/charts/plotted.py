"""A chart as lines of text, drawn by plotext: for pipes, logs and terminals without the app."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tui.charts.canvas import Field, Line, clipped, spread
from tui.charts.chart import Chart, Drawn, measured
from tui.charts.raster import DOTS_ACROSS, FIRST_RUN, SOLID, STROKES

# Colours of the terminal's own palette, which are legible on its background, light or dark.
COLOURS = (6, 3, 5, 2, 1, 4)

# Columns between the letters along a curve, from which one sees which it is without colours.
LETTERS_APART = 16


class Plotted(NamedTuple):
    """A chart as lines of text: braille and box drawing."""

    lines: list[str]
    log_refused: bool  # a logarithmic axis was wanted, and not all values are positive


def plotted(chart: Chart, width: int, height: int, *, coloured: bool) -> Plotted:
    """Draw a chart as `height` lines of `width` characters.

    Args:
        chart: What to draw; its marks and references are left out.
        width: In characters.
        height: In lines.
        coloured: Whether there are escape sequences of colours in it.
    """
    import plotext

    field, y_ticks, drawn, log_refused = measured(chart, width, height)
    layout = field.layout
    plotext.terminal.limit(False, False)  # the size is ours, not the terminal's
    figure = plotext.figure
    figure.clear()  # one figure serves the whole process
    figure.plot_size(width, height)
    figure.theme("colorless")
    figure.axes(False)
    left = layout.left - 1  # all labels are as wide, so that the canvas is where ours is
    labels = [(place, label.rjust(left)) for place, label in y_ticks] if left > 0 else []
    _set_ruler(figure, "y", "left", layout.rows, labels)
    ticks = chart.window.ticks(max(2, layout.columns // 14)) if layout.has_x_axis else []
    _set_ruler(figure, "x", "lower", layout.columns, ticks)
    for one in reversed(drawn):  # the first one on top
        colour = plotext.pixel(_colour(one) if coloured else None)
        line = _interrupted(_line(one, field, chart.smoothing), one.series.stroke)
        _add(figure, line, plotext.marker("braille", colour), True)
    for one in drawn if len(drawn) > 1 else []:
        colour = plotext.pixel(_colour(one) if coloured else None)
        _add(figure, _letters(one, field), plotext.marker(one.series.letter, colour), False)
    lines = figure.build().string(colorless=not coloured).splitlines()
    return Plotted(lines, log_refused)


def colour_of(style: int) -> int:
    """Return the colour of a curve, in the terminal's palette."""
    return COLOURS[(style - FIRST_RUN) % len(COLOURS)]


def _colour(one: Drawn) -> int:
    return colour_of(one.series.style)


def _set_ruler(
    figure: Any, axis: str, side: str, extent: int, ticks: list[tuple[float, str]]
) -> None:
    figure.axes(bool(ticks), axis=axis, side=side)
    ruler = figure.ruler(axis, side)
    ruler.lim(0, extent)
    ruler.alignment(lim="edge")  # 0 and the extent are the borders of the canvas
    ruler.ticks([place * extent for place, _ in ticks], [label for _, label in ticks])


def _line(one: Drawn, field: Field, smoothing: float) -> Line:
    """Return what is drawn of a curve: a line, or the extremes of its values as strokes."""
    layout = field.layout
    if one.series.kind != "dense" or smoothing or one.raw is None:
        return field.line(one.points, one.values)
    low, high = (field.scale.heights(part) * layout.rows for part in one.raw[:2])
    there = ~np.isnan(low)
    x = (np.flatnonzero(there) + 0.5) / DOTS_ACROSS
    strokes = Line(x, low[there], x, high[there])
    joined = Line(x[:-1], high[there][:-1], x[1:], low[there][1:])
    whole = Line(*(np.concatenate(parts) for parts in zip(strokes, joined, strict=True)))
    return clipped(whole, layout.columns, layout.rows)


def _interrupted(line: Line, stroke: int) -> Line:
    """Return the pieces of a line that its stroke draws: cells along it, others left out."""
    if stroke == SOLID:
        return line
    first, last = np.floor(line.x0).astype(np.int64), np.floor(line.x1).astype(np.int64)
    counts = last - first + 1
    piece = np.repeat(np.arange(len(counts)), counts)
    cell = first[piece] + np.arange(len(piece)) - np.repeat(np.cumsum(counts) - counts, counts)
    x0, y0, x1, y1 = (part[piece] for part in line)
    # not to the border of a cell, which plotext counts to the next one
    begin, end = np.maximum(x0, cell), np.minimum(x1, cell + 1 - 0.5 / DOTS_ACROSS)
    end = np.maximum(begin, end)
    slope = (y1 - y0) / np.where(x1 > x0, x1 - x0, 1)
    there = cell % len(STROKES[stroke].pattern)
    drawn = np.array([sign != " " for sign in STROKES[stroke].pattern])[there]
    lower = np.where(x1 > x0, y0 + slope * (begin - x0), y0)
    upper = np.where(x1 > x0, y0 + slope * (end - x0), y1)
    return Line(begin[drawn], lower[drawn], end[drawn], upper[drawn])


def _letters(one: Drawn, field: Field) -> Line:
    """Return the places along a curve at which its letter stands."""
    layout = field.layout
    heights = field.scale.heights(one.values)
    there = one.points.within & (heights >= 0) & (heights <= 1)
    x, y = one.points.x[there], heights[there] * layout.rows
    chosen = spread(x.astype(np.int64), LETTERS_APART)
    return Line(x[chosen], y[chosen], x[chosen], y[chosen])


def _add(figure: Any, line: Line, marker: Any, joined: bool) -> None:
    """Have plotext draw the pieces of a line, or their first ends alone.

    A single value that is not finite makes plotext 6.1 abort the process.
    """
    finite = np.logical_and.reduce([np.isfinite(part) for part in line])
    x0, y0, x1, y1 = (part[finite] for part in line)
    if not len(x0):
        return
    x, y = x0, y0
    if joined:
        x, y = np.stack([x0, x1], axis=1).ravel(), np.stack([y0, y1], axis=1).ravel()
    signal = figure.signal(x.tolist(), y.tolist(), marker=marker)
    for second_end in range(1, len(x), 2) if joined else ():
        signal.line(second_end, True)
    figure.draw(signal)
