"""The sampling pane: a prompt, text streaming in, and every earlier text within reach."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.cells import cell_len, set_cell_size
from textual import events, getters
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input

from data.tokenizers import without_token
from engine.config.schema import SETTINGS
from engine.config.setting import Value
from engine.protocol import TokenOdds
from tui.widgets.field import EMPTY_PROMPT, Field, FieldLabel
from tui.widgets.notice import Notice
from tui.widgets.text_view import Passage, TextView

FRAME_TO_LABEL = 3  # columns from the right edge to the end of the label in the frame
MOST_PROMPTS = 200  # that the history keeps
FIELDS = ("sample.prompt", "sample.temperature", "sample.top_k")
LABELS = {"sample.prompt": "prompt", "sample.temperature": "temp", "sample.top_k": "top-k"}
SLIM = 50  # columns of the whole pane; in fewer the prompt takes a line of its own
SLIMMEST = 44  # in fewer there is no room for the seed
MOST_TOKENS_WITH_ODDS = 20_000  # those of older texts are dropped: each takes some 500 bytes
END_OF_TEXT = "end of text"
MOST_IN_TITLE = 24  # cells of a prompt
CUT = " \\"  # no end of a shortened prompt: of an escape only the backslash might be left


class SampleRecord:
    """A text of the run and how it was generated; it may grow."""

    def __init__(
        self,
        step: int,
        automatic: bool,
        settings: Mapping[str, Any],
        text: str = "",
        number: int = -1,
        finished: bool = False,
        val_loss: float | None = None,
        group: int = 0,
        at_end_of_text: bool = False,
    ) -> None:
        self.step, self.automatic, self.settings = step, automatic, settings
        self.number = number  # the engine's, while it streams
        self.val_loss = val_loss
        self.at_end_of_text = at_end_of_text  # whether the model ended it, with its token for that
        self.group = group  # the same for texts that were asked for together; 0 for a single one
        prompt = str(settings.get("prompt", ""))
        cut = finished and len(text) >= settings.get("max_tokens", math.inf)
        self.passage = Passage(prompt, text, finished=finished, cut=cut)

    @property
    def text(self) -> str:
        return self.passage.text

    @property
    def finished(self) -> bool:
        return self.passage.finished

    @property
    def prompt(self) -> str:
        return self.passage.prompt

    @property
    def seed(self) -> int:
        return int(self.settings.get("seed", 0))


class SampleField(Field):
    """A field of the sampling settings."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Sample", id="field.submit"),
    ]

    def __init__(self, key: str) -> None:
        super().__init__(id=key.replace(".", "-"))
        self.key = key
        self.escaped = SETTINGS[key].escaped
        self._filled = ""

    @property
    def is_typed(self) -> bool:
        """Whether something was typed that no run has taken over."""
        return self.value != self._filled

    def fill(self, value: Value) -> None:
        """Show what holds."""
        with self.prevent(Input.Changed):
            self.value = self._filled = SETTINGS[self.key].format(value)
        self.remove_class("-faulty", "-typed")

    def settle(self, value: Value) -> None:
        """Show what holds, unless something else was typed."""
        parsed, _ = self.parsed()
        if not self.is_typed:
            self.fill(value)
        elif parsed == value:
            self._filled = self.value  # taken over, however it is written
            self.remove_class("-typed")

    def refuse(self, value: Value) -> None:
        """Keep what was typed, as something that is not used."""
        self._filled = SETTINGS[self.key].format(value)
        self.set_class(self.is_typed, "-typed")

    def explain(self) -> str:
        """Return the help of the setting that the field holds."""
        one = SETTINGS[self.key]
        whose = "For the texts that you ask for; automatic texts have the run's own setting."
        return f"### {one.key}\n\n{one.help}\n\nAllowed: {one.bounds or 'any text'}.\n\n{whose}"

    def parsed(self) -> tuple[Value | None, str]:
        try:
            return SETTINGS[self.key].parse(self.value), ""
        except ValueError as error:
            return None, str(error)


