"""Thinning a curve to what a screen can show: one point a cell column, pieces split at gaps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engine.metrics import Flags, Steps, Values, column_edges


class Thinned(NamedTuple):
    """Which rows of a curve to draw, and which of them begin a new piece of the line."""

    rows: Steps
    begins: Flags


def thin(steps: Steps, values: Values, first: int, last: int, columns: int) -> Thinned:
    """Choose the last finite row of every cell column.

    A column that holds rows but no finite one breaks the line; an empty column does not, since
    evaluations lie far apart.

    Args:
        steps: Rising steps of all rows.
        values: The values as measured; smoothed ones would hide the gaps.
        first: First step of the window.
        last: Last step of the window, included.
        columns: Cell columns across the window.
    """
    edges = column_edges(steps, first, last, columns)
    filled = np.flatnonzero(edges[:-1] < edges[1:])
    rows = edges[filled + 1] - 1
    for at in np.flatnonzero(~np.isfinite(values[rows])):
        begin, end = edges[filled[at]], edges[filled[at] + 1]
        finite = np.flatnonzero(np.isfinite(values[begin:end]))
        rows[at] = begin + finite[-1] if finite.size else -1
    drawn = rows >= 0
    # A piece begins at the first point, and after every column that had to be left out.
    after_gap = np.concatenate(([True], ~drawn[:-1])) if drawn.size else drawn
    return Thinned(rows[drawn], after_gap[drawn])


def spread(columns: Steps, apart: int) -> Flags:
    """Choose points at least `apart` columns from each other, always with the last one.

    Args:
        columns: Rising cell columns of the points.
        apart: The smallest distance between two chosen points.
    """
    chosen = np.zeros(len(columns), dtype=np.bool_)
    free_up_to: int | None = None
    for at in range(len(columns) - 1, -1, -1):
        if free_up_to is None or columns[at] <= free_up_to:
            chosen[at] = True
            free_up_to = int(columns[at]) - apart
    return chosen
