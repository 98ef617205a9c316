"""The tokens of a text in lines, each in a style of its own, with a cursor on one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tui.inside.layout import Picture, Row, Target, cut
from tui.terminal.cells import beginning, cells_of, clusters, padded, plain, straight

NEW_LINE = "↵"
TAB = "→"
CURSOR = "cursor"
EMPTY = '""'  # a token without text
WIDE = {False: "□", True: "?"}  # in place of a character of two columns where there is one
_SIGNS = str.maketrans({"\n": NEW_LINE, "\t": TAB})


@dataclass(frozen=True)
class Piece:
    """A token where it is drawn, or what fits of it on a line."""

    token: int
    text: str
    cells: int


def shown(token: str, ascii: bool = False) -> str:
    """Return a token on one line: line breaks and tabs as signs, control characters visible."""
    signs = token.replace("\n", "\\n").replace("\t", "\\t") if ascii else token.translate(_SIGNS)
    return straight(signs)


def quoted(token: str, ascii: bool = False) -> str:
    """Return a token, or some, as they are named in a list: spaces can be seen."""
    text = shown(token, ascii)
    blank = "_" if ascii else "␣"
    if not text:
        return EMPTY
    return text.replace(" ", blank)


def _visible(tokens: Sequence[str], ascii: bool) -> list[str]:
    """Return tokens as they are drawn in lines: blanks can be seen at the ends of the text."""
    texts = [shown(one, ascii) for one in tokens]
    blank = "_" if ascii else "␣"
    for places, strip in ((range(len(texts)), str.lstrip), (range(len(texts))[::-1], str.rstrip)):
        for place in places:
            text = texts[place]
            rest = strip(text, f" {blank}")
            blanks = text[: len(text) - len(rest)] if strip is str.lstrip else text[len(rest) :]
            signs = blank * len(blanks)
            texts[place] = signs + rest if strip is str.lstrip else rest + signs
            if rest:
                break
    return texts


def initial(token: str, ascii: bool = False) -> str:
    """Return one column for a token: its first character, if that is no wider."""
    text = shown(token, ascii)
    if plain(text):
        return text[:1] or " "
    _, sign, cells = next(clusters(text), (0, " ", 1))
    return sign if cells == 1 else WIDE[ascii]


def lines_of(tokens: Sequence[str], width: int, ascii: bool = False) -> list[list[Piece]]:
    """Lay tokens out in lines, broken behind line breaks and, if there are some, behind spaces."""
    lines: list[list[Piece]] = [[]]
    width, column = max(2, width), 0  # no character is wider
    for number, (token, text) in enumerate(zip(tokens, _visible(tokens, ascii), strict=True)):
        cells = cells_of(text)
        if column + cells > width and lines[-1]:
            moved = _word_at_end(lines[-1], width)
            lines[-1] = lines[-1][: len(lines[-1]) - len(moved)]
            lines.append(moved)
            column = sum(one.cells for one in moved)
        while cells > width:  # a token that is longer than a line
            part = beginning(text, width - column)
            lines[-1].append(Piece(number, part, cells_of(part)))
            lines.append([])
            text, column = text[len(part) :], 0
            cells = cells_of(text)
        lines[-1].append(Piece(number, text, cells))
        column += cells
        if token.endswith("\n"):
            lines.append([])
            column = 0
    if len(lines) > 1 and not lines[-1]:
        lines.pop()
    return lines


def _word_at_end(line: list[Piece], width: int) -> list[Piece]:
    """Return the pieces of a word that is not finished, if it can move to the next line."""
    for place in range(len(line) - 1, 0, -1):
        if line[place - 1].text.endswith(" ") or line[place].text.startswith(" "):
            moved = line[place:]
            return moved if sum(one.cells for one in moved) < width // 2 else []
    return []


def draw_tokens(
    tokens: Sequence[str],
    styles: Sequence[str],
    width: int,
    height: int,
    cursor: int | None = None,
    marks: Sequence[str] | None = None,
    ascii: bool = False,
) -> Picture:
    """Draw tokens; the part of the text with the cursor, if it is longer than the picture.

    Args:
        styles: The name of a style for each token.
        marks: A character for each token, drawn in a row below its line, in the token's style.
    """
    lines = lines_of(tokens, width, ascii)
    per_line = 1 if marks is None else 2
    room = max(1, height // per_line)
    at = next(
        (
            number
            for number, line in enumerate(lines)
            if cursor is not None and any(one.token == cursor for one in line)
        ),
        0,
    )
    top = max(0, min(at - room // 2, len(lines) - room))
    picture = Picture()
    for line in lines[top : top + room]:
        row: Row = []
        column = 0
        for piece in line:
            style = styles[piece.token]
            style = f"{style} {CURSOR}" if piece.token == cursor else style
            row.append((piece.text, style))
            what = ("token", piece.token)
            for below in range(per_line if piece.cells else 0):
                at_row = len(picture.rows) + below
                picture.targets.append(Target(at_row, column, column + piece.cells, what))
            column += piece.cells
        picture.rows.append(row)
        if marks is not None:
            picture.rows.append(
                [
                    (padded(marks[one.token], one.cells)[: one.cells], f"mark {styles[one.token]}")
                    for one in line
                ]
            )
    if top + room < len(lines) and picture.rows:
        picture.rows[-1].append((" …", "dim"))
    return cut(picture, width, height)