class PromptField(SampleField):
    """The prompt, with those before it within reach."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "recall(-1)", "Earlier prompt", show=False),
        Binding("down", "recall(1)", "Later prompt", show=False),
    ]

    def __init__(self) -> None:
        super().__init__("sample.prompt")
        self._history: list[str] = []  # the newest last, as they are written in the field
        self._place: int | None = None  # None while none of them is shown
        self._draft = ""  # what was typed before

    def remember(self, prompt: str) -> None:
        """Put a prompt at the end of the history."""
        written = SETTINGS[self.key].format(prompt)
        self._place = None
        if written:
            self._history = [one for one in self._history if one != written][-MOST_PROMPTS + 1 :]
            self._history.append(written)

    def forget_history(self) -> None:
        self._history, self._place = [], None

    def action_recall(self, by: int) -> None:
        """Show an earlier prompt; behind the newest is what was typed."""
        if self._place is None:
            self._draft = self.value
            self._place = len(self._history)
        self._place = max(0, min(len(self._history), self._place + by))
        shown = [*self._history, self._draft]
        self.value = shown[self._place]
        self.cursor_position = len(self.value)
        if self._place == len(self._history):
            self._place = None


class SeedField(Field):
    """The seed of the texts to come; empty for another one each time."""

    def __init__(self) -> None:
        super().__init__(id="sample-seed", placeholder="new", restrict="[0-9]*")

    def parsed(self) -> tuple[int | None, str]:
        """Return the seed, None for another one each time; and what is wrong with it."""
        if not self.value:
            return None, ""
        try:
            seed = SETTINGS["sample.seed"].parse(self.value)
        except ValueError as error:
            return None, str(error)
        return int(seed), ""


class SamplePane(Vertical):
    """Shows samples, the newest unless an earlier one was chosen.

    Args:
        key_of: Returns the key of an action, by its id in the key table.
    """

    DEFAULT_CSS = """
    SamplePane {
        border: round $primary 50%;
        border-title-color: $text-primary;
        border-subtitle-color: $foreground 70%;
        height: 1fr;
        padding: 0 1;
    }
    SamplePane:focus-within { border: round $primary; }
    SamplePane #sample-fields { height: 1; }
    SamplePane #sample-fields Horizontal { width: auto; height: 1; }
    SamplePane #sample-fields #sample-first { width: 1fr; }
    SamplePane.-slim #sample-fields { layout: vertical; height: 2; }
    SamplePane #sample-fields Label { color: $foreground 60%; margin-right: 1; }
    SamplePane SampleField { background: $surface; margin-right: 2; }
    SamplePane SampleField:focus { background: $boost; }
    SamplePane #sample-prompt { width: 1fr; }
    SamplePane #sample-temperature { width: 5; }
    SamplePane #sample-top_k { width: 5; }
    SamplePane #sample-seed { width: 7; background: $surface; }
    SamplePane #sample-seed:focus { background: $boost; }
    SamplePane.-slimmest #sample-seed, SamplePane.-slimmest #sample-seed-label { display: none; }
    SamplePane SampleField.-typed:blur { color: $text-warning; }
    SamplePane SampleField.-faulty, SamplePane SampleField.-faulty:blur { color: $text-error; }
    SamplePane #sample-body { height: 1fr; margin-top: 1; }
    SamplePane.-slim #sample-fields SampleField { width: 4; margin-right: 1; }
    SamplePane.-slim #sample-fields #sample-seed { width: 6; }
    SamplePane.-slim #sample-fields #sample-prompt { width: 1fr; margin-right: 0; }
    SamplePane.-slim #sample-fields #sample-top_k { margin-right: 1; }
    """

    @dataclass
    class Edited(Message):
        """A sample is wanted, with these settings changed."""

        changes: dict[str, Value]
        seed: int | None  # fixed; None for another one each time

    waiting = getters.query_one("#sample-waiting", Notice)
    view = getters.query_one("#sample-body", TextView)
    prompt_field = getters.query_one(PromptField)

    def __init__(self, key_of: Callable[[str], str], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._key_of = key_of
        self.records: list[SampleRecord] = []
        self._val_losses: dict[int, float] = {}  # of the steps evaluated so far
        self._groups: list[list[SampleRecord]] | None = None  # of records that belong together
        self._shown: int | None = None  # the place of a group; None follows the newest
        self._values: dict[str, Value] = {}
        self._dirty = False
        self._expected: Passage | None = None  # of a text that is to be sampled next
        self._labels = ("", "")
        self._with_odds: deque[SampleRecord] = deque()  # the oldest first
        self._characters: Set[str] = frozenset()
        self._block_size = 0  # characters that the model sees; 0 if that is not known

    def compose(self) -> ComposeResult:
        with Horizontal(id="sample-fields"):
            with Horizontal(id="sample-first"):
                yield FieldLabel(LABELS[FIELDS[0]])
                yield PromptField()
            with Horizontal(id="sample-others"):
                for key in FIELDS[1:]:
                    yield FieldLabel(LABELS[key])
                    yield SampleField(key)
                yield FieldLabel("seed", id="sample-seed-label")
                yield SeedField()
        yield Notice(id="sample-waiting")
        yield Notice(id="sample-problem")
        yield TextView(id="sample-body")

    def on_mount(self) -> None:
        self.border_title = "sample"
        self.screen.screen_layout_refresh_signal.subscribe(self, self._fit)
        self._fields[0].placeholder = EMPTY_PROMPT
        self._redraw()

    def _fit(self, _screen: Screen[Any]) -> None:
        """Where the settings take half of the screen, the fields stand on two lines.

        Textual sends no Resize where somebody asks for a region before the new layout is there.
        """
        self.set_class(self.outer_size.width < SLIM, "-slim")
        self.set_class(self.outer_size.width < SLIMMEST, "-slimmest")

    def show_settings(self, values: dict[str, Value]) -> None:
        """Fill the fields in which nothing else was typed."""
        self._values, self._dirty = values, True
        for one in self._fields:
            one.settle(values[one.key])
        if not self._typed:
            self.waiting.say("")

    def refuse(self, values: dict[str, Value]) -> None:
        """No text comes: what was typed stays in the fields, and these hold."""
        self.expect(None)
        self._values = values
        for one in self._fields:
            one.refuse(values[one.key])

    def leave_field(self) -> None:
        """Take back what was typed in the field with the cursor; what was in others waits."""
        self.show_problem("")
        for one in self._fields:
            if one.has_focus:
                one.fill(self._values[one.key])
        self._tell_waiting()

    def _tell_waiting(self) -> None:
        """Say which fields hold what no run has taken over, once the cursor has left them."""
        names = " and ".join(LABELS[one.key] for one in self._typed)
        way = f"{self._key_of('cockpit.prompt')}, then {self._key_of('field.submit')}"
        self.waiting.say(names and f"not used yet: {names} ({way})", "hint")

    # -- samples ---------------------------------------------------------------------------------

    def open_run(
        self,
        records: list[SampleRecord],
        characters: Set[str] = frozenset(),
        context: int = 0,
        begins: str = "",
    ) -> None:
        """Another run is shown, with these samples.

        Args:
            characters: That a prompt may have; none if that is not known.
            context: How many tokens the model sees; each is a character where those are known.
            begins: What an empty prompt is; empty if that is not known.
        """
        self._fields[0].placeholder = f"empty: {begins}" if begins else EMPTY_PROMPT
        self._val_losses = {}
        self._characters, self._block_size = characters, context if characters else 0
        self.prompt_field.forget_history()
        for record in records:
            self.prompt_field.remember(record.prompt)
        self.load(records)

    def load(self, records: list[SampleRecord]) -> None:
        """Show the samples of a run, by step; they were kept in the order they were finished."""
        self.records = sorted(records, key=lambda record: record.step)
        self._groups, self._shown, self._expected = None, None, None
        self._redraw()

    def forget_after(self, step: int) -> None:
        """The run went back: texts of later steps belong to what it left."""
        self._val_losses = {at: loss for at, loss in self._val_losses.items() if at <= step}
        self.load([record for record in self.records if record.step <= step])

    def begin(self, record: SampleRecord) -> None:
        """A new text is on its way."""
        record.val_loss = self._val_losses.get(record.step)
        if record.automatic and self._shown is None and self.view.is_read:
            self._shown = self._position if self.records else None  # it is not taken away
        self.records.append(record)
        self._groups = None
        if not record.automatic:
            self._shown = self._expected = None  # the user asked for it, so it is shown
        self._dirty = True

    def expect(self, prompt: str | None) -> None:
        """Show the prompt of a text that was asked for until it begins; None if it does not."""
        self._expected = None if prompt is None else Passage(prompt)
        self._dirty = True

    @property
    def expected_prompt(self) -> str | None:
        """The prompt of a text that was asked for and has not begun."""
        return self._expected.prompt if self._expected else None

    def append(self, number: int, text: str, odds: Sequence[TokenOdds] = ()) -> None:
        """More of a text; drawn at the next ``refresh_text``."""
        record = self._streaming(number)
        if record:
            record.passage.text += text
            if odds:
                self._keep_odds(record, odds)
            self._dirty = True

    def _keep_odds(self, record: SampleRecord, odds: Sequence[TokenOdds]) -> None:
        if record not in self._with_odds:
            self._with_odds.append(record)
        record.passage.odds.extend(odds)
        count = sum(len(one.passage.odds) for one in self._with_odds)
        while count > MOST_TOKENS_WITH_ODDS and len(self._with_odds) > 1:
            oldest = self._with_odds.popleft()
            count -= len(oldest.passage.odds)
            oldest.passage.forget_odds()

    def finish(self, number: int, stopped_by: str = "") -> None:
        record = self._streaming(number)
        if record:
            record.passage.finished, record.passage.cut = True, stopped_by == "max_tokens"
            record.at_end_of_text = stopped_by == "end_of_text"
            record.number = -1
            self._dirty = True

    def _streaming(self, number: int) -> SampleRecord | None:
        return next((one for one in reversed(self.records) if one.number == number), None)

    def label_val_loss(self, step: int, val_loss: float) -> None:
        """Put a validation loss to the samples of its step, those to come as well."""
        self._val_losses[step] = val_loss
        for record in self.records:
            if record.step == step:
                record.val_loss = val_loss

    def refresh_text(self) -> None:
        """Draw what has come since the last call."""
        if self._dirty:
            self._redraw()

    def move(self, by: int) -> None:
        """Show texts before or after."""
        if not self.records:
            return
        self._expected = None
        last = len(self.groups) - 1
        position = max(0, min(last, self._position + by))
        self._shown = None if position == last else position
        self._redraw(at_end=False)

    def on_click(self, event: events.Click) -> None:
        """The arrows in the frame show the text before and the one after."""
        right = self.outer_size.width - FRAME_TO_LABEL
        left = right - cell_len(self._labels[1])
        if event.y == self.outer_size.height - 1 and left <= event.x < right:
            event.stop()
            self.move(-1 if event.x < (left + right) / 2 else 1)

    @property
    def groups(self) -> list[list[SampleRecord]]:
        """The records, those that were asked for together in one list."""
        if self._groups is None:
            self._groups = []
            for record in self.records:
                last = self._groups[-1][0] if self._groups else None
                if last and record.group and (record.group, record.step) == (last.group, last.step):
                    self._groups[-1].append(record)
                else:
                    self._groups.append([record])
        return self._groups

    @property
    def shown(self) -> list[SampleRecord]:
        """The texts on the screen."""
        return self.groups[self._position] if self.records else []

    @property
    def current(self) -> SampleRecord | None:
        return self.shown[-1] if self.records else None

    @property
    def being_written(self) -> int | None:
        """The number of a text that is being generated, one of those shown first."""
        candidates = [*self.shown, *reversed(self.records[-20:])]
        return next((one.number for one in candidates if not one.finished), None)

    def plain_text(self) -> str:
        """Return what is shown, for the clipboard or a file."""
        texts = [record.passage.whole for record in self.shown]
        if len(texts) == 1:
            return texts[0]
        pairs = zip(self.shown, texts, strict=True)
        return "\n\n".join(f"--- {one.passage.title}\n{text}" for one, text in pairs)

    @property
    def _position(self) -> int:
        return len(self.groups) - 1 if self._shown is None else self._shown

    def _hint(self) -> str:
        sample, prompt = self._key_of("cockpit.sample"), self._key_of("cockpit.prompt")
        ways = f"{sample} samples a text, {prompt} edits the prompt"
        return f"what the model writes appears here: {ways}"

    def _redraw(self, at_end: bool | None = None) -> None:
        self._dirty = False
        if self._expected:
            if self.view.passages != [self._expected]:
                self.view.show([self._expected], at_end=True)
            self._label("the next sample, once what is being written is done", "")
            return
        records = self.shown
        if not records:
            self.view.show([Passage(self._hint(), hint=True, finished=True)])
            self._label("sample", "")
            return
        many = len({one.prompt for one in records}) > 1
        for one in records:
            ended = f", {END_OF_TEXT}" if one.at_end_of_text else ""
            one.passage.title = f"{_quoted(one.prompt) if many else f'seed {one.seed}'}{ended}"
        passages = [one.passage for one in records]
        if passages != self.view.passages:
            grows = len(records) == 1 and not records[0].finished  # of several one sees the start
            self.view.show(passages, at_end=grows if at_end is None else at_end)
        else:
            self.view.update_text()
        in_row = str(self._values.get("sample.prompt", ""))
        self._label(
            _title(records, in_row), f"◂ sample {self._position + 1} of {len(self.groups)} ▸"
        )

    def _label(self, title: str, subtitle: str) -> None:
        """Name what is shown; setting a label repaints the whole pane, even to the same words."""
        if (title, subtitle) != self._labels:
            self._labels = (title, subtitle)
            self.border_title, self.border_subtitle = title, subtitle

    # -- fields ----------------------------------------------------------------------------------

    def focus_prompt(self) -> None:
        self.waiting.say("")
        self.screen.set_focus(self.prompt_field)  # at once: the next key is a letter

    def show_problem(self, text: str) -> None:
        """Explain what is wrong with a field; empty takes it back."""
        self.query_one("#sample-problem", Notice).say(text, "problem")

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        one = event.input
        if isinstance(one, SampleField):
            value, problem = one.parsed()
            if one.escaped and one.value.endswith("\\"):
                problem = ""  # the letter behind it is yet to be typed
            elif one.key == "sample.prompt" and self._characters:
                problem = problem or _unknown(str(value), self._characters)
            one.set_class(one.is_typed, "-typed")
            one.set_class(bool(problem), "-faulty")
            self.show_problem(problem)
            self.waiting.say("" if problem else self._what_it_does(one, value), "hint")
        elif isinstance(one, SeedField):
            self.show_problem(one.parsed()[1])

    def _what_it_does(self, one: SampleField, value: Value | None) -> str:
        """Say what is not plain to see of what is typed in a field."""
        context, length = self._block_size, len(str(value))
        # each character is a token where the characters of a prompt are known
        if one.key == "sample.prompt" and self._characters and 0 < context < length:
            return (
                f"the model sees only the last {context:,} of these {length:,} characters: that "
                f"is its context, model.block_size"
            )
        if not one.is_typed:
            return ""
        key = self._key_of("field.submit")
        if one.key == "sample.prompt":
            probe = f"{self._key_of('cockpit.probe')} then has automatic texts use it, too"
            return f"{key} samples with it; {probe}"
        return f"{key} samples with this {LABELS[one.key]}; automatic texts have the run's own"

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        changes: dict[str, Value] = {}
        for one in self._fields:
            value, problem = one.parsed()
            if value is None:
                self.screen.set_focus(one)  # to be corrected
                self.show_problem(problem)
                return
            if value != self._values[one.key]:
                changes[one.key] = value
        seed_field = self.query_one(SeedField)
        seed, problem = seed_field.parsed()
        if problem:
            self.screen.set_focus(seed_field)
            self.show_problem(problem)
            return
        self.show_problem("")
        self.prompt_field.remember(str(changes.get("sample.prompt", self._values["sample.prompt"])))
        self.post_message(self.Edited(changes, seed))

    @property
    def fixed_seed(self) -> int | None:
        return self.query_one(SeedField).parsed()[0]

    @property
    def _fields(self) -> list[SampleField]:
        return [self.query_one(f"#{key.replace('.', '-')}", SampleField) for key in FIELDS]

    @property
    def _typed(self) -> list[SampleField]:
        return [one for one in self._fields if one.is_typed]


def _unknown(prompt: str, characters: Set[str]) -> str:
    """Return what is wrong with the characters of a prompt, if anything."""
    unknown = [one for one in dict.fromkeys(prompt) if one not in characters]
    return f"{without_token(unknown)} Until then nothing is sampled." if unknown else ""


def _title(records: Sequence[SampleRecord], in_row: str) -> str:
    """Describe texts; the prompt, too, if it is another than the one in the row above them."""
    record = records[0]
    what = "sample" if len(records) == 1 else f"{len(records)} samples"
    parts = [f"{what} at step {record.step:,}"]
    if record.prompt != in_row and len({one.prompt for one in records}) == 1:
        parts.append(_quoted(record.prompt, MOST_IN_TITLE))
    if record.val_loss is not None:
        parts.append(f"val {record.val_loss:.3f}")
    settings = record.settings
    parts.append(f"temp {settings.get('temperature', 0):g}")
    if top_k := settings.get("top_k"):
        parts.append(f"top-k {top_k}")
    if (top_p := settings.get("top_p", 1)) < 1:
        parts.append(f"top-p {top_p:g}")
    if len({one.seed for one in records}) == 1:
        parts.append(f"seed {record.seed}")
    if len(records) == 1 and record.at_end_of_text:
        parts.append(END_OF_TEXT)
    return " · ".join(parts)


def _quoted(prompt: str, most: int = 0) -> str:
    """Return a prompt in quotes, shortened to so many cells, if that is not 0."""
    if not prompt:
        return "no prompt"
    written = SETTINGS["sample.prompt"].format(prompt)
    if most and cell_len(written) > most:
        written = f"{set_cell_size(written, most - 1).rstrip(CUT)}…"
    return f"“{written}”"
