"""A box to tick: what Textual's own one tells by colour alone, this one tells by a sign."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.binding import BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from tui.control.keymap import bindings


class TickBox(Widget, can_focus=True):
    """A line with a box in front; space or a click ticks it.

    Enter is left to the dialog it stands in.

    Args:
        label: What it is about.
    """

    DEFAULT_CSS = """
    TickBox { height: 1; }
    TickBox:focus { background: $block-cursor-background; color: $block-cursor-foreground; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings("box")

    value: reactive[bool] = reactive(False, init=False)

    class Changed(Message):
        """It was ticked, or no longer is."""

    def __init__(self, label: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._label = label

    def render(self) -> Text:
        return Text(f"[{'x' if self.value else ' '}] {self._label}", no_wrap=True)

    def watch_value(self) -> None:
        self.post_message(self.Changed())

    def on_click(self) -> None:
        self.action_tick()

    def action_tick(self) -> None:
        self.value = not self.value
