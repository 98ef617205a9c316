"""Heat maps: a matrix as cells of two pixels, one above the other, or as characters of a ramp.

A cell is ``▀`` in the colour of its upper pixel on that of its lower one. Where there are no
colours a cell is a character with more or less ink instead, for the larger of the two: the picture
has the same size.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Matrix: TypeAlias = NDArray[np.float32]
Row: TypeAlias = list[tuple[str, str]]
"""One screen row as stretches of text, each with the name of its style."""

Ink: TypeAlias = Literal["pixels", "blocks", "ascii"]

LEVELS = 17  # of a colour, 0 to 16; each pair of them is a style, which terminals' libraries cache
RAMPS: dict[Ink, str] = {"blocks": " ░▒▓█", "ascii": " .:-=+*#%@"}
NOT_A_NUMBER = {"pixels": "×", "blocks": "×", "ascii": "x"}
BAD = "bad"  # the style of a cell with a value that is no number


def levels(values: Matrix, low: float = 0.0, high: float = 1.0) -> NDArray[np.int64]:
    """Return the level of each value, -1 where it is no number.

    Args:
        low: The value of level 0; those below have it, too.
        high: The value of the highest level.
    """
    width = high - low or 1.0
    with np.errstate(invalid="ignore"):
        scaled = np.clip((values - low) / width, 0.0, 1.0) * (LEVELS - 1)
    found: NDArray[np.int64] = np.where(np.isnan(values), -1, np.rint(np.nan_to_num(scaled)))
    return found.astype(np.int64)


def pooled(values: Matrix, rows: int, columns: int) -> Matrix:
    """Return the largest value of each part, at most so many: one high value stays visible."""
    for axis, most in enumerate((rows, columns)):
        size = values.shape[axis]
        if size > most > 0:
            starts = np.arange(most) * size // most
            values = np.maximum.reduceat(values, starts, axis=axis)
    return values


def draw_heatmap(
    values: Matrix, ink: Ink = "pixels", low: float = 0.0, high: float = 1.0
) -> list[Row]:
    """Draw a matrix: (rows + 1) // 2 screen rows of as many characters as it has columns.

    Styles are named ``heat U L``, the levels of the upper and the lower pixel; ``heat`` where a
    character says it.
    """
    found = levels(values, low, high)  # (rows, columns)
    if found.shape[0] % 2:
        # the half of the last row that has no value has the level of none
        found = np.concatenate([found, np.zeros_like(found[:1])])
    pairs = found.reshape(-1, 2, found.shape[1])  # (screen rows, 2, columns)
    return [_row(upper.tolist(), lower.tolist(), ink) for upper, lower in pairs]


def _row(upper: list[int], lower: list[int], ink: Ink) -> Row:
    row: Row = []
    for above, below in zip(upper, lower, strict=True):
        text, style = _cell(above, below, ink)
        if row and row[-1][1] == style:
            row[-1] = row[-1][0] + text, style
        else:
            row.append((text, style))
    return row


def _cell(above: int, below: int, ink: Ink) -> tuple[str, str]:
    if min(above, below) < 0:
        return NOT_A_NUMBER[ink], BAD
    if ink == "pixels":
        return "▀", f"heat {above} {below}"
    return mark(max(above, below), ink), "heat"


def mark(level: int, ink: Ink) -> str:
    """Return the character for a level where colour alone must not tell it."""
    ramp = RAMPS["ascii" if ink == "ascii" else "blocks"]
    return ramp[round(level * (len(ramp) - 1) / (LEVELS - 1))]
