"""A chart: curves over a window of steps, as cells. Numbers in, characters and style names out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from engine.metrics import Column, Flags, Mark, Steps, Values
from engine.runs.comparison import band_of
from engine.runs.database import Curve
from tui.charts import raster
from tui.charts.axes import HUGE, Scale, Ticks
from tui.charts.canvas import DISC_SPACING, Field, Layout, Line, Points, points_of, spread
from tui.charts.picture import (
    ABOVE,
    BELOW,
    Cut,
    Reference,
    paint_axes,
    paint_cuts,
    paint_gaps,
    paint_marks,
    paint_references,
)
from tui.charts.raster import DISC, DOTS_ACROSS, RUNS, ChartFrame, Masks
from tui.charts.reduction import Extremes, one_reading, reduction_of
from tui.charts.window import Window
from tui.text.letters import letter_of

# Least width of the labels on the left, so that the canvas seldom changes its width.
LABELS = 6

# Share of what is drawn of a curve that the robust range may cut: its beginning, and its extremes.
FIRST_SHARE = 0.1
EXTREME_SHARE = 0.02

# The robust range is widened to everything if that takes no more than these times its height:
# upwards, where the first steps were, and downwards, where the best ones are.
ALL_ABOVE, ALL_BELOW = 1.35, 1.6

# How far raw values and ghosts may widen the range, as a share of the range of the curves.
RAW_ROOM = 0.3
GHOST_ROOM = 0.5

# Few values have no quantiles: below this many, those far from the middle half are left out.
FEW, FENCE = 20, 4.0

# Columns of one colour where curves share cells. Discs are four columns apart: with dashes of two
# or four columns all of them would have the same colour.
DASH = 3

# Of the curves of several seeds: so many points are averaged, of training losses smoothed before.
SEED_ROWS, SEED_SMOOTHING = 4096, 0.95

Kind: TypeAlias = Literal["dense", "sparse", "ghost"]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One curve.

    Args:
        column: Its steps are rising; they may be any whole numbers that the axis counts.
        style: Index of its style.
        kind: A dense curve is drawn smoothed, a sparse one as measured with discs, a ghost smoothed
            and faint beneath the others.
        name: What the legend calls it.
        raw: The style of its raw values, as a band beneath all curves; None leaves them out.
        place: Of a run among others: its letter is written at its end.
        transform: Makes of recorded values those to draw; it must not fall.
        stroke: Index of how its line is interrupted.
        band: Lower and upper end of a band around it, as of several seeds; neither is smoothed.
    """

    column: Column
    style: int
    kind: Kind = "dense"
    name: str = ""
    raw: int | None = None
    place: int | None = None
    transform: Callable[[Values], Values] | None = None
    stroke: int = raster.SOLID
    band: tuple[Column, Column] | None = None

    @classmethod
    def of_run(cls, name: str, place: int, column: Column, *, smooth: bool) -> Series:
        """Return the curve of a run: its place determines letter, colour and stroke."""
        kind: Kind = "dense" if smooth else "sparse"
        style, stroke = raster.FIRST_RUN + place % len(RUNS), raster.stroke_of(place)
        return cls(column, style, kind, name, place=place, stroke=stroke)

    @classmethod
    def of_seeds(cls, name: str, place: int, columns: Sequence[Column], *, smooth: bool) -> Series:
        """Return the mean of some runs, in a band from the lowest to the highest of them."""
        curves = []
        for column in columns:
            reduction = reduction_of(column)
            if not len(reduction.steps):  # a run without this metric
                continue
            rows = np.unique(np.linspace(0, len(reduction.steps) - 1, SEED_ROWS).astype(np.int64))
            values = reduction.values[rows]
            if smooth:
                values = reduction.averages(rows, SEED_SMOOTHING)
            sound = np.isfinite(values)
            curves.append(Curve(reduction.steps[rows[sound]], values[sound]))
        mean, low, high = (_column_of(curve) for curve in band_of(curves))
        return replace(cls.of_run(name, place, mean, smooth=smooth), band=(low, high))

    @property
    def letter(self) -> str:
        return "" if self.place is None else letter_of(self.place)

    def shown(self, values: Values) -> Values:
        return self.transform(values) if self.transform else values

    def values_at(self, rows: Steps, smoothing: float) -> Values:
        """Return what is drawn at some rows."""
        reduction = reduction_of(self.column)
        if self.kind == "sparse" or self.band is not None or not smoothing:
            return self.shown(reduction.values[rows])
        return self.shown(reduction.averages(rows, smoothing))


