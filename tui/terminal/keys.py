"""Keys that arrive together are dealt with one after the other, each where the last one led.

Over a slow line several keys come at once. Textual hands them all to the widget that has the focus
when they come: of "p", "T", "o" the letters would be commands, although "p" opens a field.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic

from textual.app import App, ReturnType
from textual.dom import DOMNode
from textual.events import Event, Key, Paste
from textual.message_pump import MessagePump

STUCK_SECONDS = 0.5  # a widget that is at work for longer, or gone, holds up no key


class KeysInOrder(App[ReturnType], Generic[ReturnType]):
    """An app that looks at a key when what the one before it caused has come to pass."""

    def __init__(self) -> None:
        super().__init__()
        self._typed_ahead: deque[Key | Paste] = deque()
        self._keys_begun = self._keys_done = 0

    async def on_event(self, event: Event) -> None:
        """Put typed text into a row; everything else is as ever."""
        if not isinstance(event, Key | Paste) or event.is_forwarded:
            await super().on_event(event)
            return
        self._typed_ahead.append(event)
        if self._keys_begun == self._keys_done:
            await self._begin_key(self._typed_ahead.popleft())

    async def _begin_key(self, event: Key | Paste) -> None:
        self._keys_begun += 1
        number, target = self._keys_begun, self.focused or self.screen
        await super().on_event(event)
        self.set_timer(STUCK_SECONDS, lambda: self._end_key(number))
        self._follow(number, self._way_of(target))

    def _way_of(self, target: DOMNode) -> Iterator[MessagePump]:
        """The way of a key: from its widget up to the app, as the messages of the widget go.

        After that, the screen that it led to, which gives the focus to one of its widgets.
        """
        for _ in range(2):
            yield from target.ancestors_with_self
        yield self.screen
        yield self

    def _follow(self, number: int, way: Iterator[MessagePump]) -> None:
        """Come back when the next on the way has dealt with all that it was sent until now."""
        for pump in way:
            if pump.call_later(self._follow, number, way):
                return
        self.call_later(self._end_key, number)

    async def _end_key(self, number: int) -> None:
        if number == self._keys_done + 1:
            self._keys_done = number
            if self._typed_ahead:
                await self._begin_key(self._typed_ahead.popleft())
