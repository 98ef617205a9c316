"""Drops the rest of a double click whose first click has changed the screen.

Textual sends each click to the screen that is up when it arrives. The second click on "esc Back"
would press what the screen below has in that place.
"""

from __future__ import annotations

from typing import Any, Generic

from textual.app import App, ReturnType
from textual.events import Event, MouseDown, MouseUp
from textual.geometry import Offset
from textual.screen import Screen


class ClicksOnOneScreen(App[ReturnType], Generic[ReturnType]):
    """An app whose double and triple clicks are all on the screen of their first click."""

    _clicked: tuple[Screen[Any], Offset, float] | None = None  # first screen, last place and time
    _drops = False  # the button that is down is of a click that began on another screen

    async def on_event(self, event: Event) -> None:
        if isinstance(event, MouseDown | MouseUp) and not event.is_forwarded:
            if isinstance(event, MouseDown):
                self._drops = self._is_of_another_screen(event)
            if self._drops:
                return
        await super().on_event(event)

    def _is_of_another_screen(self, event: MouseDown) -> bool:
        before, place = self._clicked, event.screen_offset
        goes_on = (
            before is not None
            and before[1] == place
            and event.time - before[2] <= self.CLICK_CHAIN_TIME_THRESHOLD
        )
        first = before[0] if before and goes_on else self.screen
        self._clicked = first, place, event.time
        return first is not self.screen