def _column_of(curve: Curve) -> Column:
    column = Column()
    column.extend(*curve)
    return column


@dataclass(frozen=True, slots=True, eq=False)
class Chart:
    """What to draw.

    Args:
        series: The first one is drawn above the others.
        window: The steps.
        smoothing: Of dense curves; 0 draws all raw values instead.
        y: The vertical range: what matters, everything, or everything on a logarithmic axis.
        limits: Its lower and upper end, where they were chosen.
        marks: Events along the steps.
        references: Values to compare with.
        ceiling: The range ends there at the latest, whatever lies above.
        reached: The latest step; the axis is dotted after it.
        prefix: Of the unit that values are in, such as k, written after the labels of the axis.
    """

    series: Sequence[Series]
    window: Window
    smoothing: float = 0.9
    y: Literal["robust", "full", "log"] = "robust"
    limits: tuple[float | None, float | None] = (None, None)
    marks: Sequence[Mark] = ()
    references: Sequence[Reference] = ()
    ceiling: float = math.inf
    reached: float | None = None
    prefix: str = ""


class Drawing(NamedTuple):
    """A drawn chart, and where things are in it."""

    frame: ChartFrame
    field: Field
    log_refused: bool  # a logarithmic axis was wanted, and not all values are positive


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """What is drawn of a series."""

    series: Series
    points: Points
    values: Values
    raw: Extremes | None  # by dot column
    bad: Flags  # by cell column


class Measured(NamedTuple):
    """What is drawn of the curves of a chart, and where."""

    field: Field
    y_ticks: Ticks
    drawn: list[Drawn]
    log_refused: bool


