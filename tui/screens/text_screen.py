"""A page of text over the cockpit: help, or the log of a run."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static


class TextScreen(ModalScreen[None]):
    """Shows a text until Escape.

    Args:
        title: Of the frame.
        text: Scrolls if it is long.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark", "dismiss", "Back"),
    ]

    def __init__(self, title: str, text: Text) -> None:
        super().__init__()
        self._title = title
        self._text = text

    def compose(self) -> ComposeResult:
        """One scrolling page."""
        with VerticalScroll(id="page") as page:
            page.border_title = self._title
            page.border_subtitle = "esc: back"
            yield Static(self._text, markup=False)
