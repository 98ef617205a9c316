"""What is drawn of each character of a foreign text, and how many columns that takes.

Terminals disagree about the width of joined emoji, flags, skin tones and characters newer than
they are; one column more or less shifts the rest of the row, the frame included. What is drawn here
has one width only: emoji are drawn one by one, flags as their two letters, and what may be unknown
as ``�``. Control characters are those of ``tui.terminal.visible``.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator

from rich.cells import get_character_cell_size

from tui.terminal.visible import REPLACEMENT, visible_line

ELLIPSIS = "…"
PLACE_HOLDER = "◌"  # carries a combining mark that has nothing to combine with
MOST_MARKS = 4  # combining marks drawn on one character; some texts have hundreds
FEW = 32  # characters of a text whose columns are remembered
FLAG_LETTERS = range(0x1F1E6, 0x1F200)
SKIN_TONES = range(0x1F3FB, 0x1F400)
SOFT_HYPHEN = 0xAD


def plain(text: str) -> bool:
    """Return whether each character is drawn as it is, in one column."""
    return text.isascii() and text.isprintable()


@functools.lru_cache(maxsize=8192)
def drawn(character: str) -> tuple[str, int]:
    """Return what is drawn of a character, and its columns: 0 if it joins the one before."""
    shown = visible_line(character)
    if shown != character:
        return shown, 1
    code, category = ord(character), unicodedata.category(character)
    if code in FLAG_LETTERS:
        return chr(ord("A") + code - FLAG_LETTERS[0]), 1
    if code in SKIN_TONES or code == SOFT_HYPHEN:
        return "", 0
    if category in ("Cn", "Cs"):
        return REPLACEMENT, 1
    cells = get_character_cell_size(character)
    if cells == 0 and (category == "Cf" or _is_variation_selector(code)):
        return "", 0
    return character, cells


def _is_variation_selector(code: int) -> bool:
    return 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF or 0x180B <= code <= 0x180F


def clusters(text: str) -> Iterator[tuple[int, str, int]]:
    """Yield what is drawn in one place: the index of its first character, the text, its columns."""
    begin, shown, cells, marks = 0, "", -1, 0
    for index, character in enumerate(text):
        sign, size = drawn(character)
        if size == 0 and cells > 0:
            marks += bool(sign)
            shown += sign if marks <= MOST_MARKS else ""
            continue
        if cells > 0:
            yield begin, shown, cells
        elif cells == 0:  # nothing was drawn yet: it belongs to this one
            index = begin
        begin, marks = index, 0
        shown, cells = (PLACE_HOLDER + sign, 1) if size == 0 and sign else (sign, size)
    if cells > 0:
        yield begin, shown, cells


def cells_of(text: str) -> int:
    """Return the columns that a text takes."""
    if plain(text):
        return len(text)
    return _cells_of_few(text) if len(text) <= FEW else sum(cells for _, _, cells in clusters(text))


@functools.lru_cache(maxsize=8192)
def _cells_of_few(text: str) -> int:
    """Return the same of a short text: blocks and bars come again and again."""
    return sum(cells for _, _, cells in clusters(text))


def straight(text: str) -> str:
    """Return a line as it is drawn."""
    return text if plain(text) else "".join(shown for _, shown, _ in clusters(text))


def shortened(text: str, width: int) -> str:
    """Return a line as it is drawn, with ``…`` at its end if it needs more columns."""
    if cells_of(text) <= width:
        return straight(text)
    return beginning(text, width - 1) + ELLIPSIS if width > 0 else ""


def beginning(text: str, width: int) -> str:
    """Return as much of a line, as it is drawn, as so many columns hold."""
    if plain(text):
        return text[: max(0, width)]
    kept, room = "", width
    for _, shown, cells in clusters(text):
        if cells > room:
            break
        kept, room = kept + shown, room - cells
    return kept


def padded(text: str, width: int) -> str:
    """Return a line of drawn text with spaces behind it, in at least so many columns."""
    return text + " " * (width - cells_of(text))
