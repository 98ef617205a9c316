"""Handles keys that arrive together one after the other, each with the focus the last one set.

Over a slow connection several keys arrive at once. Textual sends all of them to the widget that
has the focus at that moment: of "p", "T", "o" the letters would be commands, although "p" opens a
field.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Generic

from textual.app import App, ReturnType
from textual.dom import DOMNode
from textual.events import Event, Key, Paste
from textual.message_pump import MessagePump
from textual.screen import Screen

STUCK_SECONDS = 0.5  # a widget that is busy for longer, or removed, blocks no key


class KeysInOrder(App[ReturnType], Generic[ReturnType]):
    """An app that handles a key once the messages caused by the previous one are processed."""

    def __init__(self) -> None:
        super().__init__()
        # with the screen that they are for, if not for any
        self._pending_keys: deque[tuple[Key | Paste, Screen[Any] | None]] = deque()
        self._keys_started = self._keys_done = 0

    async def on_event(self, event: Event) -> None:
        """Queue keys and pastes; pass on other events."""
        if not isinstance(event, Key | Paste) or event.is_forwarded:
            await super().on_event(event)
            return
        await self._take_key(event)

    def press_on(self, screen: Screen[Any], key: str) -> None:
        """Press a key for a screen; it does nothing once another one is up."""
        self.call_later(self._take_key, Key(key, None), screen)

    async def _take_key(self, event: Key | Paste, screen: Screen[Any] | None = None) -> None:
        self._pending_keys.append((event, screen))
        if self._keys_started == self._keys_done:
            await self._start_next_key()

    async def _start_next_key(self) -> None:
        event, screen = self._pending_keys.popleft()
        while screen not in (None, self.screen):
            if not self._pending_keys:
                return
            event, screen = self._pending_keys.popleft()
        self._keys_started += 1
        number, target = self._keys_started, self.focused or self.screen
        await super().on_event(event)
        self.set_timer(STUCK_SECONDS, lambda: self._end_key(number))
        self._follow(number, self._pumps_of(target))

    def _pumps_of(self, target: DOMNode) -> Iterator[MessagePump]:
        """Yield the message pumps a key passes: from its widget up to the app, as messages bubble.

        Then the screen that the key may have opened, which focuses one of its widgets.
        """
        for _ in range(2):
            yield from target.ancestors_with_self
        yield self.screen
        yield self

    def _follow(self, number: int, pumps: Iterator[MessagePump]) -> None:
        """Call this again once the next pump has processed the messages it has now."""
        for pump in pumps:
            if pump.call_later(self._follow, number, pumps):
                return
        self.call_later(self._end_key, number)

    async def _end_key(self, number: int) -> None:
        if number == self._keys_done + 1:
            self._keys_done = number
            if self._pending_keys:
                await self._start_next_key()
