"""The loss plot: axes and lines by plotext, the dense raw values beneath in our own braille.

Values are turned into places on the canvas here, not by plotext, so that its lines and our raster
agree to the dot, and so that it is only ever handed finite numbers of ordinary size: a single NaN
makes plotext 6.1 abort the process.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.metrics import Column, Flags, Mark, Steps, Values
from tui.charts import raster
from tui.charts.decimate import spread, thin
from tui.charts.raster import DOTS_ACROSS, DOTS_DOWN, ChartFrame, braille_masks, dot_rows

# Below this many cells the axes are left out, and what room there is goes to the curve.
SMALLEST_CANVAS = (8, 2)

# Share of the data's range left free above and below it, together.
PADDING = 0.10

# Magnitudes no loss has, far enough from the ends of what floats hold to calculate with.
HUGE, TINY = 1e300, 1e-300

# How far a logarithmic axis may reach either way: powers of ten that are still ordinary floats.
MOST_DECADES = 307.0

# Evaluations are drawn as discs this many columns apart, so that the line between them shows.
DISC_SPACING = 4
DISC, GAP_SIGN, MARK_SIGN, MARK_LINE = "●", "×", "▲", "┊"

_ANSI = re.compile(r"\x1b\[([0-9;]*)m")
_FOREGROUND = re.compile(r"38;5;(\d+)")


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
    """

    train: Column
    val: Column
    first: int
    last: int
    marks: Sequence[Mark] = ()
    log_y: bool = False
    smooth: bool = True


