"""The most frequent tokens of a text, and how long its tokens are, as bars."""

from __future__ import annotations

from collections.abc import Sequence

from tui.inside.layout import Picture, bar, fitted
from tui.inside.tokens import quoted
from tui.terminal.cells import padded, shortened

NAME = 12  # columns of a token
LONGEST_BAR = 30


def draw_frequent(
    tokens: Sequence[tuple[str, int, int]], total: int, width: int, height: int, ascii: bool = False
) -> Picture:
    """Draw the most frequent tokens, the first one first: text, id and count of each."""
    picture = Picture([fitted([("most frequent tokens", "title")], width)])
    most = tokens[0][2] if tokens else 1
    for text, id, count in tokens[: max(0, height - 1)]:
        name = padded(shortened(quoted(text, ascii), NAME), NAME)
        figures = f"{id:>6} {count / total:>6.2%} "
        full = bar(count / most, _room(width, NAME + len(figures)), _ink(ascii))
        picture.add((name, "ink"), (figures, "dim"), (full, "bar"))
    return picture


def draw_lengths(
    lengths: Sequence[tuple[str, int]], total: int, width: int, height: int, ascii: bool = False
) -> Picture:
    """Draw how many tokens have which length: a label and a count of each."""
    picture = Picture([fitted([("length of tokens in bytes", "title")], width)])
    most = max((count for _, count in lengths), default=1) or 1
    for label, count in lengths[: max(0, height - 1)]:
        figures = f"{label:>6} {count / total:>7.2%} "
        full = bar(count / most, _room(width, len(figures)), _ink(ascii))
        picture.add((figures, "dim"), (full, "bar"))
    return picture


def _room(width: int, used: int) -> int:
    return max(0, min(LONGEST_BAR, width - used - 1))


def _ink(ascii: bool) -> str:
    return "#" if ascii else "█"
