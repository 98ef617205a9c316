"""Errors whose messages are shown to the user."""

from __future__ import annotations

MOST_SHOWN = 60  # characters of what was typed


def brief(typed: str) -> str:
    """Quote what was typed, as ``repr``, shortened."""
    return repr(typed if len(typed) <= MOST_SHOWN else f"{typed[:MOST_SHOWN]}…")


class InputError(Exception):
    """Invalid input; the message says what is wrong and how to fix it.

    Attributes:
        problems: The messages, as several problems are reported at once.
    """

    def __init__(self, problem: str, *more: str) -> None:
        # All problems go to Exception.args, from which pickle rebuilds the error.
        super().__init__(problem, *more)
        self.problems: list[str] = [problem, *more]

    def __str__(self) -> str:
        return "\n".join(self.problems)


class NotFound(InputError):
    """A file does not exist."""


class Cancelled(Exception):
    """The caller's `cancelled()` returned true; no partial result is left behind."""