@one_reading()
def measured(chart: Chart, width: int, height: int, before: Scale | None = None) -> Measured:
    """Choose the range of the vertical axis and the points that are drawn of each curve.

    Args:
        chart: What to draw.
        width: In cells, with the axis.
        height: In cells, with the axis.
        before: The range of the last drawing of the same view, which is kept if it still fits.
    """
    columns = max(width - LABELS, 1)
    drawn = [_drawn(chart, one, columns) for one in chart.series]
    low, high = _range(chart, drawn)
    floor, ceiling = chart.limits
    log = chart.y == "log"
    scale = Scale.around(low, high, log=log, before=before, floor=floor, ceiling=ceiling)
    y_ticks = scale.ticks(min(max(2, (height - 2) // 3), 10))
    y_ticks = [(place, f"{label}{chart.prefix}") for place, label in y_ticks]
    layout = Layout.within(width, height, y_ticks, LABELS)
    if layout.columns != columns and layout.columns > 0:
        drawn = [_drawn(chart, one, layout.columns) for one in chart.series]
    return Measured(Field(chart.window, scale, layout), y_ticks, drawn, log and not scale.log)


@one_reading()
def draw(chart: Chart, width: int, height: int, before: Scale | None = None) -> Drawing:
    """Draw a chart of exactly `width` by `height` cells; see `measured`."""
    width, height = max(width, 0), max(height, 0)
    field, y_ticks, drawn, log_refused = measured(chart, width, height, before)
    layout = field.layout
    frame = ChartFrame.blank(width, height)
    if not width or not height:
        return Drawing(frame, field, False)
    canvas = layout.canvas_of(frame)
    _paint_curves(chart, drawn, field, canvas)
    _paint_signs(chart, drawn, field, frame)
    x_ticks = chart.window.ticks(max(2, layout.columns // 14))
    paint_axes(frame, field, x_ticks, y_ticks, _end(chart, field))
    paint_marks(frame, field, chart.marks)
    _paint_bands(chart, drawn, field, canvas)
    paint_references(canvas, field, chart.references)
    return Drawing(frame, field, log_refused)


def _end(chart: Chart, field: Field) -> int:
    columns = field.layout.columns
    if chart.reached is None or float(chart.window.shares(chart.reached)) >= 1:
        return columns
    return field.column_of(chart.reached) + 1


def _drawn(chart: Chart, series: Series, columns: int) -> Drawn:
    reduction = reduction_of(series.column)
    edges = chart.window.edges(reduction.steps, columns * DOTS_ACROSS)
    points = points_of(chart.window, reduction, edges, columns)
    values = _tamed(series.values_at(points.rows, chart.smoothing))
    extremes = reduction.extremes(edges)
    bad: Flags = np.logical_or.reduce(extremes.bad.reshape(columns, DOTS_ACROSS), axis=1)
    raw = None
    if series.raw is not None or (series.kind == "dense" and not chart.smoothing):
        low, high = _tamed(series.shown(extremes.low)), _tamed(series.shown(extremes.high))
        raw = Extremes(low, high, extremes.bad)
    return Drawn(series, points, values, raw, bad)


def _tamed(values: Values) -> Values:
    """Limit values to those that can be calculated with."""
    tamed: Values = np.clip(values, -HUGE, HUGE)
    return tamed


# -- the vertical range --------------------------------------------------------------------------


def _range(chart: Chart, drawn: Sequence[Drawn]) -> tuple[float, float]:
    curves = [one for one in drawn if one.series.kind != "ghost"]
    ghosts = [one for one in drawn if one.series.kind == "ghost"]
    low, high = (_robust if chart.y == "robust" else _full)(curves)
    if low < chart.ceiling:
        high = min(high, chart.ceiling)
    return _widened(low, high, *_full(ghosts))


def _full(drawn: Sequence[Drawn]) -> tuple[float, float]:
    """Return the least and the greatest value within the window, NaN without one."""
    low = high = np.nan
    for one in drawn:
        parts = [one.values[one.points.within]]
        if one.raw is not None:
            parts += [one.raw.low, one.raw.high]
        for part in parts:
            if part.size:
                low = np.fmin(low, np.fmin.reduce(part))
                high = np.fmax(high, np.fmax.reduce(part))
    return float(low), float(high)


def _robust(drawn: Sequence[Drawn]) -> tuple[float, float]:
    """Return the range that matters: after the first steps, without spikes.

    It is everything if that is not much more.
    """
    low = high = least = greatest = np.nan
    for one in drawn:
        within = one.points.within
        values, x = one.values[within], one.points.x[within]
        if not values.size:
            continue
        late = values[x >= x[0] + FIRST_SHARE * (x[-1] - x[0])]
        lowest, highest = _bulk(late if late.size > 2 else values)
        low, high = np.fmin(low, lowest), np.fmax(high, highest)
        least, greatest = np.fmin(least, values.min()), np.fmax(greatest, values.max())
    if np.isnan(low):
        return _full(drawn)
    span = high - low
    if greatest - low <= ALL_ABOVE * span:
        high = greatest
    if high - least <= ALL_BELOW * span:
        low = least
    room = RAW_ROOM * (high - low) if high > low else math.inf
    for one in drawn:
        if one.raw is None:
            continue
        begin = int(FIRST_SHARE * len(one.raw.low)) if len(one.values) > 2 else 0
        lows, highs = (part[begin:][~np.isnan(part[begin:])] for part in one.raw[:2])
        if lows.size and highs.size:
            low = min(low, max(_quantile(lows, 0.1), low - room))
            high = max(high, min(_quantile(highs, 0.9), high + room))
    return float(low), float(high)


def _bulk(values: Values) -> tuple[float, float]:
    ordered = np.sort(values)
    if ordered.size >= FEW:
        cut = math.ceil(EXTREME_SHARE * ordered.size)
        return float(ordered[cut]), float(ordered[-1 - cut])
    if ordered.size < 5:
        return float(ordered[0]), float(ordered[-1])
    quarter, three = _quantile(ordered, 0.25), _quantile(ordered, 0.75)
    reach = FENCE * (three - quarter)
    usual = ordered[(ordered >= quarter - reach) & (ordered <= three + reach)]
    return float(usual[0]), float(usual[-1])


def _quantile(values: Values, share: float) -> float:
    at = round(share * (len(values) - 1))
    return float(np.partition(values, at)[at])


def _widened(low: float, high: float, ghost_low: float, ghost_high: float) -> tuple[float, float]:
    """Widen a range for ghosts, within limits; each pair may be NaN.

    A ghost that diverged must not flatten the curves.
    """
    if math.isnan(ghost_low):
        return low, high
    if not low < high:  # no curve, or a flat one: there is no range to limit them by
        return float(np.fmin(low, ghost_low)), float(np.fmax(high, ghost_high))
    room = (high - low) * GHOST_ROOM
    lowest = max(low - room, low / 2) if low > 0 else low - room  # keeps a log axis possible
    return min(low, max(ghost_low, lowest)), max(high, min(ghost_high, high + room))


# -- the canvas ----------------------------------------------------------------------------------


def _paint_curves(chart: Chart, drawn: Sequence[Drawn], field: Field, canvas: ChartFrame) -> None:
    """Draw the lines, the first series on top, and discs above all of them."""
    layout = field.layout
    ghosts = [one for one in reversed(drawn) if one.series.kind == "ghost"]
    upwards = ghosts + [one for one in reversed(drawn) if one.series.kind != "ghost"]
    lines = [
        raster.dashed(_line(chart, one, field).masks(layout), one.series.stroke) for one in upwards
    ]
    shared = [
        (masks, one.series.style)
        for one, masks in zip(upwards, lines, strict=True)
        if one.series.letter
    ]
    for one, masks in zip(upwards, lines, strict=True):
        canvas.lay_braille(masks, one.series.style)
    _share_cells(canvas, shared)
    top = lines[-1] > 0 if lines else np.zeros((0, 0), dtype=np.bool_)
    _paint_discs(upwards, field, canvas, top)
    _paint_letters(canvas, drawn, field)


def _line(chart: Chart, one: Drawn, field: Field) -> Line:
    if one.series.kind == "dense" and not chart.smoothing:
        # One raw value per column would be noise, not the curve: unless they are sparse, draw
        # only the raster, which has all of them.
        steps = reduction_of(one.series.column).steps
        first, last = np.searchsorted(steps, chart.window.borders(1))
        if last - first > field.layout.columns:
            nothing = np.zeros(0)
            return Line(nothing, nothing, nothing, nothing)
    return field.line(one.points, one.values)


# Where the upper curve runs through the same cells, discs must leave most of it to be seen.
WIDE_DISC_SPACING = 8


def _paint_discs(upwards: Sequence[Drawn], field: Field, canvas: ChartFrame, top: Flags) -> None:
    """Draw the points of sparse curves; runs that share a place take turns."""
    turns: dict[tuple[int, int], int] = {}
    for one in upwards:
        if one.series.kind != "sparse":
            continue
        rows, columns = field.discs(one.points, one.values, DISC_SPACING)
        if one is not upwards[-1] and not one.series.letter:
            hidden = top[rows, columns]
            wide = spread(columns, WIDE_DISC_SPACING)
            rows, columns = rows[~hidden | wide], columns[~hidden | wide]
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            turns[row, column] = turns.get((row, column), 0) + 1
            if column // DISC_SPACING % turns[row, column] == 0:
                canvas.write(column, row, DISC, one.series.style)


def _paint_bands(chart: Chart, drawn: Sequence[Drawn], field: Field, canvas: ChartFrame) -> None:
    """Draw raw values, and the spread of seeds, beneath everything else."""
    layout, heights = field.layout, field.scale.heights
    for one in drawn:
        if one.series.band is not None:
            low, high = (_across(column, one, field) for column in one.series.band)
            masks = raster.band_masks(heights(low), heights(high), layout.rows, layout.columns)
            canvas.lay_braille_beneath(masks, one.series.style)
        if one.raw is None:
            continue
        if one.series.kind == "dense" and not chart.smoothing:
            ends = heights(one.raw.low), heights(one.raw.high)
            masks = raster.braille_masks(*ends, layout.rows, layout.columns)
            canvas.lay_braille_beneath(masks, one.series.style)
        elif one.series.raw is not None:
            masks = _raw_masks(chart, one, field)
            canvas.lay_braille_beneath(masks, one.series.raw)


# A band of raw values is as high as so many of them lie apart.
VALUES_IN_BAND = 4


def _raw_masks(chart: Chart, one: Drawn, field: Field) -> Masks:
    """Draw raw values as a band or, where they are few, as a line."""
    layout, reduction = field.layout, reduction_of(one.series.column)
    assert one.raw is not None
    count = int(np.diff(np.searchsorted(reduction.steps, chart.window.borders(1)))[0])
    if count <= layout.columns:
        values = one.series.shown(reduction.values[one.points.rows])
        return field.line(one.points, values).masks(layout)
    reach = math.ceil(VALUES_IN_BAND * layout.columns * DOTS_ACROSS / count)
    heights = field.scale.heights
    low, high = raster.widened(heights(one.raw.low), heights(one.raw.high), reach)
    joined = raster.joined(low, high, one.raw.bad)
    return raster.band_masks(*joined, layout.rows, layout.columns)


def _across(column: Column, one: Drawn, field: Field) -> Values:
    """Return a curve's value in every dot column, between its first and its last point."""
    reduction, columns = reduction_of(column), field.layout.columns
    edges = field.window.edges(reduction.steps, columns * DOTS_ACROSS)
    points = points_of(field.window, reduction, edges, columns)
    dots = (np.arange(columns * DOTS_ACROSS) + 0.5) / DOTS_ACROSS
    if not len(points.rows):
        return np.full(len(dots), np.nan)
    values = one.series.shown(reduction.values[points.rows])
    across: Values = np.interp(dots, points.x, values, left=np.nan, right=np.nan)
    return across


def _paint_signs(chart: Chart, drawn: Sequence[Drawn], field: Field, frame: ChartFrame) -> None:
    """Draw the signs of values that are not on the axis: not finite, above or below it."""
    canvas, scale = field.layout.canvas_of(frame), field.scale
    columns = field.layout.columns
    shown = [one for one in drawn if one.series.kind != "ghost"]
    for one in shown:
        paint_gaps(canvas, one.bad)
    cuts = []
    for one in shown:
        cells = np.full(columns, np.nan)
        within = one.points.within
        cells[one.points.x[within].astype(np.int64)] = one.values[within]
        low = high = cells
        above, below = scale.heights(cells) > 1, scale.heights(cells) < 0
        if one.raw is not None:
            raw_low = np.fmin.reduce(one.raw.low.reshape(columns, DOTS_ACROSS), axis=1)
            raw_high = np.fmax.reduce(one.raw.high.reshape(columns, DOTS_ACROSS), axis=1)
            above |= scale.heights(raw_high) > 1 + SPIKE
            below |= scale.heights(raw_low) < -SPIKE
            low, high = np.fmin(cells, raw_low), np.fmax(cells, raw_high)
        cuts.append(Cut(np.where(above, high, np.nan), ABOVE, one.series.style))
        cuts.append(Cut(np.where(below, low, np.nan), BELOW, one.series.style))
    paint_cuts(canvas, cuts, chart.prefix)


# Raw values are noise: those beyond the edge are marked if they are farther away than the range is
# high, as spikes are.
SPIKE = 1.0


def _paint_letters(canvas: ChartFrame, drawn: Sequence[Drawn], field: Field) -> None:
    """Write each letter to the right of its line's end, those that end together in their order."""
    columns, rows = canvas.size
    ends: dict[int, list[tuple[float, Drawn]]] = {}
    for one in drawn:
        if one.series.letter and one.points.within.any():
            last = np.flatnonzero(one.points.within)[-1]
            height = float(np.clip(field.scale.heights(one.values[last : last + 1])[0], 0.0, 1.0))
            x = min(int(one.points.x[last]) + 1, columns - 1)
            ends.setdefault(x, []).append((1.0 - height, one))
    for x, column in ends.items():
        column.sort(key=lambda end: end[0])  # the upper one first; NaN does not get here
        places = spread_out([min(int(depth * rows), rows - 1) for depth, _ in column], rows)
        for y, (_, one) in zip(places, column, strict=True):
            canvas.write(x, y, one.series.letter[-1], one.series.style)


def spread_out(wanted: Sequence[int], rows: int) -> list[int]:
    """Return a row for each of some rising rows, none twice, as close to them as they all can be.

    Those that share a place lie around it, in their order. If there are more than rows, the last
    ones share the last row.
    """
    groups: list[tuple[float, int]] = []  # where the first of each lies, and how many it has
    for at, row in enumerate(wanted):
        start, count = float(row - at), 1
        while groups and groups[-1][0] > start:
            before, more = groups.pop()
            start = (before * more + start * count) / (more + count)
            count += more
        groups.append((start, count))
    found: list[int] = []
    for start, count in groups:
        found += [round(start) + at for at in range(len(found), len(found) + count)]
    spare = len(wanted) - 1
    return [
        min(max(row, at), max(rows - 1 - (spare - at), at), rows - 1)
        for at, row in enumerate(found)
    ]


def _share_cells(canvas: ChartFrame, curves: Sequence[tuple[Masks, int]]) -> None:
    """Alternate in the cells that several curves share; a cell has only one colour.

    Otherwise the curve drawn last has all of them, and the others seem to end there.

    Args:
        canvas: With the curves drawn on it.
        curves: The dots of each, and its style.
    """
    if len(curves) < 2:
        return
    dots = np.stack([masks for masks, _ in curves])  # (curves, rows, columns)
    through = dots > 0
    count = through.sum(axis=0)
    turn = np.arange(canvas.size[0]) // DASH % np.maximum(count, 1)
    rank = np.cumsum(through, axis=0) - 1
    for masks, cells, place, (_, style) in zip(dots, through, rank, curves, strict=True):
        canvas.lay_braille(np.where((count > 1) & cells & (place == turn), masks, 0), style)


# -- reading -------------------------------------------------------------------------------------


@one_reading()
def value_at(
    series: Series, step: int | None, smoothing: float
) -> tuple[int | None, float | None, float | None]:
    """Return the last value up to a step: its step, the value and, if smoothed, its average.

    A dense series has none beyond its end.

    Args:
        series: Of any kind.
        step: None for the latest value.
        smoothing: Of dense series.
    """
    reduction = reduction_of(series.column)
    row = len(reduction.steps) - 1
    if step is not None:
        if row >= 0 and series.kind != "sparse" and step > reduction.steps[row]:
            return None, None, None
        row = int(np.searchsorted(reduction.steps, step, side="right")) - 1
    if row < 0:
        return None, None, None
    rows = np.array([row])
    value = float(series.shown(reduction.values[rows])[0])
    average = None
    if series.kind != "sparse" and smoothing:
        average = float(series.values_at(rows, smoothing)[0])
    return int(reduction.steps[row]), value, average


def step_in_column(chart: Chart, field: Field, column: int) -> int:
    """Return a step in a cell column: the last of a mark or of a sparse curve, or of any curve."""
    first, last = field.window.borders(field.layout.columns)[column : column + 2].tolist()
    last = max(last, first + 1)
    at_marks = [mark.step for mark in chart.marks if first <= mark.step < last]
    if at_marks:
        return at_marks[-1]
    for series in sorted(chart.series, key=lambda one: one.kind != "sparse"):
        steps = reduction_of(series.column).steps
        row = int(np.searchsorted(steps, last, side="left")) - 1
        if row >= 0 and steps[row] >= first:
            return int(steps[row])
    return int(first)
