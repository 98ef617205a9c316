"""The values that a setting can have, to choose one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui.control.keymap import bindings


class ChoiceList(OptionList):
    """A list of values; a click moves the cursor, and Enter or another click chooses."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("choice")
    DEFAULT_CSS = """
    ChoiceList {
        display: none; height: auto; max-height: 5; border: none; padding: 0; background: $boost;
        text-wrap: nowrap; text-overflow: ellipsis;
    }
    ChoiceList.-open { display: block; }
    ChoiceList:focus { border: none; background: $boost; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._values: list[str] = []

    @property
    def value(self) -> str:
        """The value under the cursor."""
        return self._values[self.highlighted or 0]

    class Chosen(Message):
        """A value was chosen."""

        def __init__(self, value: str) -> None:
            super().__init__()
            self.value = value

    class Highlighted(Message):
        """The cursor is on a value."""

        def __init__(self, value: str) -> None:
            super().__init__()
            self.value = value

    def open(self, values: Sequence[str], now: str, notes: Mapping[str, str] | None = None) -> None:
        """Show values, with the cursor on the one that holds now, and what is noted on them."""
        self._values = list(values)
        rows = [
            Text.assemble(
                "● " if one == now else "  ", one, (f"  {(notes or {}).get(one, '')}", "dim")
            )
            for one in values
        ]
        self.set_options(Option(row) for row in rows)
        self.highlighted = values.index(now) if now in values else 0
        self.add_class("-open")
        self.screen.set_focus(self)  # at once: the next key is for it

    def close(self) -> None:
        self.remove_class("-open")

    def on_click(self, event: events.Click) -> None:
        """Select by the second click alone; Textual's list selects by the first."""
        select_by_second_click(self, event)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(self.Chosen(self._values[event.option_index]))

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        if event.option_index < len(self._values):
            self.post_message(self.Highlighted(self._values[event.option_index]))


def select_by_second_click(options: OptionList, event: events.Click) -> None:
    """Move the cursor of a list to what was clicked, and select it if it was there already."""
    event.prevent_default()
    clicked = event.style.meta.get("option")
    if isinstance(clicked, int) and 0 <= clicked < options.option_count:
        if clicked == options.highlighted:
            options.action_select()
        else:
            options.highlighted = clicked


class RowList(OptionList):
    """A list in which a click moves the cursor, and another one there selects."""

    DEFAULT_CSS = """
    RowList, RowList:focus { height: 1fr; border: none; padding: 0; background: $surface; }
    """

    def on_click(self, event: events.Click) -> None:
        select_by_second_click(self, event)
