"""Lines of a text that grows: what is on the screen stays where it is.

Wrapping is by words. The last word of a text is not finished yet, so that it might have to move to
the next line as it grows. It is held back instead while it is near the edge; elsewhere it never
moves. Adding to a text takes time for what is added alone, and the lines are the same in whatever
pieces it comes.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right

from tui.terminal.cells import clusters, drawn, plain

TAB_COLUMNS = 4
LONGEST_WORD = 24  # columns; a longer word may be broken at the edge
LONGEST_LINE = 4096  # characters, of which some texts have thousands in one place
_PARTS = r"\n|[ \t\u3000]+|[^\n \t\u3000]+"  # compiled when there is a text
_BLANKS = " \t\u3000"


class Wrapped:
    """A text in lines of a width.

    Args:
        width: Columns of a line, at least 2.
    """

    def __init__(self, width: int) -> None:
        self.width = max(2, width)
        self.starts = array("q", [0])  # of each line: the index of its first character
        self.lines = [""]  # each without its line break, which may be followed by blanks
        self.length = 0  # characters in the lines; line breaks count
        self._column = 0  # behind the last line, at most the width
        self._bare = True  # nothing is there that could carry a combining mark
        self._held = ""  # a word that may have to move to the next line
        self._held_cells = 0
        self._in_word = False  # the last character belongs to a word that does not move any more

    @property
    def held(self) -> int:
        """Characters that are held back at the end of the text."""
        return len(self._held)

    def add(self, text: str) -> int:
        """Add to the end of the text; return the first line that has changed."""
        first = len(self.lines) - 1
        for part in re.findall(_PARTS, text):
            if part == "\n":
                self._end_word()
                self.length += 1
                self._new_line()
            elif part[0] in _BLANKS:
                self._end_word()
                self._add_blanks(part)
            elif plain(part):
                self._add_word(part, len(part))
            else:
                self._add_unusual(part)
        return first

    def finish(self) -> int:
        """The text ends here; return the first line that has changed."""
        first = len(self.lines) - 1
        self._end_word()
        return first

    def line_at(self, index: int) -> int:
        """Return the line that has a character."""
        return max(0, bisect_right(self.starts, index) - 1)

    # -- words -----------------------------------------------------------------------------------

    def _new_line(self) -> None:
        self.lines.append("")
        self.starts.append(self.length)
        self._column, self._bare = 0, True

    def _put(self, text: str, cells: int) -> None:
        self.lines[-1] += text
        self.length += len(text)
        self._column = min(self.width, self._column + cells)
        self._bare = self._bare and not cells

    def _add_blanks(self, blanks: str) -> None:
        """Blanks past the edge stay on the line, and are not drawn."""
        while blanks:
            room = LONGEST_LINE - len(self.lines[-1])
            if room <= 0:
                self._new_line()
                continue
            column = self._column
            for blank in blanks[:room]:
                tab = TAB_COLUMNS - column % TAB_COLUMNS
                column += tab if blank == "\t" else _cells(blank)
            self._put(blanks[:room], column - self._column)
            self._bare = self.lines[-1][-1] == "\t"
            blanks = blanks[room:]

    def _add_word(self, part: str, cells: int) -> None:
        """Add narrow characters of a word, which may go on."""
        room = self.width - self._column
        if not self._in_word:
            stays = self._column == 0 or room >= min(LONGEST_WORD, self.width)
            if not stays:
                self._held, self._held_cells = self._held + part, self._held_cells + cells
                if self._held_cells <= room:
                    return
                part, cells, self._held, self._held_cells = self._held, self._held_cells, "", 0
                self._new_line()
            self._in_word = True
        if cells <= self.width - self._column:
            self._put(part, cells)
        else:
            self._break_up(part)

    def _break_up(self, part: str) -> None:
        """Put a word that is longer than a line."""
        if plain(part):
            while part:
                if self._column == self.width:
                    self._new_line()
                room = self.width - self._column
                self._put(part[:room], len(part[:room]))
                part = part[room:]
            return
        for character in part:
            cells = _cells(character)
            if cells and self._column + cells > self.width:
                self._new_line()
            self._put(character, cells)

    def _end_word(self) -> None:
        self._in_word = False
        if self._held:
            held, cells, self._held, self._held_cells = self._held, self._held_cells, "", 0
            self._put(held, cells)

    def _add_unusual(self, part: str) -> None:
        """Add part of a word that is not ASCII alone; a line may end beside wide characters."""
        for character in part:
            cells = _cells(character)
            if cells == 2:
                self._end_word()
                if self._column + 2 > self.width:
                    self._new_line()
                self._put(character, 2)
            elif cells == 0 and not self._held:
                if len(self.lines[-1]) >= LONGEST_LINE:
                    self._new_line()
                self._put(character, int(self._bare and bool(drawn(character)[0])))
            else:
                self._add_word(character, cells)


def _cells(character: str) -> int:
    return drawn(character)[1]


def cells_of_line(line: str, width: int) -> list[tuple[int, str, int]]:
    """Return what is drawn of a line of ``Wrapped``: index of the character, text, columns."""
    if plain(line):
        return [(index, letter, 1) for index, letter in enumerate(line[:width])]
    cells: list[tuple[int, str, int]] = []
    column = begin = 0
    for part in re.findall(r"\t|[^\t]+", line):
        if part == "\t":
            size = min(width, column - column % TAB_COLUMNS + TAB_COLUMNS) - column
            found = [(0, " " * size, size)]
        else:
            found = list(clusters(part))
        for index, shown, size in found:
            if column + size > width or not size:
                break
            cells.append((begin + index, shown, size))
            column += size
        begin += len(part)
        if column >= width:
            break
    return cells
