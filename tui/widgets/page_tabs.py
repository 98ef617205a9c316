"""The pages of a screen in one line; a click on a name shows it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.message import Message
from textual.widgets import Static


class PageTabs(Static):
    """Names of pages with their keys, the one that is shown marked."""

    DEFAULT_CSS = """
    PageTabs { height: 1; text-wrap: nowrap; text-overflow: ellipsis; pointer: pointer; }
    """

    class Chosen(Message):
        """A page was clicked."""

        def __init__(self, page: str) -> None:
            super().__init__()
            self.page = page

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._ends: list[tuple[int, str]] = []  # the column behind each page, and the page

    def show(self, pages: Sequence[tuple[str, str, str]], shown: str) -> None:
        """Show pages: of each its id, its key and its name."""
        text = Text(no_wrap=True)
        self._ends = []
        for page, key, name in pages:
            part = Text.assemble((f" {key} ", "dim"), f"{name} ")
            if page == shown:
                part = Text(f" {key} {name} ", "reverse bold")
            text.append_text(part)
            self._ends.append((cell_len(text.plain), page))
        self.update(text)

    def on_click(self, event: events.Click) -> None:
        for end, page in self._ends:
            if event.x < end:
                event.stop()
                self.post_message(self.Chosen(page))
                return
