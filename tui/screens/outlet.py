"""How the helpers of a screen reach the person, without having hold of the screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from textual.notifications import SeverityLevel
from textual.screen import Screen

Answer = TypeVar("Answer")


class Say(Protocol):
    """Shows a text that stays until it is read; an empty one takes it away."""

    def __call__(self, text: str, severity: str = "warning") -> None: ...


class Notify(Protocol):
    """Shows a text for a moment."""

    def __call__(
        self, message: str, *, severity: SeverityLevel = "information", markup: bool = True
    ) -> None: ...


class Push(Protocol):
    """Shows a screen, and hands on its answer."""

    def __call__(
        self, screen: Screen[Answer], answered: Callable[[Answer | None], None] | None = None
    ) -> None: ...


@dataclass(frozen=True)
class Outlet:
    """The three ways there are."""

    say: Say
    notify: Notify
    push: Push
