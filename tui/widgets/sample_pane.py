"""The sampling pane: a prompt, text streaming in, and every earlier text within reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from rich.text import Text
from textual import getters
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input, Label, Static

from engine.config.schema import SETTINGS
from engine.config.setting import Value
from tui.widgets.field import Field
from tui.widgets.notice import Notice

FIELDS = ("sample.prompt", "sample.temperature", "sample.top_k")
LABELS = {"sample.prompt": "prompt", "sample.temperature": "temp", "sample.top_k": "top-k"}
SLIM = 50  # columns of the whole pane; in fewer the prompt takes a line of its own


@dataclass
class SampleRecord:
    step: int
    automatic: bool
    settings: dict[str, Any]
    text: str = ""
    number: int = -1  # the engine's, while it streams
    finished: bool = False
    val_loss: float | None = None
    parts: list[str] = field(default_factory=list)


class SampleField(Field):
    """A field of the sampling settings."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "submit", "Sample")]

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

    def parsed(self) -> tuple[Value | None, str]:
        try:
            return SETTINGS[self.key].parse(self.value), ""
        except ValueError as error:
            return None, str(error)


class SamplePane(Vertical):
    """Shows samples, the newest unless an earlier one was chosen."""

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
    SamplePane #sample-temperature { width: 7; }
    SamplePane #sample-top_k { width: 7; }
    SamplePane SampleField.-typed:blur { color: $text-warning; }
    SamplePane SampleField.-faulty, SamplePane SampleField.-faulty:blur { color: $text-error; }
    SamplePane #sample-body { height: 1fr; margin-top: 1; scrollbar-size-vertical: 1; }
    SamplePane #sample-text { height: auto; min-height: 100%; }
    SamplePane.-slim #sample-fields SampleField { width: 4; margin-right: 1; }
    SamplePane.-slim #sample-fields #sample-prompt { width: 1fr; margin-right: 0; }
    SamplePane.-slim #sample-fields #sample-top_k { margin-right: 0; }
    """

    @dataclass
    class Edited(Message):
        """A sample is wanted, with these settings changed."""

        changes: dict[str, Value]

    waiting = getters.query_one("#sample-waiting", Notice)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.records: list[SampleRecord] = []
        self._val_losses: dict[int, float] = {}  # of the steps evaluated so far
        self._shown: int | None = None  # None follows the newest
        self._values: dict[str, Value] = {}
        self._dirty = False
        self._labels = ("", "")
        self._streaming: SampleRecord | None = None  # of which the end is on screen

    def compose(self) -> ComposeResult:
        with Horizontal(id="sample-fields"):
            for id, keys in (("sample-first", FIELDS[:1]), ("sample-others", FIELDS[1:])):
                with Horizontal(id=id):
                    for key in keys:
                        yield Label(LABELS[key])
                        yield SampleField(key)
        yield Notice(id="sample-waiting")
        yield Notice(id="sample-problem")
        with VerticalScroll(id="sample-body", can_focus=False):
            yield Static(id="sample-text")

    def on_mount(self) -> None:
        self.border_title = "sample"
        self.screen.screen_layout_refresh_signal.subscribe(self, self._fit)
        self._fields[0].placeholder = "empty: a new line"
        self._redraw()

    def _fit(self, _screen: Screen[Any]) -> None:
        """Where the settings take half of the screen, the fields stand on two lines.

        Textual sends no Resize where somebody asks for a region before the new layout is there.
        """
        self.set_class(self.outer_size.width < SLIM, "-slim")

    def show_settings(self, values: dict[str, Value]) -> None:
        """Fill the fields in which nothing else was typed."""
        self._values = values
        for one in self._fields:
            one.settle(values[one.key])
        if not self._typed:
            self.waiting.say("")

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
        self.waiting.say(names and f"not used yet: {names} (p, then enter)", "hint")

    # -- samples ---------------------------------------------------------------------------------

    def open_run(self, records: list[SampleRecord]) -> None:
        """Another run is shown, with these samples."""
        self._val_losses = {}
        self.load(records)

    def load(self, records: list[SampleRecord]) -> None:
        """Show the samples of a run, by step; they were kept in the order they were finished."""
        self.records = sorted(records, key=lambda record: record.step)
        self._shown = None
        self._redraw()

    def forget_after(self, step: int) -> None:
        """The run went back: texts of later steps belong to what it left."""
        self._val_losses = {at: loss for at, loss in self._val_losses.items() if at <= step}
        self.load([record for record in self.records if record.step <= step])

    def begin(self, record: SampleRecord) -> None:
        """A new text is on its way."""
        record.val_loss = self._val_losses.get(record.step)
        self.records.append(record)
        if not record.automatic:
            self._shown = None  # the user asked for it, so it is shown
        self._dirty = True

    def append(self, number: int, text: str) -> None:
        """More of a text; drawn at the next ``refresh_text``."""
        for record in reversed(self.records):
            if record.number == number:
                record.text += text
                break
        self._dirty = True

    def finish(self, number: int) -> None:
        for record in reversed(self.records):
            if record.number == number:
                record.finished = True
                record.number = -1
                break
        self._dirty = True

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
        if not self.records:
            return
        last = len(self.records) - 1
        position = max(0, min(last, self._position + by))
        self._shown = None if position == last else position
        self._redraw()
        self.query_one("#sample-body").scroll_home(animate=False)

    @property
    def current(self) -> SampleRecord | None:
        return self.records[self._position] if self.records else None

    @property
    def _position(self) -> int:
        return len(self.records) - 1 if self._shown is None else self._shown

    def _redraw(self) -> None:
        self._dirty = False
        record = self.current
        if record is None:
            self._show(Text("what the model writes appears here", "dim"))
            self._label("sample", "")
            return
        cursor = "" if record.finished else "▌"
        text = Text.assemble((record.settings["prompt"], "bold"), record.text, cursor)
        self._show(text if record.finished else self._tail(text))
        self._label(
            _title(record),
            f"[ earlier  {self._position + 1} of {len(self.records)}  later ]",
        )
        if record.finished and self._streaming is record:
            self.query_one("#sample-body").scroll_end(animate=False)  # where its end has been
        self._streaming = None if record.finished else record

    def _tail(self, text: Text) -> Text:
        """The last lines of a text, as many as there is room for."""
        width, rows = self.query_one("#sample-body").size
        if not rows or not width:
            return text
        # wrapping costs time by the character: begin at the last line break that is far enough up
        begin = text.plain.rfind("\n", 0, max(0, len(text) - rows * width)) + 1
        lines = text[begin:].wrap(self.app.console, width)
        return Text("\n").join(lines[-rows:])

    def _show(self, text: Text) -> None:
        """Show a text, with a new layout only if it needs more or less room than before.

        A layout repaints most of the screen, and the time for that is taken from training.
        """
        body = self.query_one("#sample-text", Static)
        room = self.query_one("#sample-body").size.height
        body.update(text, layout=False)
        lines = body.visual.get_height(body.styles.get_rules(), max(1, body.size.width))
        if max(lines, room) != body.size.height:
            body.refresh(layout=True)

    def _label(self, title: str, subtitle: str) -> None:
        """Name what is shown; setting a label repaints the whole pane, even to the same words."""
        if (title, subtitle) != self._labels:
            self._labels = (title, subtitle)
            self.border_title, self.border_subtitle = title, subtitle

    # -- fields ----------------------------------------------------------------------------------

    def focus_prompt(self) -> None:
        self.waiting.say("")
        self.screen.set_focus(self._fields[0])  # at once: the next key is a letter

    def show_problem(self, text: str) -> None:
        """Explain what is wrong with a field; empty takes it back."""
        self.query_one("#sample-problem", Notice).say(text, "problem")

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        one = event.input
        if isinstance(one, SampleField):
            _, problem = one.parsed()
            if one.escaped and one.value.endswith("\\"):
                problem = ""  # the letter behind it is yet to be typed
            one.set_class(one.is_typed, "-typed")
            one.set_class(bool(problem), "-faulty")
            self.show_problem(problem)

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
        self.show_problem("")
        self.post_message(self.Edited(changes))

    @property
    def _fields(self) -> list[SampleField]:
        return [self.query_one(f"#{key.replace('.', '-')}", SampleField) for key in FIELDS]

    @property
    def _typed(self) -> list[SampleField]:
        return [one for one in self._fields if one.is_typed]


def _title(record: SampleRecord) -> str:
    parts = [f"sample at step {record.step:,}"]
    if record.val_loss is not None:
        parts.append(f"val {record.val_loss:.3f}")
    settings = record.settings
    parts.append(f"temp {settings['temperature']:g}")
    if settings["top_k"]:
        parts.append(f"top-k {settings['top_k']}")
    if settings["top_p"] < 1:
        parts.append(f"top-p {settings['top_p']:g}")
    parts.append(f"seed {settings['seed']}")
    return " · ".join(parts)
