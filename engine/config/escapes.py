"""Escape sequences, to write text of several lines on one: new line, tab and backslash."""

from __future__ import annotations

ESCAPES = {"n": "\n", "t": "\t", "\\": "\\"}


def escape(text: str) -> str:
    r"""Escape a text; ``unescape`` reverses it."""
    for letter in ("\\", "n", "t"):  # the backslash first, as the others add backslashes
        text = text.replace(ESCAPES[letter], f"\\{letter}")
    return text


def unescape(written: str, name: str) -> str:
    r"""Replace ``\n`` by a new line, ``\t`` by a tab and ``\\`` by a backslash.

    Args:
        written: The escaped text.
        name: The setting to name in the error message.

    Raises:
        ValueError: Any other character follows a backslash; the message is one sentence.
    """
    letters = iter(written)
    return "".join(_read(next(letters, ""), name) if one == "\\" else one for one in letters)


def _read(letter: str, name: str) -> str:
    if letter in ESCAPES:
        return ESCAPES[letter]
    where = f"has a backslash before {letter!r}" if letter else "ends in a single backslash"
    raise ValueError(rf"{name} {where}: \n is a new line, \t a tab and \\ a backslash")
