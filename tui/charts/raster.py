"""The cells of a chart, and dense data drawn into them as braille dots."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from engine.metrics import Flags, Values

Characters: TypeAlias = NDArray[np.str_]
Masks: TypeAlias = NDArray[np.uint8]

RUNS = ("run-a", "run-b", "run-c", "run-d", "run-e", "run-f")
"""Names of the styles of runs in one chart."""

STYLES = (
    "blank", "axis", "tick", "train", "val", "mark", "raw", "bad", "hint", "ghost", "reference",
    "cursor", *RUNS,
)  # fmt: skip
"""Names of the styles of cells, which store the index; the widget has their colours."""

(
    BLANK, AXIS, TICK, TRAIN, VAL, MARK, RAW, BAD, HINT, GHOST, REFERENCE, CURSOR
) = range(len(STYLES) - len(RUNS))  # fmt: skip
FIRST_RUN = len(STYLES) - len(RUNS)


class Stroke(NamedTuple):
    """How the line of a curve is interrupted, so that it is told from others without colours."""

    pattern: str  # of cells along the line, those to draw and, as spaces, those to leave out
    sample: str  # of legends
    dashes: str  # of a picture, as SVG has them; empty for none


STROKES = (
    Stroke("━", "━━━━━━", ""),
    Stroke("━━━━  ", "━━  ━━", "14 7"),
    Stroke("━ ", "━ ━ ━", "3 5"),
    Stroke("━━━━ ━ ", "━━━ ━", "14 5 3 5"),
    Stroke("━━━━━━━━━  ", "━━━━ ━", "32 7"),
    Stroke("━━━━ ━ ━ ", "━━ ━ ━", "14 5 3 5 3 5"),
)
"""As many as hues; where these come again, each has the next stroke."""

SOLID, DASHED, DOTTED, DASH_DOT = range(4)


def stroke_of(place: int) -> int:
    """Return the index of the stroke of a run: each pair of hue and stroke comes once in 36."""
    return (place + place // len(RUNS)) % len(STROKES)


# A braille cell is two dots wide and four high; the bit of each dot by row and column.
DOTS_ACROSS, DOTS_DOWN = 2, 4
DOT_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.uint8)
_BRAILLE = np.array([chr(0x2800 + mask) for mask in range(256)])

DISC = "●"


@dataclass(frozen=True, eq=False, slots=True)
class ChartFrame:
    """A drawn chart: a character and a style index for each cell."""

    characters: Characters
    styles: NDArray[np.uint8]

    @classmethod
    def blank(cls, width: int, height: int) -> ChartFrame:
        return cls(np.full((height, width), " "), np.zeros((height, width), dtype=np.uint8))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in cells."""
        height, width = self.characters.shape
        return width, height

    def row(self, y: int) -> list[tuple[str, str]]:
        """Return row `y` as stretches of (text, style name)."""
        text, styles = "".join(self.characters[y]), self.styles[y]
        borders = [0, *(np.flatnonzero(styles[1:] != styles[:-1]) + 1).tolist(), len(text)]
        return [(text[a:b], STYLES[styles[a]]) for a, b in pairwise(borders) if a < b]

    def text(self) -> list[str]:
        return ["".join(row) for row in self.characters]

    def part(self, rows: slice, columns: slice) -> ChartFrame:
        """Return a rectangle of this frame; painting it paints this frame."""
        return ChartFrame(self.characters[rows, columns], self.styles[rows, columns])

    def write(self, x: int, y: int, text: str, style: int) -> None:
        """Write text that fits into row `y` from column `x` on."""
        # numpy drops a NUL at the end of a string, so that the cell would be empty
        self.characters[y, x : x + len(text)] = list(text.replace("\0", " "))
        self.styles[y, x : x + len(text)] = style

    def differences(self, other: ChartFrame) -> list[tuple[int, int, int]]:
        """Return row, first and last column of the cells in which two frames of one size differ."""
        differ = (self.characters != other.characters) | (self.styles != other.styles)
        found = []
        for y in np.flatnonzero(differ.any(axis=1)).tolist():
            columns = np.flatnonzero(differ[y])
            found.append((y, int(columns[0]), int(columns[-1])))
        return found

    def copy(self) -> ChartFrame:
        return ChartFrame(self.characters.copy(), self.styles.copy())

    def lay_braille(self, masks: Masks, style: int) -> None:
        """Show braille dots in place of what is there."""
        lit = masks > 0
        self.characters[lit] = _BRAILLE[masks[lit]]
        self.styles[lit] = style

    def lay_braille_beneath(self, masks: Masks, style: int) -> None:
        """Show braille dots in the cells that are still blank."""
        free = (self.styles == BLANK) & (masks > 0)
        self.characters[free] = _BRAILLE[masks[free]]
        self.styles[free] = style


