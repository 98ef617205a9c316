"""Braille, blocks or ASCII: charts are drawn in braille, and translated for other terminals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from tui.charts.raster import ChartFrame

CharacterSet: TypeAlias = Literal["braille", "block", "ascii"]

FIRST_BRAILLE = 0x2800

# Left and right dots of the four rows of a braille cell.
_LEFT, _RIGHT = (0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80)
_QUADRANTS = " ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"  # by bits: upper left, upper right, lower left, lower right

_ASCII = str.maketrans({
    "│": "|", "─": "-", "╌": ".", "┤": "+", "┬": "+", "└": "+", "┊": ":", "┈": ".", "┆": ":",
    "▲": "^", "▼": "v", "◆": "*", "◇": "o", "★": "@", "▪": "#", "•": ".", "×": "x", "●": "o",
    "━": "=", "·": "-", "…": "~", "→": ">", "↑": "^", "█": "#", "▌": "#", "⢕": ":", "±": "~",
    "–": "-", "−": "-", "▸": ">", "✓": "+", "√": "v", "Σ": "S", "≤": "<", "↵": "\\", "␣": "_",
})  # fmt: skip


def in_ascii(text: str) -> str:
    """Return a text with the signs of this program as ASCII, in as many columns."""
    return text if text.isascii() else text.translate(_ASCII)


def detected(environ: Mapping[str, str]) -> CharacterSet:
    """Return what the terminal is likely to show, by its locale and type."""
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    coding = locale.rpartition(".")[2].partition("@")[0].lower().replace("-", "")
    if locale in ("C", "POSIX") or (locale and "." in locale and coding != "utf8"):
        return "ascii"
    if environ.get("TERM", "").split("-")[0] in ("linux", "vt100", "vt220", "vt102", "ansi"):
        return "block" if environ.get("TERM", "") == "linux" else "ascii"
    return "braille"


def _block(dots: int) -> str:
    corners = (
        dots & (_LEFT[0] | _LEFT[1]),
        dots & (_RIGHT[0] | _RIGHT[1]),
        dots & (_LEFT[2] | _LEFT[3]),
        dots & (_RIGHT[2] | _RIGHT[3]),
    )
    return _QUADRANTS[sum(1 << bit for bit, lit in enumerate(corners) if lit)]


def _ascii(dots: int) -> str:
    """Return the character whose ink is where the dots are."""
    rows = [bool(dots & (left | right)) for left, right in zip(_LEFT, _RIGHT, strict=True)]
    if sum(rows) >= 3:
        upper_left, lower_right = dots & (_LEFT[0] | _LEFT[1]), dots & (_RIGHT[2] | _RIGHT[3])
        lower_left, upper_right = dots & (_LEFT[2] | _LEFT[3]), dots & (_RIGHT[0] | _RIGHT[1])
        if upper_left and lower_right and not (lower_left and upper_right):
            return "\\"
        if lower_left and upper_right and not (upper_left and lower_right):
            return "/"
        return "|"
    if rows[0]:
        return "'" if not rows[1] else '"'
    if rows[1] or rows[2]:
        return "-"
    return "_" if rows[3] else " "


_BLOCKS = str.maketrans({chr(FIRST_BRAILLE + dots): _block(dots) for dots in range(256)})
_LETTERS = str.maketrans({chr(FIRST_BRAILLE + dots): _ascii(dots) for dots in range(256)}) | _ASCII
_FAINT = {"block": "░", "ascii": "."}


def translated(text: str, characters: CharacterSet) -> str:
    """Translate a text to the characters of a terminal."""
    if characters == "braille":
        return text
    return text.translate(_BLOCKS if characters == "block" else _LETTERS)


def faint(text: str, characters: CharacterSet) -> str:
    """Translate dots that stand for a band of raw values."""
    if characters == "braille":
        return text
    return "".join(_FAINT[characters] if "⠀" <= one <= "⣿" else one for one in text)


def large(characters: CharacterSet) -> CharacterSet:
    """Return the characters for large strokes: blocks are solid, and as thick as two dots."""
    return "block" if characters == "braille" else characters


def translate_frame(frame: ChartFrame, characters: CharacterSet) -> None:
    """Translate a chart, in place; faint raw values become a shade."""
    if characters == "braille":
        return
    import numpy as np

    from tui.charts import raster

    codes = frame.characters.view(np.uint32)
    braille = (codes >= FIRST_BRAILLE) & (codes < FIRST_BRAILLE + 256)
    frame.characters[braille & (frame.styles == raster.RAW)] = _FAINT[characters]
    height, width = frame.characters.shape
    text = translated("".join(frame.characters.ravel().tolist()), characters)
    frame.characters[:] = np.array(list(text)).reshape(height, width) if text else frame.characters
