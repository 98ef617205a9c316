"""The presets, built-in and one's own: what each is, changes and costs; one for the next run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rich.text import Text
from textual import events, getters
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, VerticalScroll
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from data.errors import InputError
from engine.config.model_size import COUNTED, parameter_count
from engine.config.presets import GROUPS, LADDER, PRESETS, Preset
from engine.config.schema import SETTINGS, Config
from tui.control.keymap import bindings
from tui.control.next_run import NOBODY_WAITS, NextRun, next_run
from tui.control.own_presets import OWN, check_preset_name, delete_preset, own_presets
from tui.control.run import RunControl
from tui.screens.dialogs import Dialog
from tui.screens.keyed import KeyedScreen
from tui.terminal.visible import visible_line
from tui.text.numbers import format_amount, format_count, format_estimate, format_path
from tui.widgets.choice_list import select_by_second_click
from tui.widgets.field import Field
from tui.widgets.keys_footer import KeysFooter

NAME_WIDTH, FIGURE_WIDTH, TIME_WIDTH = 17, 7, 11


class PresetList(OptionList, can_focus=False):
    """The presets in rows; the screen has the keys."""

    def on_click(self, event: events.Click) -> None:
        select_by_second_click(self, event)


class DeletePresetDialog(Dialog):
    """Asks before a preset is deleted; the answer is ``delete``."""

    KEYS = "ask_delete_preset"
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Delete the preset {name}?", Text("Runs that were trained with it are kept.\n")
        )


class PresetsScreen(KeyedScreen[str]):
    """Lists the presets; its result is a sentence on the one that was taken, empty if none was."""

    CSS_PATH = "../styles/presets.tcss"
    AUTO_FOCUS = ""
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]
    KEYS = "presets"
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)
    ABOUT = (
        "A preset is a set of settings with a name: how large the model is, and how it is trained. "
        "Use one to begin with settings that are known to work, instead of setting each of them. "
        "The lecture's models are those of Karpathy's *Let's build GPT*: each adds something to "
        "the one before."
    )
    HELP = (
        "`{presets.take}` takes a preset over for the next run; the text stays. "
        "`gpt-tui --preset NAME` begins with one.\n\n"
        f"Parameters are counted {COUNTED}."
    )

    options = getters.query_one("#presets-list", PresetList)
    filter = getters.query_one("#presets-filter", Field)
    name_field = getters.query_one("#presets-name", Field)

    def __init__(self, control: RunControl) -> None:
        super().__init__()
        self.control = control
        self._groups: dict[str, list[Preset]] = {}
        self._problems: dict[str, str] = {}  # of presets that cannot be used
        self._sizes: dict[str, NextRun] = {}
        self._replaces = ""  # the preset that saving again will replace

    def compose(self) -> ComposeResult:
        yield Static(id="presets-heading")
        yield Field(id="presets-filter", placeholder="words in name or description")
        with Container(id="presets-body"):
            yield PresetList(id="presets-list")
            with VerticalScroll(id="presets-detail", can_focus=False):
                yield Static(id="presets-words")
        yield Field(id="presets-name", placeholder="a name for the settings of the next run")
        yield KeysFooter()

    def on_mount(self) -> None:
        self._read()
        self._show(self.control.draft.next_preset)

    def _read(self) -> None:
        self._groups = {group: list(presets) for group, presets in GROUPS.items()}
        try:
            own = own_presets()
        except InputError as error:
            own = []
            self.notify(str(error), severity="error")
        self._problems = {one.name: one.problem for one in own if one.problem}
        if own:
            self._groups = {OWN: [one.preset for one in own], **self._groups}
        self._sizes = {
            one.name: next_run(self.control.with_preset(one))
            for presets in self._groups.values()
            for one in presets
        }

    # -- showing ---------------------------------------------------------------------------------

    @property
    def chosen(self) -> Preset | None:
        """The preset under the cursor."""
        option = self.options.highlighted_option
        presets = (one for group in self._groups.values() for one in group)
        return next((one for one in presets if option and one.name == option.id), None)

    def _show(self, name: str = "") -> None:
        """List the presets that match, with the cursor on one of them."""
        kept = name or (self.chosen.name if self.chosen else "")
        words = self.filter.value.lower().split()
        rows: list[Option] = []
        for group, presets in self._groups.items():
            found = [one for one in presets if _matches(one, group, words)]
            if found:
                title = group.partition(":")[0].partition(" (")[0]  # here with this text's tokens
                rows.append(Option(Text(title, "bold"), id=f"group {group}", disabled=True))
                rows += [Option(self._row(one), id=one.name) for one in found]
        self.options.set_options(rows)
        names = [option.id for option in rows if not option.disabled]
        if names:
            at = kept if kept in names else names[0]
            self.options.highlighted = self.options.get_option_index(str(at))
        self._show_heading(len(names))
        self._show_detail()

    def _show_heading(self, found: int) -> None:
        text = Text("presets", "bold")
        if self.filter.value:
            text.append(f" · {found} match “{visible_line(self.filter.value)}”", "not bold")
        take = self.key_of("presets.take")
        if self.control.run_path is None:
            told = f"{take} takes one, {self.key_of('cockpit.train')} then trains it"
        else:
            told = f"{take} prepares the next run, {self.key_of('cockpit.new_run')} then starts it"
        text.append(f" · {told}", "not bold")
        self.query_one("#presets-heading", Static).update(text)

    def _row(self, preset: Preset) -> Text:
        now = self.control.draft.next_preset
        text = Text("● " if preset.name == now else "  ", no_wrap=True)
        text.append(f"{preset.name:<{NAME_WIDTH}} ", "bold")
        if problem := self._problems.get(preset.name):
            return text.append(visible_line(problem), "dim")
        sizes = self._sizes[preset.name]
        text.append(f"{format_amount(sizes.parameters):>{FIGURE_WIDTH}} ")
        text.append(f"{_time(sizes):>{TIME_WIDTH}}  ", "dim")
        return text.append(visible_line(preset.changed or preset.help))

    def _show_detail(self) -> None:
        preset = self.chosen
        words = (
            Text(f"no preset has these words: {self.key_of('presets.back')} shows all of them")
            if preset is None
            else (self._words(preset))
        )
        self.query_one("#presets-words", Static).update(words)
        self.query_one("#presets-detail", VerticalScroll).scroll_home(animate=False)
        self.refresh_bindings()

    def _words(self, preset: Preset) -> Text:
        text = Text.assemble((preset.name, "bold"), "\n")
        if problem := self._problems.get(preset.name):
            return text.append(f"It cannot be used. {visible_line(problem)}\nDelete removes it.")
        config = self.control.with_preset(preset)
        for sentence in _sentences(preset):
            text.append(f"{visible_line(sentence)}\n")
        text.append("".join(f"{fact}\n" for fact in _facts(preset, config)), "dim")
        text.append("\n").append_text(self._changes(config))
        return text

    def _changes(self, config: Config) -> Text:
        """Return which settings of the next run it would change."""
        draft = self.control.draft
        before = draft.next_or_base()
        changes = config.differences(before)
        if self.control.run_path is not None:  # the open run has found out what auto is here
            found = [key for key in changes if SETTINGS[key].format(config.get(key)) == "auto"]
            changes = {key: changes[key] for key in changes if key not in found}
        text = Text()
        if edits := draft.next_edits:
            undo = f"{self.key_of('cockpit.undo')} undoes that"
            text.append(f"replaces {format_count(len(edits), 'edited setting')}; {undo}\n", "bold")
        if not changes:
            return text.append("the settings of the next run are the same")
        text.append(f"changes {format_count(len(changes), 'setting')} of the next run:\n", "bold")
        wide = self.has_class("-wide")
        for place, (key, (after, now)) in enumerate(changes.items()):
            one = SETTINGS[key]
            text.append("" if wide or not place else " · ", "dim")
            text.append(f"  {key} " if wide else one.name.replace(" ", NBSP) + NBSP)
            text.append(f"{_short(one.format(now))}{NBSP}→{NBSP}", "dim")
            text.append(_short(one.format(after)) + ("\n" if wide else ""))
        return text

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        self._show_detail()

    def on_resize(self) -> None:
        self._show_detail()  # after the classes of the new size
        self.call_after_refresh(self.options.scroll_to_highlight)

    # -- keys ------------------------------------------------------------------------------------

    def why_not(self, action: str, parameters: tuple[object, ...]) -> str:
        if action not in ("take", "delete") or not self.is_mounted:
            return ""
        preset = self.chosen
        if preset is None:
            return f"no preset is listed: {self.key_of('presets.back')} shows all of them"
        if action == "take" and preset.name in self._problems:
            return "this preset cannot be used: its file has a problem"
        if action == "delete" and preset.name in PRESETS:
            return "a built-in preset cannot be deleted, only one of your own"
        return ""

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if not self.why_not("take", ()):
            self.action_take()

    def action_take(self) -> None:
        preset = self.chosen
        if preset is None:
            return
        control = self.control
        count = len(control.draft.next_edits)
        replaced = control.take_preset(preset)
        told = f"{preset.name} is taken over"
        if control.run_path is not None:
            starts = f"{self.key_of('cockpit.new_run')} starts it"
            told = f"{preset.name} is prepared for the next run: {starts}"
        if replaced:
            undoes = f"{self.key_of('cockpit.undo')} undoes that"
            told += f"; it replaces {format_count(count, 'edited setting')} ({undoes})"
        self.dismiss(told)

    def action_move(self, how: str) -> None:
        getattr(self.options, f"action_{MOVES.get(how, how)}")()

    def action_scroll_detail(self, lines: int) -> None:
        self.query_one("#presets-detail").scroll_relative(y=lines, animate=False)

    def action_filter(self) -> None:
        self.add_class("-filtering")
        self.filter.focus()

    def action_save(self) -> None:
        self._replaces = ""
        self.add_class("-saving")
        self.name_field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if event.input is self.filter:
            self._show()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if event.input is self.filter:
            self.set_focus(None)
        else:
            self._save(event.value.strip())

    def _save(self, name: str) -> None:
        """Save under a name; one that is taken has to be given twice."""
        own = [one.name for one in self._groups.get(OWN, ())]
        try:
            check_preset_name(name)
            if name in own and self._replaces != name:
                self._replaces = name
                again = f"{self.key_of('field.submit')} again replaces it"
                self.notify(f"there is already a preset {name}: {again}", severity="warning")
                return
            path = self.control.save_preset(name)
        except InputError as error:
            self.notify(str(error), severity="error")
            return
        self._leave_fields()
        self._read()
        self._show(name)
        self.notify(f"saved as {format_path(path)}; gpt-tui --preset {name} begins with it")

    def action_delete(self) -> None:
        preset = self.chosen
        if preset is not None and preset.name not in PRESETS:
            self.app.push_screen(DeletePresetDialog(preset.name), self._delete)

    def _delete(self, answer: str | None) -> None:
        preset = self.chosen
        if answer != "delete" or preset is None:
            return
        try:
            delete_preset(preset.name)
        except InputError as error:
            self.notify(str(error), severity="error")
            return
        self._read()
        self._show()
        self.notify(f"the preset {preset.name} is deleted")

    def action_leave_field(self) -> None:
        self._leave_fields()

    def _leave_fields(self) -> None:
        """Close the field with the focus; a filter is taken away."""
        if self.has_class("-saving"):
            self.name_field.value = ""
            self.remove_class("-saving")
        else:
            self.remove_class("-filtering")
            self.filter.value = ""
        self.set_focus(None)

    def action_leave(self) -> None:
        """Leave a filter first, then the screen."""
        if self.has_class("-filtering"):
            self._leave_fields()
        else:
            self.dismiss("")


MOVES = {"down": "cursor_down", "up": "cursor_up"}
RUNGS = [rung.name for rung in LADDER]
NBSP = "\u00a0"  # what belongs together stays on a line
LONGEST_VALUE = 30


def _short(value: str) -> str:
    value = visible_line(value)
    return value if len(value) <= LONGEST_VALUE else f"{value[:LONGEST_VALUE]}…"


def _matches(preset: Preset, group: str, words: list[str]) -> bool:
    text = f"{preset.name} {preset.help} {preset.changed} {group}".lower()
    return all(word in text for word in words)


def _sentences(preset: Preset) -> Iterator[str]:
    """Yield what a preset is, and what it changes against the model before it in the lecture."""
    if preset.lecture_loss is None:
        yield preset.help
        return
    at = RUNGS.index(preset.name)
    place = f"The lecture's model {at + 1} of {len(RUNGS)}"
    if at:
        yield f"{place}. New since {RUNGS[at - 1]}: {preset.changed}"
    else:
        yield f"{place}: {preset.changed}"
    yield f"The video reaches a validation loss of {preset.lecture_loss:.2f} with it."


def _facts(preset: Preset, config: Config) -> Iterator[str]:
    sizes, model = next_run(config), config.model
    about = "" if sizes.is_exact else "about "
    shape = "a table"
    if model.architecture != "bigram":
        shape = f"{format_count(model.n_layer, 'layer')}, width {model.n_embd}"
    counted = f"{about}{sizes.parameters:,} parameters without positions"
    yield f"{counted} · {shape} · context {model.block_size}"
    if preset.vocab_size:
        published = parameter_count(model, preset.vocab_size)
        yield f"{published:,} as published: {preset.vocab_size:,} tokens, positions counted"
    if sizes.steps is not None and sizes.tokens is not None:
        long = _time(sizes)
        told = f"{long} on this CPU" if long.startswith("~") else "made for a GPU"
        yield f"{sizes.steps:,} steps · {format_amount(sizes.tokens)} tokens · {told}"
    yield f"text: {visible_line(config.data.corpus)}"


def _time(sizes: NextRun) -> str:
    """Return how long it trains on the CPU of this machine."""
    if sizes.seconds is None:
        return ""
    return f"~{format_estimate(sizes.seconds)}" if sizes.seconds < NOBODY_WAITS else "for a GPU"
