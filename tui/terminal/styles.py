"""Telling the terminal only the changes of a style.

Textual gives each piece of text its whole style and takes it back again: 40 characters around a
single dot of a curve. Over ssh they are most of what is sent.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

SELECT = re.compile(r"\x1b\[([0-9;]*)m")  # "select graphic rendition", ECMA-48 8.3.117
RESET = "\x1b[0m"
FOREGROUND, BACKGROUND = "39", "49"  # the terminal's own
OFF = {
    "22": {"1", "2"}, "23": {"3"}, "24": {"4", "21"}, "25": {"5", "6"}, "27": {"7"}, "28": {"8"},
    "29": {"9"}, "54": {"51", "52"}, "55": {"53"},
}  # fmt: skip
SEEN_ON_BLANKS = {"4", "5", "6", "7", "9", "21", "51", "52", "53"}


class Style(NamedTuple):
    """How text is shown, as parameters of the terminal's sequence."""

    foreground: str = FOREGROUND
    background: str = BACKGROUND
    attributes: frozenset[str] = frozenset()  # bold and the like


PLAIN = Style()


def without_repetition(written: str) -> str:
    """Return what has the same effect on a terminal, without styles that are in force already.

    The terminal has its default style before and after it.
    """
    first, *rest = SELECT.split(written)
    told, wanted, parts = PLAIN, PLAIN, [first]
    for select, text in zip(rest[::2], rest[1::2], strict=True):
        wanted = after(wanted, select)
        if not text:
            continue
        if told != wanted:
            needed = wanted if text.strip(" ") else for_blanks(told, wanted)
            parts.append(change(told, needed))
            told = needed
        parts.append(text)
    if told != PLAIN:
        parts.append(RESET)
    return "".join(parts)


@lru_cache(4096)
def after(style: Style, select: str) -> Style:
    """Return the style after a sequence with some parameters."""
    codes = iter(select.split(";"))
    foreground, background, attributes = style.foreground, style.background, set(style.attributes)
    for code in codes:
        if code in ("38", "48"):
            kind = next(codes, "5")  # 2 for red, green and blue, 5 for a number
            values = [next(codes, "0") for _ in range(3 if kind == "2" else 1)]
            color = ";".join([code, kind, *values])
            if code == "38":
                foreground = color
            else:
                background = color
        elif code in ("", "0"):
            foreground, background, attributes = FOREGROUND, BACKGROUND, set()
        elif code in OFF:
            attributes -= OFF[code]
        elif (number := int(code)) // 10 in (3, 9):
            foreground = code
        elif number // 10 in (4, 10):
            background = code
        else:
            attributes.add(code)
    return Style(foreground, background, frozenset(attributes))


@lru_cache(4096)
def for_blanks(told: Style, wanted: Style) -> Style:
    """Return the style of spaces, which show no more of it than the background."""
    if SEEN_ON_BLANKS & (told.attributes | wanted.attributes):
        return wanted
    return told._replace(background=wanted.background)


@lru_cache(4096)
def change(told: Style, wanted: Style) -> str:
    """Return the shortest sequence from one style to another."""
    if told == wanted:
        return ""
    anew = "".join(f";{one}" for one in _changes(PLAIN, wanted))
    sequence = f"\x1b[0{anew}m"
    if told.attributes <= wanted.attributes:
        return min(f"\x1b[{';'.join(_changes(told, wanted))}m", sequence, key=len)
    return sequence


def _changes(told: Style, wanted: Style) -> list[str]:
    colors = [one for before, one in zip(told[:2], wanted[:2], strict=True) if before != one]
    return [*sorted(wanted.attributes - told.attributes), *colors]
