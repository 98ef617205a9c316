"""Errors whose messages are shown to the user."""

from __future__ import annotations

import difflib
import errno
import os
import re
import resource
import sys
from collections.abc import Collection

MOST_SHOWN = 60  # characters of what was typed
TOO_MANY_FILES = os.strerror(errno.EMFILE)
SQLITE_CANTOPEN, SQLITE_FILES = 14, 8  # two databases, the log of each, its memory, a folder
LINE_ENDS = "[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]"  # where str.splitlines splits


def brief(typed: str) -> str:
    """Quote what was typed, as ``repr``, shortened."""
    return repr(typed if len(typed) <= MOST_SHOWN else f"{typed[:MOST_SHOWN]}…")


def on_one_line(text: str) -> str:
    """Return a text with its line ends visible, as in ``a\\nb``; a path may have some."""
    return (
        text if text.isprintable() else re.sub(LINE_ENDS, lambda found: repr(found[0])[1:-1], text)
    )


def reason_of(error: Exception) -> str:
    """Return why something failed, as the system says it."""
    return str(getattr(error, "strerror", None) or error)


def shortage_of_files(error: BaseException | None) -> str:
    """Return what to say if a file could not be opened because too many are open; else nothing.

    Args:
        error: Raised for that, or while such an error was handled. Each library has a type of its
            own for it; SQLite does not tell it from a file that is missing.
    """
    while error is not None:
        is_named = getattr(error, "errno", 0) == errno.EMFILE or TOO_MANY_FILES in str(error)
        refused = getattr(error, "sqlite_errorcode", 0) & 0xFF == SQLITE_CANTOPEN
        if is_named or (refused and not _can_open(SQLITE_FILES)):
            most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            return (
                f"too many files are open ({most:,} are allowed by ulimit -n): allow more, as "
                f"with ulimit -n 1024, and try again"
            )
        error = error.__context__
    return ""


def _can_open(count: int) -> bool:
    """Return whether so many more files can be opened now."""
    descriptors: list[int] = []
    try:
        while len(descriptors) < count:
            descriptors.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        return False
    finally:
        for one in descriptors:
            os.close(one)
    return True


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

    One that is raised because too many files are open says that instead: nothing is wrong with the
    file that could not be opened.

    Attributes:
        problems: The messages, each on one line, as several problems are reported at once.
        is_shortage: Whether too many files are open.
    """

    def __init__(self, problem: str, *more: str) -> None:
        # All problems go to Exception.args, from which pickle rebuilds the error.
        shortage = shortage_of_files(sys.exc_info()[1])
        if shortage:
            problem, more = shortage, ()
        self.is_shortage = bool(shortage)
        super().__init__(problem, *more)
        self.problems: list[str] = [on_one_line(one) for one in (problem, *more)]

    def __str__(self) -> str:
        return "\n".join(self.problems)


class NotFound(InputError):
    """A file does not exist."""


class Cancelled(Exception):
    """The caller's `cancelled()` returned true; no partial result is left behind."""
