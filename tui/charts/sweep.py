"""The plot of a figure over a setting: a point for each run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tui.charts.axes import MOST_DECADES, nice_values, value_labels

Rows = list[list[tuple[str, str]]]
"""Screen rows as stretches of text, each with the name of its style."""

End = tuple[float, float]
"""Of a piece of a line: x and y."""

LOG_FROM = 8.0  # times the least value, the greatest one: from there the axis is logarithmic
LEAST_COLUMNS, LEAST_ROWS = 12, 3
BEST_SIGN, POINT_SIGN = "★", "●"
LINE_SIGNS = "·-+:"  # of lines; each value of a second setting has its own
BAND_SIGN, MEAN_SIGN = "┃", "╋"


@dataclass(frozen=True)
class Point:
    """A run.

    Attributes:
        x: The value of the setting: a number, or the rank of a value that is none.
        y: The figure.
        sign: What stands there.
        style: The name of the style of the sign.
        line: The index of the line through the points of its kind.
    """

    x: float
    y: float
    sign: str = POINT_SIGN
    style: str = "point"
    line: int = 0


@dataclass(frozen=True)
class Spread:
    """The mean of several points of one value, from the lowest to the highest."""

    x: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Axis:
    """The horizontal axis.

    Attributes:
        labels: Of values that are no numbers, by rank; empty for numbers.
    """

    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class SweepPlot:
    """A drawn plot.

    Attributes:
        rows: Its text.
        places: Column and row of each point, in the order of the points.
        is_log: Whether the horizontal axis is logarithmic.
    """

    rows: Rows
    places: list[tuple[int, int]]
    is_log: bool


def is_logarithmic(values: Sequence[float]) -> bool:
    """Return whether values are positive and span about a decade or more."""
    return bool(values) and min(values) > 0 and max(values) >= LOG_FROM * min(values)


def draw_sweep(
    points: Sequence[Point],
    axis: Axis,
    width: int,
    height: int,
    cursor: int | None = None,
    spreads: Sequence[Spread] = (),
) -> SweepPlot:
    """Draw points with finite values, and lines through the lowest ones of each value.

    Where there are spreads, a single line goes through their means instead.

    Args:
        points: At least one.
        axis: How the values are written.
        width: In cells.
        height: In cells.
        cursor: The index of the point that is looked at.
        spreads: Bands to draw beneath the points.
    """
    xs, ys = [one.x for one in points], [one.y for one in points]
    is_log = not axis.labels and is_logarithmic(xs)
    across, down = _range(xs, is_log, 0.04), _range(ys, False, 0.06)
    y_values = nice_values(*down, max(2, height // 4))
    y_ticks = list(zip(y_values, value_labels(y_values), strict=True))
    left = max((len(label) for _, label in y_ticks), default=0) + 2
    columns, rows = width - left, height - 2
    if columns < LEAST_COLUMNS or rows < LEAST_ROWS:
        return SweepPlot([[] for _ in range(height)], [(0, 0)] * len(points), is_log)
    cells = [[(" ", "blank")] * width for _ in range(height)]
    plane = _Plane(cells, left, columns, rows, across, down, is_log)
    _draw_axes(plane, y_ticks, _x_ticks(across, axis, is_log, columns))
    for sign, (x0, y0), (x1, y1) in _lines(points, spreads):
        begin, end = plane.column(x0), plane.column(x1)
        for x in range(begin + 1, end):
            share = (x - begin) / (end - begin)
            plane.write(x, plane.row(y0 + share * (y1 - y0)), sign, "line")
    for one in spreads:
        for y in range(plane.row(one.high), plane.row(one.low) + 1):
            plane.write(plane.column(one.x), y, BAND_SIGN, "line")
    places = [(plane.column(one.x), plane.row(one.y)) for one in points]
    lowest = min(ys)
    on_top = [*sorted(range(len(points)), key=lambda i: -ys[i])]
    if cursor is not None:
        on_top.append(cursor)
    for i in on_top:
        x, y = places[i]
        plane.write(x, y, points[i].sign, "cursor" if i == cursor else points[i].style)
        if ys[i] == lowest:
            plane.write(x - 1 if x > left else x + 1, y, BEST_SIGN, "best")
    for one in spreads:  # beside its point, if one stands there
        x, y = plane.column(one.x), plane.row(one.mean)
        plane.write(x + ((x, y) in places), y, MEAN_SIGN, "mean")
    return SweepPlot([_stretches(line) for line in cells], places, is_log)


@dataclass(frozen=True)
class _Plane:
    """Cells of text, and where values are in them.

    Attributes:
        cells: Letters and their styles, by row.
        left: The first column of the plot, behind its axis.
        columns: Of the plot.
        rows: Of the plot; below are the axis and its labels.
        across: The ends of the horizontal axis.
        down: The ends of the vertical one.
        is_log: Whether the horizontal axis is logarithmic.
    """

    cells: list[list[tuple[str, str]]]
    left: int
    columns: int
    rows: int
    across: tuple[float, float]
    down: tuple[float, float]
    is_log: bool

    def column(self, x: float) -> int:
        share = _share(x, self.across, self.is_log)
        return self.left + min(int(share * self.columns), self.columns - 1)

    def row(self, y: float) -> int:
        return min(int((1 - _share(y, self.down, False)) * self.rows), self.rows - 1)

    def write(self, x: int, y: int, text: str, style: str) -> None:
        for at, letter in enumerate(text, start=x):
            if 0 <= at < len(self.cells[y]):
                self.cells[y][at] = (letter, style)


def _draw_axes(
    plane: _Plane, y_ticks: Sequence[tuple[float, str]], x_ticks: Sequence[tuple[float, str]]
) -> None:
    left, rows = plane.left, plane.rows
    for y in range(rows):
        plane.write(left - 1, y, "│", "axis")
    plane.write(left - 1, rows, "└" + "─" * plane.columns, "axis")
    for value, label in y_ticks:
        plane.write(left - 2 - len(label), plane.row(value), f"{label} ┤", "tick")
        plane.write(left - 1, plane.row(value), "┤", "axis")
    free = 0
    for value, label in x_ticks:
        at, width = plane.column(value), left + plane.columns
        start = min(max(at - len(label) // 2, 0), width - len(label))
        if start >= free:
            plane.write(at, rows, "┬", "axis")
            plane.write(start, rows + 1, label, "tick")
            free = start + len(label) + 2


def _lines(points: Sequence[Point], spreads: Sequence[Spread]) -> Iterator[tuple[str, End, End]]:
    """Yield the pieces of the lines through the lowest points, each with its sign."""
    if spreads:
        spread_at = {one.x for one in spreads}
        means = [Point(one.x, one.mean) for one in spreads]
        points = [*means, *(replace(one, line=0) for one in points if one.x not in spread_at)]
    for line, sign in enumerate(LINE_SIGNS):
        lowest: dict[float, float] = {}
        for one in points:
            if one.line == line:
                lowest[one.x] = min(one.y, lowest.get(one.x, one.y))
        for begin, end in pairwise(sorted(lowest.items())):
            yield sign, begin, end


def _share(value: float, ends: tuple[float, float], is_log: bool) -> float:
    low, high = ends
    if is_log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _range(values: Sequence[float], is_log: bool, room: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    if is_log:
        begin, end = math.log10(low), math.log10(high)
        more = room * (end - begin)
        return 10 ** max(begin - more, -MOST_DECADES), 10 ** min(end + more, MOST_DECADES)
    span = (high - low) or abs(low) * 0.2 or 1.0
    return low - room * span, high + room * span


def _x_ticks(
    ends: tuple[float, float], axis: Axis, is_log: bool, columns: int
) -> list[tuple[float, str]]:
    low, high = ends
    if axis.labels:
        return [(float(rank), label) for rank, label in enumerate(axis.labels)]
    most = max(2, columns // 12)
    if not is_log:
        inside = nice_values(low, high, most)
        return list(zip(inside, value_labels(inside), strict=True))
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in ((1, 2, 5), (1, 3), (1,)):
        values = [float(f"{m}e{power}") for power in decades for m in mantissas]
        inside = [value for value in values if low <= value <= high]
        if len(inside) <= most:
            break
    inside = inside[:: math.ceil(len(inside) / most)] if inside else [low, high]
    return [(value, value_labels([value])[0]) for value in inside]


def _stretches(line: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    merged: list[tuple[str, str]] = []
    for letter, style in line:
        if merged and merged[-1][1] == style:
            merged[-1] = (merged[-1][0] + letter, style)
        else:
            merged.append((letter, style))
    return merged
