"""The base of the charts: axes around a canvas, marks of events, signs of bad values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from engine.metrics import Column, Mark
from tui.charts import raster
from tui.charts.axes import Scale, Ticks
from tui.charts.canvas import Field, Layout
from tui.charts.raster import ChartFrame

GAP_SIGN, MARK_SIGN, MARK_LINE = "×", "▲", "┊"

MakeTicks: TypeAlias = Callable[[int, int, int], Ticks]
"""Makes the labels of the horizontal axis, given its ends and about how many to make."""


class Picture(ABC):
    """Curves over a window of steps."""

    first: int
    last: int  # above `first`
    log_y: bool  # where all values are positive
    marks: Sequence[Mark]
    ticks: MakeTicks

    @abstractmethod
    def extent(self, columns: int) -> tuple[float, float]:
        """Return the smallest and the largest value to draw, NaN if there is none."""

    @abstractmethod
    def paint(self, field: Field, x_ticks: Ticks, y_ticks: Ticks) -> ChartFrame:
        """Draw axes, curves and marks."""

    def can_be_logarithmic(self, columns: int) -> bool:
        """Return whether there are values and all of them are positive."""
        return self.extent(columns)[0] > 0


def preload() -> None:
    """Import plotext (0.2 s) before the first chart, for instance in a thread."""
    import plotext  # noqa: F401


def draw(picture: Picture, width: int, height: int) -> ChartFrame:
    """Draw a chart of exactly `width` by `height` cells."""
    if width <= 0 or height <= 0:
        return ChartFrame.blank(max(width, 0), max(height, 0))
    scale = Scale.around(*picture.extent(width), log=picture.log_y)
    y_ticks = scale.ticks(min(max(2, (height - 2) // 3), 10))
    layout = Layout.within(width, height, y_ticks)
    x_ticks = picture.ticks(picture.first, picture.last, max(2, layout.columns // 14))
    return picture.paint(Field(picture.first, picture.last, scale, layout), x_ticks, y_ticks)


def extent(columns: Sequence[Column], first: int, last: int) -> tuple[float, float]:
    """Return the smallest and the largest finite value in a window, NaN if there is none."""
    low = high = np.nan
    for column in columns:
        lows, highs, _ = column.min_max(first, last, 1)
        low, high = np.fmin(low, lows[0]), np.fmax(high, highs[0])
    return float(low), float(high)


def paint_gaps(canvas: ChartFrame, field: Field, columns: Sequence[Column]) -> None:
    """Mark columns with a value that is not on the axis, such as NaN, at the upper edge."""
    width, _ = canvas.size
    for column in columns:
        _, _, bad = column.min_max(field.first, field.last, width)
        canvas.characters[0, bad] = GAP_SIGN
        canvas.styles[0, bad] = raster.BAD


def paint_marks(frame: ChartFrame, field: Field, all_marks: Sequence[Mark]) -> None:
    """Draw a sign on the axis and a dotted line for each mark, and the labels of the newest."""
    layout = field.layout
    canvas = layout.canvas_of(frame)
    marks = [mark for mark in all_marks if field.first <= mark.step <= field.last]
    places = [field.column_of(mark.step) for mark in marks]
    if layout.has_axes:
        for place in places:
            frame.write(layout.left + place, layout.rows, MARK_SIGN, raster.MARK)
    if places:
        newest = [mark.label for mark in marks if mark.step == marks[-1].step]
        _paint_mark_label(canvas, places[-1], list(dict.fromkeys(newest)))
    # Many lines would hide the curve: then only that of the newest mark.
    lined = places if len(set(places)) <= layout.columns // 8 else places[-1:]
    for place in lined:
        free = canvas.styles[:, place] == raster.BLANK
        canvas.characters[free, place] = MARK_LINE
        canvas.styles[free, place] = raster.MARK


def _paint_mark_label(canvas: ChartFrame, place: int, labels: Sequence[str]) -> None:
    """Write all labels of a place, or the first and how many more where all do not fit."""
    texts = [", ".join(labels)]
    if len(labels) > 1:
        texts.append(f"{labels[0]} +{len(labels) - 1}")
    for text in texts:
        if _paint_beside(canvas, place, f" {text} "):
            return


def _paint_beside(canvas: ChartFrame, place: int, text: str) -> bool:
    """Write beside a column, into blank cells; return False if there are none."""
    columns, rows = canvas.size
    for start in (place + 1, place - len(text)):
        if start < 0 or start + len(text) > columns:
            continue
        for y in range(min(rows, 3)):
            if not canvas.styles[y, start : start + len(text)].any():
                canvas.write(start, y, text, raster.MARK)
                return True
    return False
