"""The chart of one run: lines by plotext, the dense raw values beneath in our own braille."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from engine.metrics import Column, Mark
from tui.charts import raster
from tui.charts.axes import Scale, Ticks, step_ticks
from tui.charts.canvas import Field, Layout, Line
from tui.charts.plotext_backend import draw_lines
from tui.charts.raster import ChartFrame

GAP_SIGN, MARK_SIGN, MARK_LINE = "×", "▲", "┊"

# How far ghosts may widen the vertical axis either way, as a share of what the curves need: one
# that went astray must not flatten them.
GHOST_ROOM = 0.5


@dataclass(frozen=True, slots=True)
class Chart:
    """What to draw.

    Args:
        train: The dense curve, shown raw and smoothed.
        val: The sparse curve, shown as measured.
        first: Step at the left edge.
        last: Step at the right edge, after `first`.
        marks: Places where a setting changed.
        log_y: Logarithmic losses, where all of them are positive.
        smooth: Whether the training curve is smoothed.
        ghosts: What else might have been, smoothed and faint beneath the training curve: stretches
            that the run went back from, the later course of the run it was forked off.
        ticks: Makes labels for the horizontal axis, of its ends and about how many there may be.
        ceiling: The vertical axis does not reach higher; what does lies at its upper edge.
    """

    train: Column
    val: Column
    first: int
    last: int
    marks: Sequence[Mark] = ()
    log_y: bool = False
    smooth: bool = True
    ghosts: Sequence[Column] = ()
    ticks: Callable[[int, int, int], Ticks] = step_ticks
    ceiling: float = math.inf


def preload() -> None:
    """Import plotext now (0.2 s), from a thread for instance, rather than at the first chart."""
    import plotext  # noqa: F401


def draw(chart: Chart, width: int, height: int) -> ChartFrame:
    """Draw a chart of exactly `width` by `height` cells."""
    if width <= 0 or height <= 0:
        return ChartFrame.blank(max(width, 0), max(height, 0))
    scale = Scale.around(*_extent(chart), log=chart.log_y)
    y_ticks = scale.ticks(min(max(2, (height - 2) // 3), 10))
    layout = Layout.within(width, height, y_ticks)
    x_ticks = chart.ticks(chart.first, chart.last, max(2, layout.columns // 14))
    field = Field(chart.first, chart.last, scale, layout)

    val = _val_line(chart, field)
    ghosts = [(_ghost_line(ghost, field), raster.GHOST) for ghost in chart.ghosts]
    lines = [*ghosts, (_train_line(chart, field), raster.TRAIN), (val, raster.VAL)]
    frame = draw_lines(layout, lines, [(val.discs(), raster.VAL)], x_ticks, y_ticks)
    canvas = layout.canvas_of(frame)
    paint_gaps(canvas, field, (chart.train, chart.val))
    paint_marks(frame, field, chart.marks)
    style = raster.RAW if chart.smooth else raster.TRAIN
    canvas.lay_braille_beneath(field.raw_masks(chart.train), style)
    return frame


def can_be_logarithmic(chart: Chart) -> bool:
    """Whether there are values in the window and all of them are positive."""
    low, _ = _extent(chart)
    return low > 0


# ------------------------------------------------------------------------- from data to canvas


def extent(columns: Sequence[Column], first: int, last: int) -> tuple[float, float]:
    """Return the smallest and the largest finite value in a window, NaN where there is none."""
    low = high = np.nan
    for column in columns:
        lows, highs, _ = column.min_max(first, last, 1)
        low, high = np.fmin(low, lows[0]), np.fmax(high, highs[0])
    return float(low), float(high)


def average_before(column: Column, first: int) -> float:
    """Return the first average in a window, NaN where there is none.

    An average lies between the values it has seen: those in the window, and all earlier ones,
    which the first average stands for.
    """
    steps, _, smoothed = column.snapshot()
    row = int(np.searchsorted(steps, first))
    return float(smoothed[row]) if row < len(steps) else float("nan")


def _extent(chart: Chart) -> tuple[float, float]:
    low, high = extent((chart.train, chart.val), chart.first, chart.last)
    if chart.smooth:
        start = average_before(chart.train, chart.first)
        low, high = float(np.fmin(low, start)), float(np.fmax(high, start))
    high = min(high, chart.ceiling) if low < chart.ceiling else high
    return _widened(low, high, *extent(chart.ghosts, chart.first, chart.last))


def _widened(low: float, high: float, ghost_low: float, ghost_high: float) -> tuple[float, float]:
    """Make room for ghosts, as far as they may have it; each pair may be NaN."""
    if math.isnan(ghost_low):
        return low, high
    if not low < high:  # no curve, or a flat one, has no say in how much is too much
        return float(np.fmin(low, ghost_low)), float(np.fmax(high, ghost_high))
    room = (high - low) * GHOST_ROOM
    lowest = max(low - room, low / 2) if low > 0 else low - room  # ghosts do not forbid a log axis
    return min(low, max(ghost_low, lowest)), max(high, min(ghost_high, high + room))


def _ghost_line(ghost: Column, field: Field) -> Line:
    steps, values, smoothed = ghost.snapshot()
    begin, end = np.searchsorted(steps, [field.first, field.last + 1])
    shown = smoothed[begin:end]
    beyond = ~field.scale.holds(shown)
    return field.line(steps[begin:end], np.where(beyond, np.nan, values[begin:end]), shown)


def _train_line(chart: Chart, field: Field) -> Line:
    steps, values, smoothed = chart.train.snapshot()
    if not chart.smooth:
        # Thinning raw values would show chance, not the curve: unless they are sparse, the
        # raster alone, which hides nothing, is the picture.
        first, last = np.searchsorted(steps, [chart.first, chart.last + 1])
        if last - first > field.layout.columns:
            steps = steps[:0]
    return field.line(steps, values, smoothed if chart.smooth else values)


def _val_line(chart: Chart, field: Field) -> Line:
    steps, values, _ = chart.val.snapshot()
    return field.line(steps, values, values)


def paint_gaps(canvas: ChartFrame, field: Field, columns: Sequence[Column]) -> None:
    """Sign the columns that hold a value without a place on the axis, at the upper edge."""
    width, _ = canvas.size
    for column in columns:
        _, _, bad = column.min_max(field.first, field.last, width)
        canvas.characters[0, bad] = GAP_SIGN
        canvas.styles[0, bad] = raster.BAD


# --------------------------------------------------------------------------------------- marks


def paint_marks(frame: ChartFrame, field: Field, all_marks: Sequence[Mark]) -> None:
    """Show where settings changed: a sign on the axis, a dotted line, the newest ones' labels."""
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
    # Where settings change all the time, lines everywhere would bury the curve: the newest only.
    lined = places if len(set(places)) <= layout.columns // 8 else places[-1:]
    for place in lined:
        free = canvas.styles[:, place] == raster.BLANK
        canvas.characters[free, place] = MARK_LINE
        canvas.styles[free, place] = raster.MARK


def _paint_mark_label(canvas: ChartFrame, place: int, labels: Sequence[str]) -> None:
    """Write all labels of a place; the first and how many more, where there is no room for all."""
    texts = [", ".join(labels)]
    if len(labels) > 1:
        texts.append(f"{labels[0]} +{len(labels) - 1}")
    for text in texts:
        if _paint_beside(canvas, place, f" {text} "):
            return


def _paint_beside(canvas: ChartFrame, place: int, text: str) -> bool:
    """Write beside a column, where nothing else is; False if there is no room."""
    columns, rows = canvas.size
    for start in (place + 1, place - len(text)):
        if start < 0 or start + len(text) > columns:
            continue
        for y in range(min(rows, 3)):
            if not canvas.styles[y, start : start + len(text)].any():
                canvas.write(start, y, text, raster.MARK)
                return True
    return False
