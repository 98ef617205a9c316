"""The cells of a chart, and dense data drawn into them as braille dots."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine.metrics import Values

Characters: TypeAlias = NDArray[np.str_]
Masks: TypeAlias = NDArray[np.uint8]

RUNS = ("run-a", "run-b", "run-c", "run-d", "run-e", "run-f")
"""Names of the styles of runs in one chart."""

STYLES = ("blank", "axis", "tick", "train", "val", "mark", "raw", "bad", "hint", "ghost", *RUNS)
"""Names of the styles of cells, which store the index; the widget has their colours."""

BLANK, AXIS, TICK, TRAIN, VAL, MARK, RAW, BAD, HINT, GHOST = range(len(STYLES) - len(RUNS))
FIRST_RUN = len(STYLES) - len(RUNS)

# A braille cell is two dots wide and four high; the bit of each dot by row and column.
DOTS_ACROSS, DOTS_DOWN = 2, 4
_DOT_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.uint8)
_BRAILLE = np.array([chr(0x2800 + mask) for mask in range(256)])
FIRST_BRAILLE, LAST_BRAILLE = _BRAILLE[1], _BRAILLE[-1]  # without the empty one


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
    present = ~(np.isnan(low) | np.isnan(high))
    top = dot_rows(np.where(present, high, 0.0), rows)
    bottom = dot_rows(np.where(present, low, 0.0), rows)
    each = np.arange(rows * DOTS_DOWN)[:, None]
    lit = present & (top <= each) & (each <= bottom)
    cells = lit.reshape(rows, DOTS_DOWN, columns, DOTS_ACROSS)
    masks: Masks = np.einsum("rdca,da->rc", cells, _DOT_BITS, dtype=np.uint8, casting="unsafe")
    return masks


def dot_rows(heights: Values, rows: int) -> NDArray[np.int64]:
    """Turn heights from 0 to 1 into rows of dots, counted from the top."""
    dots = rows * DOTS_DOWN
    # rounded, so that the last bits of an average do not move a level line
    from_top = np.clip(dots * (1.0 - heights), 0, dots - 1)
    return np.round(from_top, 9).astype(np.int64)
