"""Telling the terminal only the cells that change.

Textual paints a whole screen two to four times while it opens, and a whole widget when one of its
cells changes. Most of these cells are on the terminal already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import compress, count, repeat
from operator import ne
from typing import Any, Generic

from rich.cells import get_character_cell_size
from rich.console import Console, RenderableType
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.app import App, ReturnType
from textual.screen import Screen
from textual.strip import Strip

from tui.terminal.styles import PLAIN, SELECT, Style, after, change, for_blanks, without_repetition

GAP = 8  # cells that are written again rather than passed over, which takes as many characters
EMOJI = "\U0001f000"  # from here on terminals do not agree how wide a character is

Piece = tuple[int, int, str, int]  # column and row, both from 0, what Rich has rendered, its cells
Cell = tuple[str, Style | int]  # a character and its style; of a whole, all of it and a column


class ShownCells:
    """What each cell of the terminal shows, as far as it is known."""

    def __init__(self) -> None:
        self._rows: dict[int, list[Cell | None]] = {}
        # by row and column, those that nothing was written over
        self._pieces: dict[int, dict[int, Piece]] = {}

    def forget(self) -> None:
        """Tell everything again: something else may have written to the terminal."""
        self._rows.clear()
        self._pieces.clear()

    def write(self, pieces: Iterable[Piece]) -> str:
        """Return what shows pieces of rows: it writes only the cells that differ.

        A piece with characters of another width than one cell is written as a whole, because a
        terminal may not agree where its cells are.
        """
        pen = _Pen()
        for piece in pieces:
            x, y, rendered, width = piece
            if not width or self._is_shown(piece):
                continue
            cells = _cells(rendered, width)
            row = self._rows.setdefault(y, [])
            if len(row) < x + width:
                row += repeat(None, x + width - len(row))
            before = row[x : x + width]
            row[x : x + width] = cells
            if before == cells:
                continue
            if isinstance(cells[0][1], int):
                pen.draw_whole(x, y, rendered)
                continue
            for first, end in _differences(before, cells):
                pen.draw(x + first, y, cells[first:end])
        return pen.drawn()

    def _is_shown(self, piece: Piece) -> bool:
        """Return whether it was the last one there; from now on it is."""
        x, y, _, width = piece
        row = self._pieces.setdefault(y, {})
        if row.get(x) == piece:
            return True
        for other in [one for one in row.values() if one[0] < x + width and x < one[0] + one[3]]:
            del row[other[0]]
        row[x] = piece
        return False


def _cells(rendered: str, width: int) -> list[Cell]:
    """Return the cells of a piece of a row."""
    plain, *rest = SELECT.split(rendered)
    selects, texts = rest[::2], rest[1::2]
    cells: list[Cell] = [(one, PLAIN) for one in plain]
    style = PLAIN
    for select, text in zip(selects, texts, strict=True):
        style = after(style, select)
        # two blanks of the same background look the same
        blank = for_blanks(PLAIN, style)
        cells += [(one, blank if one == " " else style) for one in text]
    if len(cells) == width and all(map(_is_narrow, {*plain, *"".join(texts)})):
        return cells
    return [(rendered, column) for column in range(width)]


@lru_cache(4096)
def _is_narrow(character: str) -> bool:
    """Return whether a character takes one cell of every terminal."""
    return character.isprintable() and character < EMOJI and get_character_cell_size(character) == 1


def _differences(before: list[Cell | None], cells: list[Cell]) -> Iterator[tuple[int, int]]:
    """Yield from where to where cells differ, with small gaps between them included."""
    differ = list(compress(count(), map(ne, before, cells)))
    first = last = differ[0]
    for column in differ:
        if column - last > GAP + 1:
            yield first, last + 1
            first = column
        last = column
    yield first, last + 1


class _Pen:
    """Writes cells, and of places and styles only what is not in force.

    The terminal has its default style before and after it.
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._place = -1, -1  # of the cursor, where it is known
        self._told = PLAIN

    def draw(self, x: int, y: int, cells: list[Cell]) -> None:
        """Draw cells from a place on."""
        if self._place != (x, y):
            self._parts.append(f"\x1b[{y + 1};{x + 1}H")
        self._place = x + len(cells), y
        told, add = self._told, self._parts.append
        for character, style in cells:
            if style is not told:
                assert not isinstance(style, int)
                needed = for_blanks(told, style) if character == " " else style
                add(change(told, needed))
                told = needed
            add(character)
        self._told = told

    def draw_whole(self, x: int, y: int, rendered: str) -> None:
        """Draw what Rich has rendered."""
        place = f"\x1b[{y + 1};{x + 1}H"
        self._parts += [place, change(self._told, PLAIN), without_repetition(rendered)]
        self._place, self._told = (-1, -1), PLAIN

    def drawn(self) -> str:
        """Return what is sent to the terminal."""
        return "".join([*self._parts, change(self._told, PLAIN)])


class Changes(CompositorUpdate):
    """An update of the screen, written as the cells that differ from those shown."""

    def __init__(self, update: LayoutUpdate | ChopsUpdate, shown: ShownCells) -> None:
        self.pieces = _of_layout(update) if isinstance(update, LayoutUpdate) else _of_chops(update)
        self.shown = shown

    def render_segments(self, console: Console) -> str:
        """Render to what is sent to the terminal, which shows it from then on."""
        return self.shown.write(
            (x, y, strip.render(console), strip.cell_length) for x, y, strip in self.pieces
        )


def _of_layout(update: LayoutUpdate) -> Iterator[tuple[int, int, Strip]]:
    """Yield the pieces of a whole screen, with their places."""
    for y, line in enumerate(update.strips, update.region.y):
        x = update.region.x
        for strip in line:
            yield x, y, strip
            x += strip.cell_length


def _of_chops(update: ChopsUpdate) -> Iterator[tuple[int, int, Strip]]:
    """Yield the pieces of rows that are updated from one column to another."""
    for y, first, last in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is not None and x <= last and end > first:
                yield x, y, strip.crop(0, min(end, last) - x)


class TellsChanges(App[ReturnType], Generic[ReturnType]):
    """An app that sends the terminal what changes."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = ShownCells()

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        update: Any = renderable
        if isinstance(renderable, LayoutUpdate | ChopsUpdate):
            update = Changes(renderable, self.shown)
        super()._display(screen, update)

    def on_resize(self) -> None:
        """What a terminal of another size shows is not known."""
        self.shown.forget()
