"""The preferences of the app as a list, changed at once."""

from __future__ import annotations

import os
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from data.errors import InputError
from engine.config.setting import FALSE_WORDS, TRUE_WORDS, Setting
from tui.control.keymap import bindings
from tui.control.preferences import (
    FOLDERS,
    KEYS,
    PREFERENCES,
    SECTIONS,
    UNSET,
    Preferences,
    allowed,
    comes_first,
    preference,
    typed_value,
)
from tui.screens.key_preferences import KeyPreferencesScreen
from tui.screens.keyed import KeyedModalScreen
from tui.terminal.visible import visible_line
from tui.text.numbers import format_count, format_path
from tui.widgets.choice_list import RowList
from tui.widgets.field import Field
from tui.widgets.keys_footer import KeysFooter

NAME_WIDTH = 18
OF_KEYS = "keys of actions"  # the row that leads to them
ON, OFF = TRUE_WORDS[2], FALSE_WORDS[2]


class PreferencesScreen(KeyedModalScreen[None]):
    """Lists the preferences; Enter opens the values of one, or a field, Enter again takes it."""

    KEYS = "preferences"
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)
    ABOUT = (
        "Preferences are those of the app: how it looks, what its keys are, when it calls you. "
        "They are kept in a file and hold for all runs; settings are those of a run."
    )
    DEFAULT_CSS = """
    PreferencesScreen {
        #values, #value { display: none; }
        .-values #preferences { display: none; }
        .-values #values { display: block; }
        .-field #value { display: block; }
        #told { height: auto; min-height: 3; margin-top: 1; }
    }
    """

    def __init__(self, preferences: Preferences) -> None:
        super().__init__()
        self.preferences = preferences
        self._problem = ""

    def compose(self) -> ComposeResult:
        with Vertical(id="page") as page:
            page.border_title = "preferences"
            page.border_subtitle = (
                f"enter: change · {self.key_of('preferences.reset')}: default · "
                f"{self.key_of('preferences.back')}: back"
            )
            yield RowList(id="preferences")
            yield RowList(id="values")
            yield Field(id="value")
            yield Static(id="told")
        yield KeysFooter()

    def on_mount(self) -> None:
        self.preferences.watch(self._show_change)
        self._show_rows()
        self.query_one("#preferences", OptionList).focus()

    def _show_change(self, _: str) -> None:
        if self.is_attached:
            self._show_rows()

    def _show_rows(self) -> None:
        rows = self.query_one("#preferences", OptionList)
        place = rows.highlighted
        options: list[Option] = []
        for section in SECTIONS:
            mine = [one for one in PREFERENCES.values() if one.section == section]
            options.append(Option(Text(section, "bold"), id=section, disabled=True))
            options += [Option(self._row(one), id=one.key) for one in mine]
            if section == KEYS:
                options.append(Option(self._row_of_keys(), id=OF_KEYS))
        rows.set_options(options)
        rows.highlighted = 1 if place is None else place

    def _row(self, one: Setting) -> Text:
        value = self.preferences.get(one.key)
        changed = value != one.default
        mark = ("* ", "bold") if changed else ("  ", "")
        shown = visible_line(one.format(value)) or UNSET[one.key]
        row = Text.assemble(
            mark, f"{one.name:<{NAME_WIDTH}}", (shown, "bold" if changed else ""), no_wrap=True
        )
        if variable := comes_first(one.key):
            row.append(f"  {variable} comes first", "dim")
        return row

    def _row_of_keys(self) -> Text:
        changed = len(self.preferences.keys)
        told = f"{format_count(changed, 'action')} with other keys" if changed else "by default"
        mark = ("* ", "bold") if changed else ("  ", "")
        return Text.assemble(mark, f"{'of all actions':<{NAME_WIDTH}}", told, no_wrap=True)

    @property
    def _chosen(self) -> Setting | None:
        option = self.query_one("#preferences", OptionList).highlighted_option
        return preference(option.id) if option and option.id in PREFERENCES else None

    def _tell(self) -> None:
        one = self._chosen
        told = Text()
        if one is None:
            told.append("keys\n", "bold").append(f"{SECTIONS[KEYS]}\n")
            told.append("Enter lists the actions, to press another key for one.", "dim")
        else:
            told.append(f"{one.key}\n", "bold").append(f"{one.help}\n")
            if one.type is not str:
                told.append(allowed(one), "dim")
            if variable := comes_first(one.key):
                folder = format_path(os.environ[variable])
                told.append(f"The environment has {variable}={visible_line(folder)}, ", "dim")
                told.append("which comes first.", "dim")
            elif one.key in FOLDERS:
                told.append("A change takes effect when the app starts next.", "dim")
        if self._problem:
            told.append(f"\n{self._problem}", "bold")
        elif self.preferences.path:
            told.append(f"\n{format_path(self.preferences.path)}", "dim")
        self.query_one("#told", Static).update(told)

    # -- changing --------------------------------------------------------------------------------

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        if event.option_list.id == "preferences":
            self._problem = ""
            self._tell()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        one = self._chosen
        if event.option_id == OF_KEYS:
            self.app.push_screen(KeyPreferencesScreen(self.preferences))
        if one is None:
            return
        if event.option_list.id == "values":
            self._take(str(event.option_id))
        elif one.choices or one.type is bool:
            self._open_values(one)
        else:
            self._open_field(one)

    def _open_values(self, one: Setting) -> None:
        choices = one.choices or (ON, OFF)
        values = self.query_one("#values", OptionList)
        values.set_options([Option(choice, id=choice) for choice in choices])
        values.highlighted = choices.index(one.format(self.preferences.get(one.key)))
        self.query_one("#page").add_class("-values")
        values.focus()

    def _open_field(self, one: Setting) -> None:
        field = self.query_one("#value", Field)
        field.value = one.format(self.preferences.get(one.key))
        self.query_one("#page").add_class("-field")
        field.focus()
        field.action_end()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._take(event.value)

    def _take(self, typed: str) -> None:
        one = self._chosen
        assert one
        try:
            value = typed_value(one, typed)
        except InputError as error:  # what was typed stays, to be corrected
            self._problem = str(error)
            self._tell()
            return
        self._close()
        self._set(one.key, value)

    def action_reset(self) -> None:
        """Give the preference under the cursor its default."""
        if one := self._chosen:
            self._set(one.key, one.default)

    def _set(self, key: str, value: object) -> None:
        self._problem = ""
        try:
            self.preferences.set(key, value)
        except InputError as error:
            self._problem = f"{error}; it is so until the app ends"
        self._show_rows()
        self._tell()

    def _close(self) -> None:
        self.query_one("#page").remove_class("-values", "-field")
        self.query_one("#preferences", OptionList).focus()
        self._problem = ""
        self._tell()

    def action_leave_field(self) -> None:
        """Leave the list of values or the field, else the screen."""
        if self.query_one("#page").has_class("-values") or self.query_one("#page").has_class(
            "-field"
        ):
            self._close()
        else:
            self.dismiss()