def braille_masks(low: Values, high: Values, rows: int, columns: int) -> Masks:
    """Draw one upright stroke in every dot column, from its lowest to its highest value.

    Args:
        low: Lower ends, two for each cell column, as heights from 0 (bottom) to 1 (top); NaN
            leaves the dot column empty.
        high: Upper ends likewise.
        rows: Height of the canvas in cells.
        columns: Width of the canvas in cells.

    Returns:
        The dots of each cell as a bit mask, to be added to U+2800.
    """
    with np.errstate(invalid="ignore"):
        present = (low <= 1.0) & (high >= 0.0)  # not NaN, and within the canvas in part
    top = dot_rows(np.where(present, high, 0.0), rows)
    bottom = dot_rows(np.where(present, low, 0.0), rows)
    each = np.arange(rows * DOTS_DOWN)[:, None]
    lit = present & (top <= each) & (each <= bottom)
    cells = lit.reshape(rows, DOTS_DOWN, columns, DOTS_ACROSS)
    masks: Masks = np.einsum("rdca,da->rc", cells, DOT_BITS, dtype=np.uint8, casting="unsafe")
    return masks


# Cells that a line falls or rises within a column, from which it is dashed downwards there: a gap
# of the whole column would be as high.
STEEP = 3


def dashed(masks: Masks, stroke: int) -> Masks:
    """Leave out cells of a line, by their place on the canvas: dashes do not move with the data."""
    pattern = np.array([sign != " " for sign in STROKES[stroke].pattern])
    if pattern.all():
        return masks
    rows, columns = (np.resize(pattern, length) for length in masks.shape)
    return np.where(np.where(_steep(masks > 0), rows[:, None], columns), masks, np.uint8(0))


def _steep(lit: Flags) -> Flags:
    """Return the columns in which a line goes on from one neighbour to the other; noise returns."""
    rows = len(lit)
    there = lit.any(axis=0)
    top = np.where(there, lit.argmax(axis=0), rows)
    bottom = np.where(there, rows - 1 - lit[::-1].argmax(axis=0), -1)
    falls, rises = bottom[:-1] <= top[1:] + 1, top[:-1] >= bottom[1:] - 1  # to the next column
    falls, rises = (np.append(True, one) & np.append(one, True) for one in (falls, rises))
    steep: Flags = (bottom - top + 1 >= STEEP) & (falls | rises)
    return steep


def dot_rows(heights: Values, rows: int) -> NDArray[np.int64]:
    """Turn heights from 0 to 1 into rows of dots, counted from the top."""
    dots = rows * DOTS_DOWN
    # rounded, so that the last bits of an average do not move a level line
    from_top = np.clip(dots * (1.0 - heights), 0, dots - 1)
    return np.round(from_top, 9).astype(np.int64)


def band_masks(low: Values, high: Values, rows: int, columns: int) -> Masks:
    """Draw a band as `braille_masks` does, with every second dot of what is more than a line."""
    masks = braille_masks(low, high, rows, columns)
    with np.errstate(invalid="ignore"):
        thick = (high - low) * rows * DOTS_DOWN > 2.0
    return np.where(thick.reshape(columns, DOTS_ACROSS).any(axis=1), masks & CHECKERED, masks)


CHECKERED = np.uint8(sum(int(DOT_BITS[down, (down % 2)]) for down in range(DOTS_DOWN)))
"""Half of the dots of a cell, as on a chessboard."""


def widened(low: Values, high: Values, reach: int) -> tuple[Values, Values]:
    """Let each stroke reach as far as its neighbours within some dot columns together."""
    if reach < 2 or len(low) < reach:
        return low, high
    present = ~np.isnan(low)
    low, high = np.where(present, low, np.inf), np.where(present, high, -np.inf)
    before, after = (reach - 1) // 2, reach // 2
    lows = sliding_window_view(np.pad(low, (before, after), constant_values=np.inf), reach)
    highs = sliding_window_view(np.pad(high, (before, after), constant_values=-np.inf), reach)
    low, high = lows.min(axis=1), highs.max(axis=1)
    return np.where(present, low, np.nan), np.where(present, high, np.nan)


def joined(low: Values, high: Values, broken: Flags) -> tuple[Values, Values]:
    """Join strokes to those before them, across empty dot columns: a band instead of dust.

    Args:
        low: Lower ends of the strokes by dot column, NaN where there is none.
        high: Upper ends.
        broken: Dot columns with a value that is not finite: nothing is joined across them.
    """
    filled = np.flatnonzero(~np.isnan(low))
    if filled.size < 2:
        return low, high
    dots = np.arange(len(low))
    new_low, new_high = np.interp(dots, filled, low[filled]), np.interp(dots, filled, high[filled])
    # each stroke reaches down to the top of the one before, and up to its bottom
    new_low[1:] = np.minimum(new_low[1:], np.maximum(new_low[:-1], new_high[:-1]))
    new_high[1:] = np.maximum(new_high[1:], np.minimum(new_low[:-1], new_high[:-1]))
    piece = np.cumsum(broken & np.isnan(low))
    before = np.maximum.accumulate(np.where(np.isnan(low), -1, dots))
    after = np.minimum.accumulate(np.where(np.isnan(low), len(low), dots)[::-1])[::-1]
    inside = (before >= 0) & (after < len(low))
    inside &= piece[np.maximum(before, 0)] == piece[np.minimum(after, len(low) - 1)]
    return np.where(inside, new_low, np.nan), np.where(inside, new_high, np.nan)
