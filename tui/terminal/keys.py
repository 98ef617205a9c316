"""Handles keys that arrive together one after the other, each with the focus the last one set.

Over a slow connection several keys arrive at once. Textual sends all of them to the widget that
has the focus at that moment: of "p", "T", "o" the letters would be commands, although "p" opens a
field.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic

from textual.app import App, ReturnType
from textual.dom import DOMNode
from textual.events import Event, Key, Paste
from textual.message_pump import MessagePump

STUCK_SECONDS = 0.5  # a widget that is busy for longer, or removed, blocks no key


class KeysInOrder(App[ReturnType], Generic[ReturnType]):
    """An app that handles a key once the messages caused by the previous one are processed."""

    def __init__(self) -> None:
        super().__init__()
        self._pending_keys: deque[Key | Paste] = deque()
        self._keys_started = self._keys_done = 0

    async def on_event(self, event: Event) -> None:
        """Queue keys and pastes; pass on other events."""
        if not isinstance(event, Key | Paste) or event.is_forwarded:
            await super().on_event(event)
            return
        self._pending_keys.append(event)
        if self._keys_started == self._keys_done:
            await self._start_key(self._pending_keys.popleft())

    async def _start_key(self, event: Key | Paste) -> None:
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
                await self._start_key(self._pending_keys.popleft())
