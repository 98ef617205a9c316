"""The hyperparameter panel: the list, and below it the setting under the cursor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import events, getters
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input, OptionList, Static

from engine.config.changes import WHEN_TEXTS, with_one_end
from engine.config.governs import governed
from engine.config.schema import SECTIONS, SETTINGS, Config
from engine.config.setting import Setting, Value, When
from engine.config.unused import unused
from tui.control.draft import Draft, settings_named
from tui.control.effect import SAME, Effect
from tui.control.keymap import bindings
from tui.control.remap import key_in_force
from tui.control.stepping import stepped
from tui.terminal.visible import visible_line
from tui.text.numbers import format_count
from tui.widgets.choice_list import ChoiceList
from tui.widgets.field import Field
from tui.widgets.notice import Notice
from tui.widgets.settings_list import SettingsList


class SettingField(Field):
    """The field of a setting; up and down step its value, which enter takes over."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("number")

    one: Setting | None = None  # what is edited

    def action_step(self, by: int) -> None:
        if self.one is None:
            return
        with suppress(ValueError):  # what was typed is no value
            value = stepped(self.one, self.one.parse(self.value), up=by > 0)
            self.value = self.one.format(value)
            self.action_end()


class Detail(Vertical):
    """What is told of the setting under the cursor; its upper edge says if there is more of it."""

    DEFAULT_CSS = """
    Detail { border-top: solid $primary 30%; border-title-align: right; }
    Detail { border-title-color: $text-muted; border-title-style: none; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._where = ""

    def say_where(self, words: str) -> None:
        """Take the words that say where all of it is to be had."""
        self._where = words
        self._mark()

    def watch_virtual_size(self) -> None:
        self._mark()

    def on_resize(self) -> None:
        self._mark()

    def _mark(self) -> None:
        is_cut = self.virtual_size.height > self.content_size.height > 0
        self.border_title = self._where if is_cut else ""


class SettingsPanel(Vertical):
    """Shows and edits the draft; what becomes of an edit is its owner's business.

    Args:
        effect_of: Returns what a change would do, None while it conflicts with other settings.
    """

    DEFAULT_CSS = """
    SettingsPanel {
        border: round $primary 50%;
        border-title-color: $text-primary;
        border-subtitle-color: $foreground 70%;
        padding: 0 0 0 1;
    }
    SettingsPanel:focus-within { border: round $primary; }
    SettingsPanel.-next { border: round $warning 50%; border-title-color: $text-warning; }
    SettingsPanel.-next:focus-within { border: round $warning; }
    SettingsPanel #setting-detail {
        height: 8;
        max-height: 60%;
        padding-right: 1;
    }
    SettingsPanel #setting-editor { display: none; background: $boost; }
    SettingsPanel #setting-editor.-open { display: block; }
    SettingsPanel #setting-editor.-faulty { color: $text-error; }
    SettingsPanel #setting-help, SettingsPanel #setting-effect { height: auto; }
    SettingsPanel #setting-effect { display: none; color: $text-accent; }
    SettingsPanel #setting-effect.-shown { display: block; }
    SettingsPanel #settings-search { display: none; background: $boost; }
    SettingsPanel #settings-search.-open { display: block; }
    """

    @dataclass
    class Edited(Message):
        """A setting was given a new value that is within its bounds."""

        key: str
        value: Value

    class Left(Message):
        """The cursor has left an editor for another place, which may have hidden the problem."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    list = getters.query_one(SettingsList)
    editor = getters.query_one("#setting-editor", SettingField)
    search = getters.query_one("#settings-search", Field)
    choices = getters.query_one(ChoiceList)

    def __init__(
        self,
        draft: Draft,
        effect_of: Callable[[str, Value], Effect | None],
        *,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.draft, self._effect_of = draft, effect_of
        self._editing: str | None = None
        self._handed_on: tuple[dict[str, Value], str] | None = None  # last, and as it was typed

    def compose(self) -> ComposeResult:
        yield Field(id="settings-search", placeholder="words in name or help")
        yield SettingsList(self.draft, id="settings-list")
        with Detail(id="setting-detail"):
            yield SettingField(id="setting-editor")
            yield ChoiceList(id="setting-choices")
            yield Notice(id="setting-problem")
            yield Static(id="setting-effect")
            yield Static(id="setting-help")

    def on_mount(self) -> None:
        self.refresh_values()

    def refresh_values(self) -> None:
        self.list.redraw_values()
        self.border_subtitle = _waiting(self.draft)
        self._show_detail()
        problems = self.draft.conflicts()
        if problems and not self._editing:
            self.show_problem(self._conflict_here() or problems[0])

    def _conflict_here(self) -> str:
        """Return why the setting under the cursor does not fit others; empty if it does."""
        key = self.list.highlighted_key
        return "\n".join(one for one in self.draft.conflicts() if key in settings_named(one))

    def explain(self) -> str:
        """Return the help of the setting under the cursor, or of its group."""
        key = self._editing or self.list.highlighted_key or ""
        if key in SETTINGS:
            return _help_of(SETTINGS[key], self.draft)
        section = key.partition(".")[0]
        return f"### {section}\n\n{SECTIONS[section].__doc__}" if section in SECTIONS else ""

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

    @property
    def is_editing(self) -> bool:
        return self._editing is not None

    def close_editor(self) -> None:
        """Leave the field or the values for the list, without a change."""
        self._end_editing()
        self.screen.set_focus(self.list)  # at once: whether it has the focus is asked soon

    def _end_editing(self) -> None:
        self._editing = None
        self.editor.remove_class("-open", "-faulty")
        self.choices.close()
        self._show_effect(None)
        self.show_problem("")
        self._show_detail()

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        """Keep what is valid in a field that is left by Tab or a click; drop the rest, and say so.

        Not if the terminal has lost the focus, or another screen covers this one: the cursor comes
        back to the field then.
        """
        left = event.widget in (self.editor, self.choices) and self._editing
        if not left or not self.app.app_focus or not self.screen.is_current:
            return
        key, typed, in_field = self._editing, self.editor.value, event.widget is self.editor
        value, problem = self._parsed(typed) if in_field else (None, "")
        self._end_editing()
        assert key
        if value is None and problem:
            self.post_message(self.Left(f"{problem}: {key} stays as it was"))
        elif value is not None and value != self.draft.value(key):
            self._handed_on = None  # the field is left for good
            self.post_message(self.Edited(key, value))

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        if not self._editing:
            self.show_problem(self._conflict_here())
        self._show_detail()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Fold a group, or open the values or the field of a setting."""
        event.stop()
        key = str(event.option_id)
        if key not in SETTINGS:
            self.list.toggle(key)
            return
        one, value = SETTINGS[key], self.draft.value(key)
        if values := values_of(one):
            self._editing = key
            self.choices.open(values, one.format(value))
            self._show_detail()
        else:
            self._open_editor(one)

    def on_settings_list_reset_asked(self, message: SettingsList.ResetAsked) -> None:
        message.stop()
        key = str(self.list.highlighted_key)
        one, known = SETTINGS[key], self.draft.known_values(key)
        self._editing = key
        values = [one.format(value) for value, _ in known]
        notes = dict(zip(values, (what for _, what in known), strict=True))
        self.choices.open(values, one.format(self.draft.value(key)), notes)
        self._show_detail()

    def on_settings_list_step_asked(self, message: SettingsList.StepAsked) -> None:
        """Open the field with the next value, or step that in the field."""
        message.stop()
        one = SETTINGS[str(self.list.highlighted_key)]
        if self._editing != one.key:
            self._open_editor(one)
        self.editor.action_step(message.by)

    def on_settings_list_search_asked(self, message: SettingsList.SearchAsked) -> None:
        message.stop()
        self.search.add_class("-open")
        self.screen.set_focus(self.search)  # at once: the next key is a letter

    def end_search(self) -> None:
        """Show all settings again."""
        with self.search.prevent(Input.Changed):
            self.search.value = ""
        self.search.remove_class("-open")
        self.list.search("")
        self.screen.set_focus(self.list)

    def step_back(self) -> bool:
        """Leave a search, a comparison or the next run; return whether there was one of these."""
        if self.is_searching:
            self.end_search()
        elif self.compared_with:
            self.compare()
        elif self.draft.is_turned:
            self.turn(to_next=False)
        else:
            return False
        return True

    def turn(self, to_next: bool) -> None:
        """Show the settings of the next run, or those of the run on the screen."""
        if self._editing:
            self.close_editor()  # what is typed in it is of the other one
        self.draft.show_next(to_next)
        self.refresh_values()
        self.screen.refresh_bindings()

    def on_settings_list_other_run_asked(self, message: SettingsList.OtherRunAsked) -> None:
        message.stop()
        self.turn(not self.draft.shows_next)

    def on_click(self, event: events.Click) -> None:
        """The title names the run; a click on it shows the other one."""
        if event.y == 0 and event.widget is self and self.draft.of_run:
            event.stop()
            self.turn(not self.draft.shows_next)

    def compare(self, name: str = "", other: Config | None = None) -> None:
        """Show only what differs from other settings; None shows all."""
        self.list.compare(name, other)
        self._show_detail()

    @property
    def compared_with(self) -> str:
        """What the settings are compared with; empty if all are shown."""
        return self.list.other_name

    @property
    def is_searching(self) -> bool:
        return self.search.has_class("-open")

    def on_choice_list_chosen(self, message: ChoiceList.Chosen) -> None:
        message.stop()
        key = self._editing
        if key:
            value = SETTINGS[key].parse(message.value)
            self.close_editor()
            if value != self.draft.value(key):
                self.post_message(self.Edited(key, value))

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if event.input is self.search:
            self.list.search(event.value)
            self._show_detail()
        elif self._editing:
            value, problem = self._parsed(event.value)
            self.editor.set_class(bool(problem), "-faulty")
            self._show_effect(value)
            self.show_problem(problem or self._misfit(value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if event.input is self.search:
            self.screen.set_focus(self.list)
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
        editor.one, editor.escaped = one, one.escaped
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

    def on_choice_list_highlighted(self, message: ChoiceList.Highlighted) -> None:
        message.stop()
        if self._editing:
            value = SETTINGS[self._editing].parse(message.value)
            self._show_effect(value)
            self.show_problem(self._misfit(value))

    def _misfit(self, value: Value | None) -> str:
        """Return why a value of the setting that is edited would not fit others.

        It can be taken nevertheless: the others may be changed next.
        """
        if self._editing is None or value is None or value == self.draft.value(self._editing):
            return self._conflict_here()
        problems = self.draft.conflicts(with_one_end({self._editing: value}))
        return "\n".join(one for one in problems if self._editing in settings_named(one))

    def _show_effect(self, value: Value | None) -> None:
        """Say what the setting that is edited would do with a value; None says nothing."""
        key, told = self._editing, self.query_one("#setting-effect", Static)
        known = key and value is not None and value != self.draft.value(key)
        effect = self._effect_of(key, value) if key and value is not None and known else None
        if effect:
            told.update(Text("\n".join((*(effect.figures or (SAME,)), effect.when))))
        told.set_class(effect is not None, "-shown")

    def _show_detail(self) -> None:
        name = self.compared_with
        which = "next run" if self.draft.shows_next else "this run"
        self.border_title = f"{which} " + (
            f"against {visible_line(name)}" if name else "· settings"
        )
        self.set_class(self.draft.is_turned, "-next")
        help_key = key_in_force(self, "app.help", typing=self.editor.has_class("-open"))
        self.query_one(Detail).say_where(f" … {help_key} shows all ")
        detail = self.query_one("#setting-help", Static)
        key = self._editing or self.list.highlighted_key
        if key in SETTINGS:
            detail.update(_explained(SETTINGS[str(key)], self.draft))
        elif key in SECTIONS:
            detail.update(Text(str(SECTIONS[str(key)].__doc__), "dim"))
        else:
            detail.update(Text("Settings that are seldom changed." if key else "", "dim"))


def values_of(one: Setting) -> Sequence[str]:
    """Return the values of a choice or a switch; none of other settings."""
    if one.type is bool:
        return [one.format(True), one.format(False)]
    return list(one.choices)


def _help_of(one: Setting, draft: Draft) -> str:
    """Return all there is to say of a setting, as Markdown."""
    special = "".join(f", or `{word}`" for word in one.special.values())
    unit = f" {one.unit}" if one.unit else ""
    lines = [f"### {one.key}", one.help]
    told = _with_muon(one, draft), _before(one, draft), _without_effect(one, draft)
    lines += [f"{words[0].upper()}{words[1:]}." for words in told if words]
    lines += [f"Allowed: {one.bounds}{unit}{special}."] if one.bounds else []
    default = one.format(one.default)
    lines += [f"Default: `{default}`."] if default else []
    lines += [f"A change takes effect {WHEN_TEXTS[one.when].effect}."]
    lines += [f"Where it comes from: {one.source}."] if one.source else []
    return "\n\n".join(lines)


def _waiting(draft: Draft) -> str:
    """How many edits wait, and of which run; and how many times they do not fit together."""
    parts = []
    if draft.shows_next and draft.prepared:
        parts.append(f"preset {draft.prepared.preset}")
    if draft.edits:
        parts.append(f"{len(draft.edits)} {'edited' if draft.shows_next else When.RESUME}")
    elif not draft.shows_next and (draft.prepared or draft.next_edits):
        parts.append("the next run differs")
    if conflicts := len(draft.conflicts()):
        parts.append(format_count(conflicts, "conflict"))
    return " · ".join(parts)


def _with_muon(one: Setting, draft: Draft) -> str:
    told = governed(draft.config(), one.key)
    return f"with Muon {told}" if told else ""


def _before(one: Setting, draft: Draft) -> str:
    """Return which value an edit replaces; empty without one."""
    before = draft.run_value(one.key) if draft.is_turned else draft.shown_base.get(one.key)
    if draft.value(one.key) == before:
        return ""
    return f"{'this run has' if draft.of_run else 'before the edit'} {one.format(before)}"


def _without_effect(one: Setting, draft: Draft) -> str:
    reason = unused(draft.config()).get(one.key)
    return f"no effect now: {reason}" if reason else ""


def _explained(one: Setting, draft: Draft) -> Text:
    text = Text.assemble((one.key, "bold"), "\n")
    if told := _with_muon(one, draft):
        text.append(f"{told}\n", "italic")
    text.append(f"{one.help}\n")
    if one.bounds:
        words = "".join(f", or {word}" for word in one.special.values())
        unit = f" {one.unit}" if one.unit else ""
        text.append(f"{one.bounds}{unit}{words}\n", "dim")
    for told in (_before(one, draft), _without_effect(one, draft)):
        if told:
            text.append(f"{told}\n", "yellow")
    if one.source:
        text.append(f"{one.source}\n", "dim italic")
    when = WHEN_TEXTS[one.when]
    effect = "in the next run" if draft.is_turned else when.effect
    text.append(f"{when.sign} takes effect {effect}".strip(), "dim")
    return text
