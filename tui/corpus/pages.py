"""A part of a text on the screen: as it reads, or as tokens that are told apart."""

from __future__ import annotations

from collections.abc import Sequence

from tui.inside.layout import Picture, Row, Target, fitted
from tui.inside.tokens import CURSOR, NEW_LINE, Piece, lines_of

APART = ("apart 0", "apart 1")  # styles of neighbours
MATCH = "cursor"


def draw_text(lines: Sequence[Sequence[Piece]], width: int, match: range) -> Picture:
    """Draw lines of a text as they read.

    Args:
        lines: Of ``lines_of``.
        match: The tokens that were searched for and found.
    """
    picture = Picture()
    for line in lines:
        row: Row = []
        for piece in line:
            text = piece.text.removesuffix(NEW_LINE)
            row.append((text, MATCH if piece.token in match else "ink"))
        picture.rows.append(fitted(row, width))
    return picture


def draw_apart(
    lines: Sequence[Sequence[Piece]], width: int, first: int, cursor: int, match: range
) -> Picture:
    """Draw lines of tokens, told apart by turns.

    Args:
        first: The place in the text of the first token, so that its turn stays as one scrolls.
        cursor: The token that is looked at, counted from the first.
    """
    picture = Picture()
    for number, line in enumerate(lines):
        row: Row = []
        column = 0
        for piece in line:
            style = APART[(first + piece.token) % 2]
            if piece.token == cursor or piece.token in match:
                style = f"{style} {CURSOR}"
            row.append((piece.text, style))
            end = column + piece.cells
            picture.targets.append(Target(number, column, end, ("token", first + piece.token)))
            column = end
        picture.rows.append(fitted(row, width))
    return picture


def page_back(texts: Sequence[str], width: int, lines: int, ascii: bool = False) -> int:
    """Return where a page of so many lines begins that ends with these tokens."""
    laid_out = lines_of(texts, width, ascii)[-lines:]
    return laid_out[0][0].token if laid_out and laid_out[0] else 0
