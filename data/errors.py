"""The errors that are meant to be read by the person at the terminal."""

from __future__ import annotations


class InputError(Exception):
    """Something the person gave cannot be used; the message says what, and the way out.

    Attributes:
        problems: One or two sentences each; more than one when several were found together.
    """

    def __init__(self, problem: str, *more: str) -> None:
        # All problems go to Exception, so that a copy sent between processes keeps them apart.
        super().__init__(problem, *more)
        self.problems: list[str] = [problem, *more]

    def __str__(self) -> str:
        return "\n".join(self.problems)


class Cancelled(Exception):
    """The caller's own `cancelled()` answered yes; nothing was kept half-done."""
