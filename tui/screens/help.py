"""Pages of text over a screen: its help, made from its bindings, or the log of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Markdown, Static

PALETTE = ("ctrl+p", "the command palette: all commands, the log, themes")


class TextScreen(ModalScreen[None]):
    """Shows a text, and Markdown below it, until Escape."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark", "dismiss", "Back"),
    ]

    def __init__(self, title: str, text: Text, more: str = "") -> None:
        super().__init__()
        self._title, self.text, self._more = title, text, more

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="page") as page:
            page.border_title = self._title
            page.border_subtitle = "esc: back"
            yield Static(self.text)
            if self._more:
                yield Markdown(self._more)


def help_screen(screen: Screen[Any]) -> TextScreen:
    """Return the help page of a screen: the tooltips of its keys, then its ``HELP``."""
    text = Text()
    for key, tooltip in keys_of(screen):
        text.append(f"{key:<8}", "bold").append(f"{tooltip}\n")
    return TextScreen("help", text, screen.HELP or "")


def keys_of(screen: Screen[Any]) -> Iterator[tuple[str, str]]:
    """Yield keys and tooltips; of several bindings of a key, only the first."""
    seen = set()
    for one in (*screen.BINDINGS, *screen.app.BINDINGS):
        if isinstance(one, Binding) and one.tooltip and one.key not in seen:
            seen.add(one.key)
            yield one.key_display or one.key.split(",")[0], one.tooltip
    yield PALETTE
