"""Errors whose messages are shown to the user."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

MOST_SHOWN = 60  # characters of what was typed
LINE_ENDS = re.compile("[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")  # where str.splitlines splits


def brief(typed: str) -> str:
    """Quote what was typed, as ``repr``, shortened."""
    return repr(typed if len(typed) <= MOST_SHOWN else f"{typed[:MOST_SHOWN]}…")


def on_one_line(text: str) -> str:
    """Return a text with its line ends visible, as in ``a\\nb``; a path may have some."""
    return text if text.isprintable() else LINE_ENDS.sub(lambda found: repr(found[0])[1:-1], text)


def reason_of(error: Exception) -> str:
    """Return why something failed, as the system says it."""
    return str(getattr(error, "strerror", None) or error)


def nearest(typed: str, names: Collection[str], cutoff: float = 0.6) -> str | None:
    """Return the name that is most like what was typed, in either case; None if none is like it."""
    by_lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(typed[:MOST_SHOWN].lower(), by_lower, 1, cutoff)
    return by_lower[near[0]] if near else None


def suggest(typed: str, names: Collection[str], otherwise: str = "") -> str:
    """Return a hint at the name that was meant; if none is like it, ``otherwise`` or all names."""
    near = nearest(typed, names)
    return f"did you mean {near!r}?" if near else otherwise or f"there are {', '.join(names)}"


class InputError(Exception):
    """Invalid input; the message says what is wrong and how to fix it.

    Attributes:
        problems: The messages, each on one line, as several problems are reported at once.
    """

    def __init__(self, problem: str, *more: str) -> None:
        # All problems go to Exception.args, from which pickle rebuilds the error.
        super().__init__(problem, *more)
        self.problems: list[str] = [on_one_line(one) for one in (problem, *more)]

    def __str__(self) -> str:
        return "\n".join(self.problems)


class NotFound(InputError):
    """A file does not exist."""


class Cancelled(Exception):
    """The caller's `cancelled()` returned true; no partial result is left behind."""
