"""Pictures made of rows, put beside and below each other, with what a click on them means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from tui.terminal.cells import beginning, cells_of, shortened, straight

Row: TypeAlias = list[tuple[str, str]]
"""One screen row as stretches of text, each with the name of its style."""

GAP = 2  # columns between two pictures
NARROWEST_GUIDE = 24


@dataclass(frozen=True)
class Target:
    """A part of a picture that can be clicked.

    Attributes:
        row: Its row.
        left: Its first column.
        right: The column behind its last one.
        what: A word, and the numbers of what it is.
        counts: Whether the last of the numbers is that of the first column, and grows by 1 with
            each column.
    """

    row: int
    left: int
    right: int
    what: tuple[str | int, ...]
    counts: bool = False

    def at(self, column: int) -> tuple[str | int, ...]:
        """Return what a column of it is."""
        if not self.counts:
            return self.what
        return (*self.what[:-1], int(self.what[-1]) + column - self.left)


@dataclass
class Picture:
    rows: list[Row] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def add(self, *parts: tuple[str, str], what: tuple[str | int, ...] = ()) -> None:
        """Add a row; with ``what`` the whole of it can be clicked."""
        row = list(parts)
        if what:
            self.targets.append(Target(len(self.rows), 0, width_of(row), what))
        self.rows.append(row)

    def target_at(self, row: int, column: int) -> tuple[str | int, ...]:
        """Return what is at a place, the last that was put there; empty if nothing is."""
        for one in reversed(self.targets):
            if one.row == row and one.left <= column < one.right:
                return one.at(column)
        return ()


def width_of(row: Row) -> int:
    return sum(cells_of(text) for text, _ in row)


def fitted(row: Row, width: int) -> Row:
    """Return a row of exactly this width, with ``…`` where it is cut."""
    kept: Row = []
    room = width
    for text, style in row:
        cells = cells_of(text)
        if cells > room:
            kept.append((shortened(text, room), style))
            room -= cells_of(kept[-1][0])
            break
        kept.append((text, style))
        room -= cells
    return [*kept, (" " * room, "ink")] if room > 0 else kept


def below(*pictures: Picture) -> Picture:
    """Return pictures one below the other."""
    whole = Picture()
    for one in pictures:
        top = len(whole.rows)
        whole.rows += one.rows
        whole.targets += [_moved(target, top, 0) for target in one.targets]
    return whole


def beside(parts: Sequence[tuple[Picture, int]], height: int) -> Picture:
    """Return pictures side by side, each in as many columns as are said, with a gap between."""
    whole = Picture([[] for _ in range(height)])
    left = 0
    for place, (picture, width) in enumerate(parts):
        if place:
            for row in whole.rows:
                row.append((" " * GAP, "ink"))
            left += GAP
        part = cut(picture, width, height)
        for number, row in enumerate(whole.rows):
            row += part.rows[number] if number < len(part.rows) else [(" " * width, "ink")]
        whole.targets += [_moved(one, 0, left) for one in part.targets]
        left += width
    return whole


def cut(picture: Picture, width: int, height: int) -> Picture:
    """Return what fits of a picture."""
    rows = [fitted(row, width) for row in picture.rows[: max(0, height)]]
    inside = [one for one in picture.targets if one.row < len(rows) and one.left < width]
    return Picture(
        rows, [one if one.right <= width else replace(one, right=width) for one in inside]
    )


def draw_tabs(titles: Mapping[str, str], shown: str, width: int) -> Picture:
    """Return the names of views in a row with their numbers; each can be clicked."""
    picture = Picture()
    row: Row = []
    for number, (name, title) in enumerate(titles.items(), 1):
        label = f" {number} {title} "
        left = width_of(row)
        row.append((label, "cursor" if name == shown else "dim"))
        picture.targets.append(Target(0, left, left + len(label), ("view", name)))
    picture.rows.append(fitted(row, width))
    return picture


def window(place: int, size: int, length: int) -> int:
    """Return where a part of a length begins that has a place in its middle, if possible."""
    return max(0, min(place - size // 2, length - size))


def bar(share: float, longest: int, full: str) -> str:
    """Return a bar for a share of its longest; none for what is no finite number."""
    return full * round(max(0.0, min(1.0, share)) * longest) if math.isfinite(share) else ""


def wrapped(text: str, width: int, style: str = "ink") -> Picture:
    """Return plain text in rows, broken between words."""
    picture = Picture()
    line = ""
    for word in _words(text, max(1, width)):
        if line and cells_of(line) + 1 + cells_of(word) > width:
            picture.add((line, style))
            line = word
        else:
            line = f"{line} {word}" if line else word
    if line:
        picture.add((line, style))
    return picture


def guide(paragraphs: Sequence[str], width: int, height: int) -> Picture:
    """Return what to look for, below a gap: as many whole paragraphs as there is room for."""
    picture = Picture([[], [("what to look for", "title")]])
    for text in paragraphs if width >= NARROWEST_GUIDE else ():
        lines = wrapped(text, width, "dim")
        if len(picture.rows) + len(lines.rows) + 1 > height:
            break
        picture = below(picture, lines, Picture([[]]))
    return picture if len(picture.rows) > 2 else Picture()


def _words(text: str, width: int) -> Iterable[str]:
    """Yield the words of a text, those that are longer than a line in parts."""
    for word in text.split():
        rest = straight(word)
        while cells_of(rest) > width and (part := beginning(rest, width)):
            yield part
            rest = rest[len(part) :]
        yield rest


def figures(parts: Iterable[tuple[str, str]]) -> Row:
    """Return a row of values with their names: ``name value``, two spaces between."""
    row: Row = []
    for name, value in parts:
        row += [(("  " if row else "") + name + " ", "dim"), (value, "ink")]
    return row


def figure_rows(parts: Sequence[tuple[str, str]], width: int, before: Row | None = None) -> Picture:
    """Return values with their names in as many rows as they need, behind what begins the first."""
    picture = Picture([[*(before or [])]])
    for name, value in parts:
        row = picture.rows[-1]
        one = figures([(name, value)])
        if row and width_of(row) + GAP + width_of(one) > width:
            picture.rows.append(one)
        else:
            row += [(" " * GAP, "dim"), *one] if row else one
    return picture


def _moved(target: Target, down: int, right: int) -> Target:
    if not down and not right:
        return target
    at = target.row + down, target.left + right, target.right + right
    return Target(*at, target.what, target.counts)
