"""Embeddings: the tokens on a map of two principal components, and the nearest of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tui.charts.heatmap import Ink, Matrix, draw_heatmap, pooled
from tui.inside.layout import Picture, Row, Target, bar, below, beside, cut, guide
from tui.inside.tokens import quoted
from tui.terminal.cells import cells_of, clusters, padded, shortened

WIDE = 100
VERY_WIDE = 160
LIST_WIDTH, WIDE_LIST = 30, 44
MOST_PIXELS = 32  # of the map of positions
SMALLEST_MAP = 16  # columns
LABEL = 12  # columns of the longest
MOST_LABELS = 400  # tokens that are moved a little where their place is taken
BAR = 10
POINT = {"pixels": "·", "blocks": "·", "ascii": "."}
# where a label may go if its own place is taken: rows down, columns to the right
NEAR = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (0, 2), (0, -2), (1, 1), (-1, -1))


@dataclass(frozen=True, kw_only=True)
class Map:
    """What is drawn.

    Attributes:
        points: (V, 2), the tokens on the first two principal components.
        variance: What share of the variance each of the two explains.
        tokens: V strings.
        chosen: The id of the token whose neighbours are shown.
        nearest: The ids of the nearest by cosine, and the cosines.
        cursor: Which of them the cursor is on.
        positions: (P, P), cosines of learned positions; None if there are none.
        guide: What to look for, in paragraphs.
    """

    points: Matrix
    variance: tuple[float, float]
    tokens: Sequence[str]
    chosen: int
    nearest: Sequence[tuple[int, float]]
    cursor: int
    positions: Matrix | None = None
    guide: Sequence[str] = ()


def draw_embeddings(one: Map, width: int, height: int, ink: Ink) -> Picture:
    """Draw the map beside the nearest tokens, and how alike positions are if there is room."""
    wide = width >= WIDE
    list_width = WIDE_LIST if width >= VERY_WIDE else LIST_WIDTH if width >= 70 else 24
    map_width = width - list_width - 2
    right = _draw_nearest(one, min(16, height // 2 if wide else height - 1), ink)
    if one.positions is not None and height - len(right.rows) >= 8:
        room = height - len(right.rows) - 1
        right = below(right, Picture([[]]), _draw_positions(one.positions, list_width, room, ink))
    right = below(right, guide(one.guide, list_width, height - len(right.rows)))
    share = "  ".join(f"{name} {part:.0%}" for name, part in zip("→↑", one.variance, strict=True))
    if ink == "ascii":
        share = share.replace("→", "x").replace("↑", "y")
    title = Picture([[("principal components ", "title"), (f"variance {share}", "dim")]])
    if map_width < SMALLEST_MAP:
        return cut(right, width, height)
    left = below(title, draw_map(one, map_width, max(1, height - 1), ink))
    return cut(beside([(left, map_width), (right, list_width)], height), width, height)


def draw_map(one: Map, width: int, height: int, ink: Ink) -> Picture:
    """Draw each token at its place; those for which there is no room as points."""
    grid: list[list[tuple[str, str] | None]] = [[None] * width for _ in range(height)]
    places = _places(one.points, width, height)  # (V, 2)
    near = {number for number, _ in one.nearest}
    first = dict.fromkeys([one.chosen, *(number for number, _ in one.nearest)])
    there = np.flatnonzero(places[:, 0] >= 0)
    few = len(there) <= MOST_LABELS
    if not few:  # of those at the same place, the first has the label
        there = there[np.sort(np.unique(places[there], axis=0, return_index=True)[1])]
    others = [number for number in there.tolist() if number not in first]
    targets: list[Target] = []
    for number in [*first, *others]:
        row, column = places[number].tolist()
        if row < 0:
            continue
        style = "cursor" if number == one.chosen else "good" if number in near else "ink"
        label = shortened(quoted(one.tokens[number], ink == "ascii"), LABEL)
        length = cells_of(label)
        found = _free(grid, (row, column), length, NEAR if few or number in first else NEAR[:1])
        if found is None:
            if grid[row][column] is None:
                grid[row][column] = (POINT[ink], "dim")
            continue
        row, column = found
        targets.append(Target(row, column, column + length, ("embedding", number)))
        for _, sign, cells in clusters(label):
            grid[row][column : column + cells] = [(sign, style), *[("", style)] * (cells - 1)]
            column += cells
    return Picture([_row_of(cells) for cells in grid], targets)


def _places(points: Matrix, width: int, height: int) -> NDArray[np.int64]:
    """Return row and column of each point, (V, 2); -1 for one that is no number."""
    finite = np.isfinite(points).all(axis=1)  # (V,)
    places = np.full(points.shape, -1, dtype=np.int64)
    if finite.any():
        there = points[finite].astype(np.float64)
        low, high = there.min(0), there.max(0)
        x, y = ((there - low) / np.where(high > low, high - low, 1.0)).T  # 0 to 1
        places[finite, 0] = np.rint((1 - y) * (height - 1))
        places[finite, 1] = np.rint(x * (width - 2))
    return places


def _free(
    grid: list[list[tuple[str, str] | None]],
    place: tuple[int, int],
    length: int,
    near: Iterable[tuple[int, int]] = NEAR,
) -> tuple[int, int] | None:
    """Return a place near to one where so many cells, and one at each side, are free."""
    for down, right in near:
        row, column = place[0] + down, place[1] + right
        if not (0 <= row < len(grid) and column >= 0 and column + length <= len(grid[0])):
            continue
        around = grid[row][max(0, column - 1) : column + length + 1]
        if all(one is None or one[1] == "dim" for one in around):
            return row, column
    return None


def _row_of(cells: Sequence[tuple[str, str] | None]) -> Row:
    row: Row = []
    for text, style in (one or (" ", "ink") for one in cells):
        if row and row[-1][1] == style:
            row[-1] = (row[-1][0] + text, style)
        else:
            row.append((text, style))
    return row


def _draw_nearest(one: Map, count: int, ink: Ink) -> Picture:
    picture = Picture()
    token = quoted(one.tokens[one.chosen], ink == "ascii")
    picture.add(("nearest to ", "title"), (f" {token} ", "cursor"), (" by cosine", "dim"))
    full = "#" if ink == "ascii" else "█"
    for place, (number, cosine) in enumerate(one.nearest[: max(1, count - 1)]):
        name = padded(shortened(quoted(one.tokens[number], ink == "ascii"), 8), 4)
        picture.add(
            (f" {name} ", "cursor" if place == one.cursor else "good"),
            (f"{cosine:6.2f} ", "ink"),
            (bar(cosine, BAR, full), "bar"),
            what=("embedding", number),
        )
    return picture


def _draw_positions(cosines: Matrix, width: int, height: int, ink: Ink) -> Picture:
    picture = Picture([[("positions ", "title"), ("by cosine", "dim")]])
    room = min(width, MOST_PIXELS, 2 * (height - 1))
    for row in draw_heatmap(pooled(cosines, room, room), ink, 0.0, 1.0):
        picture.rows.append(row)
    return picture
