"""What a chart shows, as a picture and as a table."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from html import escape

import numpy as np

from engine.metrics import Flags, Values
from tui.charts.canvas import points_of
from tui.charts.chart import Chart, Drawing, Series
from tui.charts.raster import DOTS_ACROSS, STROKES, STYLES
from tui.charts.reduction import one_reading, reduction_of
from tui.terminal.visible import REPLACEMENT, visible_line

WIDTH, HEIGHT, MARGIN = 960, 540, 64
SAMPLE = 48  # length of a stroke in the legend
FONTS = "Helvetica, Arial, DejaVu Sans, sans-serif"  # resvg knows no generic names by itself
POINTS = 480  # of a curve, more than its picture has columns
ROWS = 8192  # whose averages are computed at a time


def csv_lines(chart: Chart) -> Iterator[str]:
    """Return the table of all rows within the window, beginning with its heading."""
    axis, smooth = chart.window.axis, chart.smoothing > 0
    place = "" if axis.unit == "steps" else f",{axis.unit}"
    yield f"series,step{place},value,smoothed\n"
    for series in chart.series:
        reduction = reduction_of(series.column)
        first, last = np.searchsorted(reduction.steps, chart.window.borders(1)).tolist()
        name = '"' + series.name.replace('"', '""') + '"' if series.name else "series"
        for begin in range(first, last, ROWS):
            rows = np.arange(begin, min(begin + ROWS, last))
            values = series.shown(reduction.values[rows])
            averages = series.values_at(rows, chart.smoothing)
            known = smooth and series.kind != "sparse"
            steps = reduction.steps[rows]
            places = axis.of(steps).tolist()
            columns = zip(steps.tolist(), places, values.tolist(), averages.tolist(), strict=True)
            for step, at, value, average in columns:
                more = f",{at:.10g}" if place else ""
                yield (
                    f"{name},{step}{more},{value!r},{average!r}\n"
                    if known
                    else (f"{name},{step}{more},{value!r},\n")
                )


@one_reading()
def svg(chart: Chart, drawing: Drawing, title: str, colour: Callable[[str], str]) -> str:
    """Return a picture of the chart, drawn from its values.

    Args:
        chart: What is shown.
        drawing: Where things are in it.
        title: Written above it.
        colour: Of a style by its name; "background" is that of the picture.
    """
    field = drawing.field
    wide, high = WIDTH - MARGIN - 24, HEIGHT - 2 * MARGIN

    def x_of(share: float) -> str:
        return f"{MARGIN + share * wide:.1f}"

    def y_of(height: float) -> str:
        return f"{MARGIN + (1 - min(max(height, -1.0), 2.0)) * high:.1f}"

    def text(x: str, y: str, words: str, style: str, anchor: str = "middle") -> str:
        return (
            f'<text x="{x}" y="{y}" fill="{colour(style)}" text-anchor="{anchor}">'
            f"{escaped(words)}</text>"
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="{FONTS}" font-size="14">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{colour("background")}"/>',
        f'<clipPath id="canvas"><rect x="{MARGIN}" y="{MARGIN}" width="{wide}" height="{high}"/>'
        "</clipPath>",
        text(str(MARGIN), "28", title, "legend", "start"),
    ]
    for height, label in field.scale.ticks(8):
        parts.append(_rule(x_of(0), y_of(height), x_of(1), y_of(height), colour("axis")))
        parts.append(text(str(MARGIN - 8), y_of(height), label, "tick", "end"))
    for share, label in chart.window.ticks(8):
        parts.append(text(x_of(share), str(HEIGHT - MARGIN + 24), label, "tick"))
    parts.append(text(x_of(0.5), str(HEIGHT - 14), chart.window.axis.unit, "tick"))
    parts.append('<g clip-path="url(#canvas)">')
    for value, _ in chart.references:
        level = y_of(float(field.scale.heights(np.array([value]))[0]))
        parts.append(_rule(x_of(0), level, x_of(1), level, colour("reference"), "2 4"))
    for mark in chart.marks:
        at = x_of(float(chart.window.shares(mark.step)))
        line = _rule(at, y_of(0), at, y_of(1), colour("mark"), "1 5")
        parts.append(line.replace("/>", f"><title>{escaped(mark.label)}</title></line>"))
    for series in reversed(chart.series):
        parts += _curve(chart, drawing, series, colour, x_of, y_of)
    parts.append("</g>")
    x = MARGIN
    for series in chart.series:
        if series.name and len(series.column):
            style, dashes = STYLES[series.style], STROKES[series.stroke].dashes
            ends = str(x), "45", str(x + SAMPLE), "45"
            parts.append(_rule(*ends, colour(style), dashes, 2))
            parts.append(text(str(x + SAMPLE + 6), "50", series.name, style, "start"))
            x += 9 * len(series.name) + SAMPLE + 24
    return "\n".join([*parts, "</svg>\n"])


def png(picture: str) -> bytes:
    """Return an SVG as a PNG.

    Raises:
        ImportError: The library for it, an extra, is not there.
    """
    library = importlib.import_module("resvg_py")
    return bytes(library.svg_to_bytes(svg_string=picture))


def escaped(words: str) -> str:
    """Return words as they may stand in XML, which has no way to write a control character."""
    return escape(visible_line(words).replace("\ufffe", REPLACEMENT).replace("\uffff", REPLACEMENT))


def _rule(x1: str, y1: str, x2: str, y2: str, colour: str, dashes: str = "", thick: int = 1) -> str:
    pen = f'stroke="{colour}"' + (f' stroke-width="{thick}"' if thick > 1 else "")
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" {pen}{_dashed(dashes)}/>'


def _dashed(dashes: str) -> str:
    return f' stroke-dasharray="{dashes}"' if dashes else ""


def _curve(
    chart: Chart,
    drawing: Drawing,
    series: Series,
    colour: Callable[[str], str],
    x_of: Callable[[float], str],
    y_of: Callable[[float], str],
) -> Iterator[str]:
    scale, reduction = drawing.field.scale, reduction_of(series.column)
    edges = chart.window.edges(reduction.steps, POINTS * DOTS_ACROSS)
    points = points_of(chart.window, reduction, edges, POINTS)

    def path(x: Values, heights: Values, begins: Flags) -> str:
        return " ".join(
            f"{'M' if begin else 'L'}{x_of(at)},{y_of(height)}"
            for at, height, begin in zip(x.tolist(), heights.tolist(), begins.tolist(), strict=True)
        )

    shares = points.x / POINTS
    style = colour(STYLES[series.style])
    if series.raw is not None and len(points.rows):
        low, high, _ = reduction.extremes(edges[::DOTS_ACROSS])
        there = np.flatnonzero(~np.isnan(low))
        x = (np.append(there, there[::-1]) + 0.5) / POINTS
        ends = np.append(series.shown(high)[there], series.shown(low)[there[::-1]])
        begins = np.arange(len(x)) == 0
        band = path(x, scale.heights(ends), begins)
        parts = colour(STYLES[series.raw])
        yield f'<path d="{band} Z" fill="{parts}" fill-opacity="0.35" stroke="none"/>'
    if len(points.rows):
        heights = scale.heights(series.values_at(points.rows, chart.smoothing))
        line = path(shares, heights, points.begins)
        dashes = _dashed(STROKES[series.stroke].dashes)
        yield f'<path d="{line}" fill="none" stroke="{style}" stroke-width="2"{dashes}/>'
        if series.kind == "sparse":
            for share, height in zip(shares.tolist(), heights.tolist(), strict=True):
                yield f'<circle cx="{x_of(share)}" cy="{y_of(height)}" r="4" fill="{style}"/>'