@dataclass(frozen=True, slots=True)
class Line:
    """A line in canvas cells, counted from the lower left corner."""

    x: Values
    y: Values
    begins: Flags


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
    x_ticks = step_ticks(chart.first, chart.last, max(2, layout.columns // 14))

    val = _val_line(chart, scale, layout)
    lines = [(_train_line(chart, scale, layout), raster.TRAIN), (val, raster.VAL)]
    frame = _draw_with_plotext(layout, lines, _discs(val), x_ticks, y_ticks)
    canvas = frame.part(slice(0, layout.rows), slice(layout.left, layout.left + layout.columns))
    _paint_gaps(canvas, chart)
    _paint_marks(frame, canvas, chart, layout)
    style = raster.RAW if chart.smooth else raster.TRAIN
    canvas.lay_braille_beneath(_raw_masks(chart, scale, layout), style)
    return frame


def can_be_logarithmic(chart: Chart) -> bool:
    """Whether there are values in the window and all of them are positive."""
    low, _ = _extent(chart)
    return low > 0


# ---------------------------------------------------------------------------- scales and ticks


Ticks = list[tuple[float, str]]
"""Places along an axis from 0 to 1, with their labels."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The range of the vertical axis; logarithmic ones hold powers of ten."""

    low: float
    high: float
    log: bool = False

    @classmethod
    def around(cls, low: float, high: float, *, log: bool) -> Scale:
        """Return a scale with some room around the data; log only where all of it is positive."""
        if math.isnan(low):
            return cls(0.0, 1.0)
        if log and low > 0:
            decades = [_clamped(math.log10(extreme), math.log10(HUGE)) for extreme in (low, high)]
            bottom, top = _padded(decades[0], decades[1], flat_room=0.1)
            return cls(_clamped(bottom, MOST_DECADES), _clamped(top, MOST_DECADES), log=True)
        low, high = _clamped(low, HUGE), _clamped(high, HUGE)
        bottom, top = _padded(low, high, flat_room=abs(low) * PADDING if abs(low) > TINY else 1.0)
        # A loss is never negative: do not spend rows on what lies below zero.
        return cls(max(bottom, 0.0) if 0 <= low < high else bottom, top)

    def heights(self, values: Values) -> Values:
        """Return where values lie, from 0 at the bottom to 1 at the top; NaN stays NaN."""
        if self.log:
            values = np.log10(np.maximum(values, 10.0**self.low))
        # halves, because the distance between two floats may be more than the largest float
        above = 0.5 * values - 0.5 * self.low
        return np.clip(above / (0.5 * self.high - 0.5 * self.low), 0.0, 1.0)

    def ticks(self, most: int) -> Ticks:
        """Return at most about `most` round values within the range."""
        if not self.log:
            values = nice_values(self.low, self.high, most)
        elif self.high - self.low > 1.5:
            values = [10.0**power for power in nice_values(self.low, self.high, most, whole=True)]
        else:
            values = [v for v in nice_values(10**self.low, 10**self.high, most + 2) if v > 0]
        heights = self.heights(np.array(values, dtype=np.float64))
        return list(zip(heights.tolist(), value_labels(values), strict=True))


def _clamped(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)


def _padded(low: float, high: float, flat_room: float) -> tuple[float, float]:
    span = high - low
    if span <= max(1e-9 * max(abs(low), abs(high)), TINY):
        return low - flat_room, high + flat_room
    # Rounded outwards, so that the axis stands still while the extremes creep on.
    grain = nice_step(span / 25)
    room = span * PADDING / 2
    return math.floor((low - room) / grain) * grain, math.ceil((high + room) / grain) * grain


def nice_step(at_least: float, *, whole: bool = False) -> float:
    """Return the smallest of 1, 2, 2.5, 5 times a power of ten that is not less than asked."""
    power = 10.0 ** math.floor(math.log10(at_least))
    for factor in (1.0, 2.0, 2.5, 5.0, 10.0):
        step = factor * power
        if step >= at_least * (1 - 1e-9) and not (whole and step % 1):
            return step
    return max(10.0 * power, 1.0)


def nice_values(low: float, high: float, most: int, *, whole: bool = False) -> list[float]:
    """Return round, evenly spaced values in [low, high], `most` or one more of them."""
    step = nice_step((high - low) / most, whole=whole)
    slack = step * 1e-6
    first, last = math.ceil((low - slack) / step), math.floor((high + slack) / step)
    return [count * step for count in range(first, last + 1)]


def step_ticks(first: int, last: int, most: int) -> Ticks:
    """Return round steps along the horizontal axis."""
    values = nice_values(first, last, most, whole=True)
    return [((value - first) / (last - first), step_label(round(value))) for value in values]


def step_label(step: int) -> str:
    """Write a step shortly: 500, 1.5k, 20k, 1.2M."""
    if step >= 1_000_000:
        return f"{step / 1_000_000:g}M"
    return f"{step / 1_000:g}k" if step >= 1_000 else str(step)


def value_labels(values: Sequence[float]) -> list[str]:
    """Write evenly spaced values with as many decimals as tell them apart, all alike."""
    largest = max(map(abs, values), default=0.0)
    smallest = min((abs(value) for value in values if value), default=1.0)
    if largest >= 1e6 or smallest < 1e-4:
        return [f"{value:.3g}".replace("e+0", "e").replace("e+", "e") for value in values]
    for decimals in range(8):
        if all(abs(value - round(value, decimals)) < smallest * 1e-6 for value in values):
            break
    return [f"{value:.{decimals}f}" for value in values]


# ------------------------------------------------------------------------- from data to canvas


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things lie: the canvas, left of it the labels and an axis, below an axis and labels."""

    width: int
    height: int
    left: int
    rows: int

    @classmethod
    def within(cls, width: int, height: int, y_ticks: Ticks) -> Layout:
        """Make room for the axes, or leave them out where the canvas would get too small."""
        left = max((len(label) for _, label in y_ticks), default=0) + 1
        columns, rows = SMALLEST_CANVAS
        if width - left < columns or height - 2 < rows:
            return cls(width, height, 0, height)
        return cls(width, height, left, height - 2)

    @property
    def columns(self) -> int:
        """Width of the canvas."""
        return self.width - self.left

    @property
    def has_axes(self) -> bool:
        """Whether axes and labels are drawn."""
        return self.left > 0


def _extent(chart: Chart) -> tuple[float, float]:
    """Return the smallest and the largest finite value in the window, NaN where there is none."""
    low, high = [], []
    for column in (chart.train, chart.val):
        lows, highs, _ = column.min_max(chart.first, chart.last, 1)
        low.append(lows[0])
        high.append(highs[0])
    if chart.smooth:
        # An average lies between the values it has seen: those in the window, and all earlier
        # ones, which the first average in the window stands for.
        steps, _, smoothed = chart.train.snapshot()
        row = int(np.searchsorted(steps, chart.first))
        if row < len(steps):
            low.append(smoothed[row])
            high.append(smoothed[row])
    return float(np.fmin.reduce(low)), float(np.fmax.reduce(high))


def _train_line(chart: Chart, scale: Scale, layout: Layout) -> Line:
    steps, values, smoothed = chart.train.snapshot()
    if not chart.smooth:
        # Thinning raw values would show chance, not the curve: unless they are sparse, the
        # raster alone, which hides nothing, is the picture.
        first, last = np.searchsorted(steps, [chart.first, chart.last + 1])
        if last - first > layout.columns:
            steps = steps[:0]
    return _line(chart, scale, layout, steps, values, smoothed if chart.smooth else values)


def _val_line(chart: Chart, scale: Scale, layout: Layout) -> Line:
    steps, values, _ = chart.val.snapshot()
    return _line(chart, scale, layout, steps, values, values)


def _line(
    chart: Chart, scale: Scale, layout: Layout, steps: Steps, measured: Values, shown: Values
) -> Line:
    rows, begins = thin(steps, measured, chart.first, chart.last, layout.columns)
    across, down = layout.columns * DOTS_ACROSS, layout.rows * DOTS_DOWN
    dot_columns = (steps[rows] - chart.first) * across // (chart.last - chart.first)
    # The middle of a dot: on the border between two cells, plotext and we might choose differently.
    x = (np.minimum(dot_columns, across - 1) + 0.5) / DOTS_ACROSS
    y = (down - dot_rows(scale.heights(shown[rows]), layout.rows) - 0.5) / DOTS_DOWN
    return Line(x, y, begins)


def _discs(line: Line) -> Line:
    chosen = spread(line.x.astype(np.int64), DISC_SPACING)
    return Line(line.x[chosen], line.y[chosen], np.ones(int(chosen.sum()), dtype=np.bool_))


def _raw_masks(chart: Chart, scale: Scale, layout: Layout) -> raster.Masks:
    dot_columns = layout.columns * DOTS_ACROSS
    low, high, _ = chart.train.min_max(chart.first, chart.last, dot_columns)
    return braille_masks(scale.heights(low), scale.heights(high), layout.rows, layout.columns)


def _paint_gaps(canvas: ChartFrame, chart: Chart) -> None:
    """Sign the columns that hold a value without a place on the axis, at the upper edge."""
    columns, _ = canvas.size
    for column in (chart.train, chart.val):
        _, _, bad = column.min_max(chart.first, chart.last, columns)
        canvas.characters[0, bad] = GAP_SIGN
        canvas.styles[0, bad] = raster.BAD


def _paint_marks(frame: ChartFrame, canvas: ChartFrame, chart: Chart, layout: Layout) -> None:
    """Show where settings changed: a sign on the axis, a dotted line, the newest one's label."""
    marks = [mark for mark in chart.marks if chart.first <= mark.step <= chart.last]
    places = [
        min(
            (mark.step - chart.first) * layout.columns // (chart.last - chart.first),
            layout.columns - 1,
        )
        for mark in marks
    ]
    if layout.has_axes:
        for place in places:
            frame.write(layout.left + place, layout.rows, MARK_SIGN, raster.MARK)
    if places:
        _paint_mark_label(canvas, places[-1], marks[-1].label)
    # Where settings change all the time, lines everywhere would bury the curve: the newest only.
    lined = places if len(set(places)) <= layout.columns // 8 else places[-1:]
    for place in lined:
        free = canvas.styles[:, place] == raster.BLANK
        canvas.characters[free, place] = MARK_LINE
        canvas.styles[free, place] = raster.MARK


def _paint_mark_label(canvas: ChartFrame, place: int, label: str) -> None:
    columns, rows = canvas.size
    text = f" {label} "
    for start in (place + 1, place - len(text)):
        if start < 0 or start + len(text) > columns:
            continue
        for y in range(min(rows, 3)):
            if not canvas.styles[y, start : start + len(text)].any():
                canvas.write(start, y, text, raster.MARK)
                return


# -------------------------------------------------------------------------------------- plotext


def _draw_with_plotext(
    layout: Layout, lines: Sequence[tuple[Line, int]], discs: Line, x_ticks: Ticks, y_ticks: Ticks
) -> ChartFrame:
    """Let plotext draw axes and lines; colours of its palette stand for our styles."""
    import plotext

    plotext.terminal.limit(False, False)  # our size is the widget's, not the terminal's
    figure = plotext.figure
    figure.clear()  # one figure serves the whole process
    figure.plot_size(layout.width, layout.height)
    figure.canvas("default")
    _set_axes(figure, layout, x_ticks, y_ticks)
    for line, style in lines:
        _add_line(figure, line, plotext.marker("braille", plotext.pixel(style)))
    _add_line(figure, discs, plotext.marker(DISC, plotext.pixel(raster.VAL)))
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
    # The last gate before plotext: it must never see a value that is not finite.
    finite = np.isfinite(line.x) & np.isfinite(line.y)
    if not finite.any():
        return
    signal = figure.signal(line.x[finite].tolist(), line.y[finite].tolist(), marker=marker)
    signal.lines(True)
    for index in np.flatnonzero(line.begins[finite]).tolist():
        signal.line(index, False)
    figure.draw(signal)


def _parse(drawn: str, width: int, height: int) -> ChartFrame:
    """Turn plotext's coloured text into a frame."""
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
