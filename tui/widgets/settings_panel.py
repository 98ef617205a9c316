"""The hyperparameter panel: the list, and below it the setting under the cursor."""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text
from textual import getters
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input, OptionList, Static

from engine.config.changes import WHEN_TEXTS
from engine.config.schema import SECTIONS, SETTINGS
from engine.config.setting import Setting, Value, When
from tui.control.draft import Draft
from tui.widgets.field import Field
from tui.widgets.notice import Notice
from tui.widgets.settings_list import SettingsList


class SettingsPanel(Vertical):
    """Shows and edits the draft; what becomes of an edit is its owner's business."""

    DEFAULT_CSS = """
    SettingsPanel {
        border: round $primary 50%;
        border-title-color: $text-primary;
        border-subtitle-color: $foreground 70%;
        padding: 0 0 0 1;
    }
    SettingsPanel:focus-within { border: round $primary; }
    SettingsPanel #setting-detail {
        height: 8;
        max-height: 60%;
        border-top: solid $primary 30%;
        padding-right: 1;
    }
    SettingsPanel #setting-editor { display: none; background: $boost; }
    SettingsPanel #setting-editor.-open { display: block; }
    SettingsPanel #setting-editor.-faulty { color: $text-error; }
    SettingsPanel #setting-help { height: auto; }
    """

    @dataclass
    class Edited(Message):
        """A setting was given a new value that is within its bounds."""

        key: str
        value: Value

    list = getters.query_one(SettingsList)
    editor = getters.query_one("#setting-editor", Field)

    def __init__(self, draft: Draft, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.draft = draft
        self._editing: str | None = None
        self._handed_on: tuple[dict[str, Value], str] | None = None  # last, and as it was typed

    def compose(self) -> ComposeResult:
        yield SettingsList(self.draft, id="settings-list")
        with Vertical(id="setting-detail"):
            yield Field(id="setting-editor")
            yield Notice(id="setting-problem")
            yield Static(id="setting-help")

    def on_mount(self) -> None:
        self.border_title = "settings"
        self.refresh_values()

    def refresh_values(self) -> None:
        self.list.redraw_values()
        self.border_subtitle = _waiting(self.draft)
        self._show_detail()
        problems = self.draft.conflicts()
        if problems and not self._editing:
            self.show_problem(problems[0])

    def show_problem(self, text: str) -> None:
        """Explain, beside the field, what is wrong; empty takes it back."""
        self.query_one("#setting-problem", Notice).say(text, "problem")

    def take_back(self, changes: dict[str, Value], problem: str) -> bool:
        """Say why changes are refused, with what was typed in its field again, to be corrected.

        Returns:
            Whether that was done: not once the user is doing something else.
        """
        if not changes or self._editing or not self.has_focus_within:
            return False
        if self._handed_on and self._handed_on[0] == changes:
            (key,), text = changes, self._handed_on[1]
            if self.list.highlighted_key != key:
                self.list.go_to(key)
            self._open_editor(SETTINGS[key], text)
            self.editor.add_class("-faulty")
        self.show_problem(problem)
        return True

    def close_editor(self) -> None:
        self._editing = None
        self.editor.remove_class("-open", "-faulty")
        self.show_problem("")
        self.screen.set_focus(self.list)  # at once: whether it has the focus is asked soon
        self._show_detail()

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        if not self._editing:
            self.show_problem("")
        self._show_detail()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter: fold a group, turn a switch, go to the next choice or open the field."""
        event.stop()
        key = str(event.option_id)
        if key not in SETTINGS:
            self.list.toggle(key)
            return
        one, value = SETTINGS[key], self.draft.value(key)
        if one.type is bool:
            self.post_message(self.Edited(key, not value))
        elif one.choices:
            following = (one.choices.index(str(value)) + 1) % len(one.choices)
            self.post_message(self.Edited(key, one.choices[following]))
        else:
            self._open_editor(one)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._editing:
            _, problem = self._parsed(event.value)
            self.editor.set_class(bool(problem), "-faulty")
            self.show_problem(problem)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if not self._editing:
            return
        key = self._editing
        value, problem = self._parsed(event.value)
        if value is None:
            self.show_problem(problem)
            return
        self.close_editor()
        self._handed_on = {key: value}, event.value
        self.post_message(self.Edited(key, value))

    def _open_editor(self, one: Setting, typed: str | None = None) -> None:
        self._editing = one.key
        editor = self.editor
        editor.escaped = one.escaped
        with editor.prevent(Input.Changed):
            editor.value = one.format(self.draft.value(one.key)) if typed is None else typed
        editor.add_class("-open")
        self.screen.set_focus(editor)  # at once: the next key is a letter
        editor.action_select_all()
        self._show_detail()

    def _parsed(self, text: str) -> tuple[Value | None, str]:
        assert self._editing
        try:
            return SETTINGS[self._editing].parse(text), ""
        except ValueError as error:
            return None, str(error)

    def _show_detail(self) -> None:
        detail = self.query_one("#setting-help", Static)
        key = self._editing or self.list.highlighted_key
        if key in SETTINGS:
            detail.update(_explained(SETTINGS[str(key)], self.draft))
        elif key in SECTIONS:
            detail.update(Text(str(SECTIONS[str(key)].__doc__), "dim"))
        elif key:
            detail.update(Text("Settings that are seldom changed.", "dim"))


def _waiting(draft: Draft) -> str:
    """How many edits wait, and what for."""
    at_resume = len(draft.edits_for(When.RESUME))
    parts = []
    if new_run := len(draft.edits) - at_resume:
        parts.append(f"{new_run} for a {When.NEW_RUN}")
    if at_resume:
        parts.append(f"{at_resume} {When.RESUME}")
    return " · ".join(parts)


def _explained(one: Setting, draft: Draft) -> Text:
    text = Text.assemble((one.key, "bold"), "\n", one.help, "\n")
    if one.bounds:
        words = "".join(f", or {word}" for word in one.special.values())
        unit = f" {one.unit}" if one.unit else ""
        text.append(f"{one.bounds}{unit}{words}\n", "dim")
    if one.key in draft.edits:
        text.append(f"the run has {one.format(draft.base.get(one.key))}\n", "yellow")
    if one.source:
        text.append(f"{one.source}\n", "dim italic")
    when = WHEN_TEXTS[one.when]
    text.append(f"{when.sign} takes effect {when.effect}".strip(), "dim")
    return text
