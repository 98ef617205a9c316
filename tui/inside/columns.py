"""Values one beside the other as columns: how high each stands is how large it is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from tui.charts.heatmap import Ink, Matrix
from tui.inside.layout import Picture

EIGHTHS = " ▁▂▃▄▅▆▇█"
AXIS = 6  # columns of the values at the left
WIDEST = 4  # columns of one value
LEAST_TOP = 1.0  # of the axis, in bits: less is next to nothing, and looks like it


def draw_columns(
    values: Matrix, width: int, height: int, ink: Ink, ends: tuple[str, str] | None = None
) -> Picture:
    """Draw bits (N,) from 0 to the largest, the mean of a few where there is no room for each.

    What is no number has no column. Below stand ``ends``, or the numbers of the first and the last
    place.
    """
    picture = Picture()
    room, rows = width - AXIS, height - 1
    if not len(values) or room < 1 or rows < 1:
        return picture
    shown = _pooled(values, room)
    wide = max(1, min(WIDEST, room // len(shown)))
    finite = shown[np.isfinite(shown)]
    most = max(float(finite.max()), LEAST_TOP) if len(finite) else LEAST_TOP
    steps = len(EIGHTHS) - 1
    shares = np.where(np.isfinite(shown), shown, 0.0) / most
    heights = np.rint(np.clip(shares, 0.0, 1.0) * rows * steps)
    for row in range(rows):
        over = np.clip(heights - (rows - 1 - row) * steps, 0, steps).astype(int).tolist()
        signs = [_sign(one, ink) * wide for one in over]
        axis = f"{most:{AXIS - 1}.1f}"[: AXIS - 1] if row == 0 else ""
        picture.add((axis.ljust(AXIS), "dim"), ("".join(signs), "bar"))
    first, last = ends or ("0", str(len(values) - 1))
    gap = max(1, len(shown) * wide - len(first) - len(last))
    picture.add((" " * AXIS, "dim"), (first + " " * gap + last, "dim"))
    return picture


def sparkline(values: Matrix, most: float, width: int, ink: Ink) -> str:
    """Return values (N,) from 0 to ``most`` as one row, the mean of a few where there are more."""
    shown = _pooled(values, max(1, width))
    steps = len(EIGHTHS) - 1
    shares = np.clip(np.where(np.isfinite(shown), shown, 0.0) / most, 0.0, 1.0)
    heights = np.maximum(1, np.rint(shares * steps)).astype(int).tolist()
    ramp = " 12345678" if ink == "ascii" else EIGHTHS
    return "".join(
        ramp[one] if ok else " "
        for one, ok in zip(heights, np.isfinite(shown).tolist(), strict=True)
    )


def _sign(eighths: int, ink: Ink) -> str:
    if ink == "ascii":
        return " #"[eighths >= len(EIGHTHS) // 2]
    return EIGHTHS[eighths]


def _pooled(values: Matrix, most: int) -> Matrix:
    """Return the mean of the finite values of each part, at most so many."""
    if len(values) <= most:
        return values
    bounds = (np.arange(most + 1) * len(values) // most).tolist()
    return np.array([_mean(values[begin:end]) for begin, end in pairwise(bounds)], np.float32)


def _mean(values: Matrix) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
