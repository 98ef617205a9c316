"""A curve in one line of text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite

BLOCKS = "▁▂▃▄▅▆▇█"


def spark(points: Sequence[float | None], width: int) -> str:
    """Draw evenly spaced values as blocks of eight heights, in at most `width` columns.

    None, and values that are not finite, are gaps.
    """
    width = min(width, len(points))
    edges = [round(i * len(points) / width) for i in range(width + 1)] if width else []
    cells = [_mean(points[begin:end]) for begin, end in pairwise(edges)]
    known = [cell for cell in cells if cell is not None]
    low, span = min(known, default=0.0), max(known, default=0.0) - min(known, default=0.0)
    return "".join(" " if cell is None else BLOCKS[_level(cell - low, span)] for cell in cells)


def _mean(points: Sequence[float | None]) -> float | None:
    known = [point for point in points if point is not None and isfinite(point)]
    return sum(known) / len(known) if known else None


def _level(height: float, span: float) -> int:
    return min(len(BLOCKS) - 1, int(height / span * len(BLOCKS))) if span else 0
