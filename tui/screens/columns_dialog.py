"""Chooses the columns of the table of runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from rich.text import Text
from textual import getters
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from engine.config.schema import SETTINGS
from engine.runs.fields import short_name
from tui.control.keymap import bindings
from tui.control.runs_view import AUTO, LEFT_TO_RIGHT, SETTINGS_HERE
from tui.screens.keyed import KeyedModalScreen
from tui.widgets.keys_footer import KeysFooter
from tui.widgets.runs_columns import columns_of

EXPLAINED = {
    "name": "",
    "state": "training, finished, stopped …",
    "loss": "the training loss, as a curve",
    "best": "the best validation loss",
    "val": "the last validation loss",
    "train": "the last training loss",
    "step": "steps so far, of how many",
    "time": "time of training",
    "tokens": "tokens trained on",
    "speed": "tokens per second",
    "parameters": "of the model, without position embeddings",
    "preset": "",
    "data": "the text",
    "disk": "bytes on the disk",
    "tags": "",
    "created": "when it began",
    "note": "",
}


class ColumnsDialog(KeyedModalScreen[str | None]):
    """Ticks columns, settings included; its result is the choice, None if nothing is to change.

    Args:
        columns: The choice so far.
        shown: The names of the columns shown now.
    """

    DEFAULT_CSS = """
    ColumnsDialog #columns-search { border: none; height: 1; padding: 0 1; }
    ColumnsDialog #columns {
        border: none; height: auto; max-height: 60vh; padding: 0; background: transparent;
        margin: 1 0 0 0; text-wrap: nowrap; text-overflow: ellipsis; scrollbar-size-vertical: 1;
    }
    """

    ABOUT = (
        "What the table of runs has columns for: results, and any setting. Without a choice they "
        "are the settings in which the runs differ, as far as there is room."
    )
    KEYS = "columns"
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)

    field = getters.query_one("#columns-search", Input)
    options = getters.query_one("#columns", OptionList)

    def __init__(self, columns: str, shown: Sequence[str]) -> None:
        super().__init__()
        self._before = columns
        self.chosen: list[str] = list(shown)
        self._automatic = columns == AUTO

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog") as dialog:
            dialog.border_title = "Columns"
            yield Input(placeholder="search: lr, dropout, speed …", id="columns-search")
            yield OptionList(id="columns", markup=False)
            yield Static(id="columns-note")
        yield KeysFooter()

    def on_mount(self) -> None:
        self.options.can_focus = False
        self._show()

    def on_input_changed(self) -> None:
        self._show()

    def _show(self) -> None:
        words = self.field.value.lower().split()
        kept = self.options.highlighted_option
        self.options.clear_options()
        found = [one for one in _columns() if all(word in " ".join(one).lower() for word in words)]
        found.sort(key=lambda one: not all(word in _names_in(*one) for word in words))
        self.options.add_options(Option(self._line(*one), id=one[0]) for one in found)
        names = [option.id for option in self.options.options]
        if names:
            self.options.highlighted = names.index(kept.id) if kept and kept.id in names else 0
        note = "automatic: settings that differ are shown" if self._automatic else ""
        self.query_one("#columns-note", Static).update(Text(note, "dim"))

    def _line(self, name: str, help: str) -> Text:
        tick = "x" if name in self.chosen else " "
        return Text.assemble(f"[{tick}] ", (f"{name:<16}", "bold"), (f" {help}", "dim"))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self._tick(event.option.id)

    def action_tick(self) -> None:
        option = self.options.highlighted_option
        self._tick(option.id if option else None)

    def _tick(self, name: str | None) -> None:
        if name is None or name == "name":  # a row without it says nothing
            return
        self._automatic = False
        if name in self.chosen:
            self.chosen.remove(name)
        else:
            self.chosen.insert(min(1, len(self.chosen)), name)  # what is wanted now has room first
        self._show()

    def action_move(self, rows: int) -> None:
        (self.options.action_cursor_down if rows > 0 else self.options.action_cursor_up)()

    def action_automatic(self) -> None:
        self._automatic = True
        self.dismiss(AUTO)

    def action_close(self) -> None:
        now = AUTO if self._automatic else ",".join(self.chosen)
        self.dismiss(None if now == self._before else now)


def _columns() -> Iterator[tuple[str, str]]:
    """Yield the name of every column, and what it shows."""
    there = {column.key for column in columns_of({})}
    for key in LEFT_TO_RIGHT:
        if key in there and key != SETTINGS_HERE:
            yield key, EXPLAINED[key]
    for key, setting in SETTINGS.items():
        name = short_name(key)
        yield name, f"{key}: {setting.help}" if name != key else setting.help


def _names_in(name: str, help: str) -> str:
    key = help.partition(":")[0]
    return f"{name} {key if '.' in key else ''}"
