"""Axes and lines drawn by plotext, as cells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from tui.charts import raster
from tui.charts.axes import Ticks
from tui.charts.canvas import Layout, Line
from tui.charts.raster import ChartFrame

DISC = "●"

_ANSI = re.compile(r"\x1b\[([0-9;]*)m")
_FOREGROUND = re.compile(r"38;5;(\d+)")


def draw_lines(
    layout: Layout,
    lines: Sequence[tuple[Line, int]],
    discs: Sequence[tuple[Line, int]],
    x_ticks: Ticks,
    y_ticks: Ticks,
) -> ChartFrame:
    """Let plotext draw axes and lines; colours of its palette stand for our styles.

    Args:
        lines: Each with its style, the lowest first.
        discs: Points drawn as discs above all lines, each with its style.
    """
    import plotext

    plotext.terminal.limit(False, False)  # our size is the widget's, not the terminal's
    figure = plotext.figure
    figure.clear()  # one figure serves the whole process
    figure.plot_size(layout.width, layout.height)
    figure.canvas("default")
    _set_axes(figure, layout, x_ticks, y_ticks)
    for character, drawn in (("braille", lines), (DISC, discs)):
        for line, style in drawn:
            _add_line(figure, line, plotext.marker(character, plotext.pixel(style)))
    return _parse(figure.build().string(), layout.width, layout.height)


def _set_axes(figure: Any, layout: Layout, x_ticks: Ticks, y_ticks: Ticks) -> None:
    figure.axes(False)
    for axis, side, extent, ticks in (
        ("x", "lower", layout.columns, x_ticks),
        ("y", "left", layout.rows, y_ticks),
    ):
        shown = ticks if layout.has_axes else []
        figure.axes(layout.has_axes, pixel=raster.AXIS, axis=axis, side=side)
        ruler = figure.ruler(axis, side)
        ruler.pixel(raster.TICK)
        ruler.lim(0, extent)
        # "edge" puts 0 and the extent on the canvas' borders, as our raster has them.
        ruler.alignment(lim="edge")
        ruler.ticks([place * extent for place, _ in shown], [label for _, label in shown])


def _add_line(figure: Any, line: Line, marker: Any) -> None:
    # plotext aborts the process on values that are not finite
    finite = np.isfinite(line.x) & np.isfinite(line.y)
    if not finite.any():
        return
    signal = figure.signal(line.x[finite].tolist(), line.y[finite].tolist(), marker=marker)
    signal.lines(True)
    for index in np.flatnonzero(line.begins[finite]).tolist():
        signal.line(index, False)
    figure.draw(signal)


def _parse(drawn: str, width: int, height: int) -> ChartFrame:
    """Parse plotext's coloured text."""
    # split() alternates between text and the colour code of the text after it
    parts = _ANSI.split(drawn)
    texts, codes = parts[0::2], parts[1::2]
    styles, style = [raster.BLANK], raster.BLANK
    for code in codes:
        if code == "0":
            style = raster.BLANK
        elif colour := _FOREGROUND.match(code):
            style = int(colour[1])
        styles.append(style)
    # UTF-32 is how numpy keeps characters: much faster than a list of one-letter strings
    characters = np.frombuffer("".join(texts).encode("utf-32-le"), dtype="<U1")
    cell_styles = np.repeat(np.array(styles, dtype=np.uint8), [len(text) for text in texts])
    cells = characters != "\n"
    characters, cell_styles = characters[cells], cell_styles[cells]
    cell_styles[characters == " "] = raster.BLANK
    return ChartFrame(characters.reshape(height, width), cell_styles.reshape(height, width))
