"""Messages that cross from the engine's thread to the screen."""

from __future__ import annotations

from textual.message import Message

from engine.protocol import Event


class EngineEvent(Message):
    """The engine said something."""

    def __init__(self, event: Event) -> None:
        super().__init__()
        self.event = event
