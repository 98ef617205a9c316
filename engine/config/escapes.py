"""Text on one line: a line break, a tab and a backslash are written with a backslash before."""

from __future__ import annotations

ESCAPES = {"n": "\n", "t": "\t", "\\": "\\"}


def escape(text: str) -> str:
    r"""Write a text on one line; ``unescape`` reads it back."""
    for letter in ("\\", "n", "t"):  # the backslash first: the others bring more of them
        text = text.replace(ESCAPES[letter], f"\\{letter}")
    return text


def unescape(written: str, name: str) -> str:
    r"""Read ``\n`` as a new line, ``\t`` as a tab and ``\\`` as a backslash.

    Args:
        written: By a person.
        name: Of the setting, for the message.

    Raises:
        ValueError: A backslash stands before something else; the message is one sentence.
    """
    letters = iter(written)
    return "".join(_read(next(letters, ""), name) if one == "\\" else one for one in letters)


def _read(letter: str, name: str) -> str:
    if letter in ESCAPES:
        return ESCAPES[letter]
    where = f"has a backslash before {letter!r}" if letter else "ends in a single backslash"
    raise ValueError(rf"{name} {where}: \n is a new line, \t a tab and \\ a backslash")
