"""Screens of the app as one animated SVG file, which any browser plays."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple
from xml.sax.saxutils import escape

from rich.cells import cell_len
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import SVG_EXPORT_THEME as COLOURS
from textual.strip import Strip

CELL_WIDTH, CELL_HEIGHT, FONT_SIZE, MARGIN = 8.4, 17.0, 14, 12
BASELINE = 13.0  # of a row's letters, below its top
BACKGROUND = "#121212"
FONTS = "'DejaVu Sans Mono', Menlo, Consolas, monospace"


class _Look(NamedTuple):
    ink: str
    ground: str
    bold: bool


class Animation:
    """Collects screens; rows that several of them share are in the file once.

    Args:
        columns: Of the terminal.
        rows: Of the terminal.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self._ids: dict[str, int] = {}  # a row's drawing -> its number
        self._inks: dict[str, int] = {}
        self._frames: list[tuple[list[int], float]] = []  # rows, and how long they are shown

    def add(self, strips: Sequence[Strip], seconds: float) -> None:
        """Show a screen for some time; longer if it is the one before."""
        frame = [self._row(strip) for strip in strips[: self.rows]]
        if self._frames and self._frames[-1][0] == frame:
            seconds += self._frames.pop()[1]
        self._frames.append((frame, seconds))

    def svg(self) -> str:
        """Return the file: the screens beneath each other, of which one is in the window."""
        width = self.columns * CELL_WIDTH + 2 * MARGIN
        height = self.rows * CELL_HEIGHT + 2 * MARGIN
        whole = sum(seconds for _, seconds in self._frames)
        steps, uses, at = [], [], 0.0
        for number, (frame, seconds) in enumerate(self._frames):
            steps.append(f"{100 * at / whole:.3f}%{{transform:translateY({-number * height:g}px)}}")
            at += seconds
            uses += [
                f'<use href="#r{row}" y="{number * height + MARGIN + y * CELL_HEIGHT:g}"/>'
                for y, row in enumerate(frame)
            ]
        drawings = [f'<g id="r{number}">{row}</g>' for row, number in self._ids.items()]
        inks = [f".c{number}{{fill:{ink}}}" for ink, number in self._inks.items()]
        style = (
            f"text{{font:{FONT_SIZE}px {FONTS};white-space:pre}}.b{{font-weight:bold}}"
            f"#film{{animation:film {whole:.2f}s step-end infinite}}"
            f"@keyframes film{{{''.join(steps)}}}{''.join(inks)}"
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
            f'width="{width:g}" height="{height:g}"><style>{style}</style>'
            f"<defs>{''.join(drawings)}</defs>"
            f'<rect width="{width:g}" height="{height:g}" rx="8" fill="{BACKGROUND}"/>'
            f'<g id="film">{"".join(uses)}</g></svg>\n'
        )

    def _row(self, strip: Strip) -> int:
        drawn, x = [], 0
        for look, segments in groupby(strip, _look):
            text = "".join(segment.text for segment in segments)
            cells = cell_len(text)
            left, length = MARGIN + x * CELL_WIDTH, cells * CELL_WIDTH
            if look.ground != BACKGROUND:
                drawn.append(
                    f'<rect class="{self._ink(look.ground)}" x="{left:g}" width="{length + 0.3:g}" '
                    f'height="{CELL_HEIGHT + 0.3:g}"/>'
                )
            if kept := text.strip():
                begin = cell_len(text[: len(text) - len(text.lstrip())])
                bold = " b" if look.bold else ""
                drawn.append(
                    f'<text class="{self._ink(look.ink)}{bold}" '
                    f'x="{left + begin * CELL_WIDTH:.1f}" y="{BASELINE:g}" '
                    f'textLength="{cell_len(kept) * CELL_WIDTH:.1f}" '
                    f'lengthAdjust="spacingAndGlyphs">{escape(kept)}</text>'
                )
            x += cells
        return self._ids.setdefault("".join(drawn), len(self._ids))

    def _ink(self, colour: str) -> str:
        return f"c{self._inks.setdefault(colour, len(self._inks))}"


def _look(segment: Segment) -> _Look:
    style = segment.style or Style.null()
    ink = _hex(style.color, is_ink=True)
    ground = _hex(style.bgcolor, is_ink=False)
    if style.reverse:
        ink, ground = ground, ink
    return _Look(ink, ground, bool(style.bold))


def _hex(colour: Color | None, *, is_ink: bool) -> str:
    if colour is None or colour.is_default:
        return COLOURS.foreground_color.hex if is_ink else BACKGROUND
    return colour.get_truecolor(COLOURS, foreground=is_ink).hex
