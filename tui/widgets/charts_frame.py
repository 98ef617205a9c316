"""The frame of the charts: its label says which page is shown, and turns the pages."""

from __future__ import annotations

from rich.cells import cell_len
from textual import events
from textual.containers import Vertical
from textual.geometry import NULL_REGION, Region
from textual.message import Message

FRAME_TO_LABEL = 3  # columns from the right edge to the end of the label in the frame


class ChartsFrame(Vertical):
    """Turns pages by a click on their label, and by the wheel where no chart is zoomed by it."""

    class Turned(Message):
        """Another page is wanted."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    _pages = ""

    def say(self, title: str, subtitle: str = "", pages: str = "") -> None:
        """Show what the charts are; ``pages`` is as 2/3, and empty if there is one."""
        self._pages = f"◂ {pages} ▸" if pages else ""
        told = " · ".join(one for one in (subtitle, self._pages) if one)
        self.border_title, self.border_subtitle = title, told

    @property
    def label(self) -> Region:
        """Where the label of the pages is on the screen."""
        frame, width = self.region, cell_len(self._pages)
        if not width:
            return NULL_REGION
        return Region(frame.right - FRAME_TO_LABEL - width, frame.bottom - 1, width, 1)

    def on_click(self, event: events.Click) -> None:
        label = self.label
        if label.contains_point(event.screen_offset):
            event.stop()
            self._turn(-1 if event.screen_x < label.x + label.width / 2 else 1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self._turn(-1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self._turn(1)

    def _turn(self, by: int) -> None:
        if self._pages:
            self.post_message(self.Turned(by))
