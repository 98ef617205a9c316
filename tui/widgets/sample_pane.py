"""The sampling pane: a prompt, text streaming in, and every earlier text within reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Input, Label, Static

from engine.config import SETTINGS
from engine.settings import Value

FIELDS = ("sample.prompt", "sample.temperature", "sample.top_k")
LABELS = {"sample.prompt": "prompt", "sample.temperature": "temp", "sample.top_k": "top-k"}


@dataclass
class SampleRecord:
    """One generated text."""

    step: int
    automatic: bool
    settings: dict[str, Any]
    text: str = ""
    number: int = -1  # the engine's, while it streams
    finished: bool = False
    val_loss: float | None = None
    parts: list[str] = field(default_factory=list)


class SampleField(Input):
    """A field of the sampling settings; Escape leaves it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "screen.leave_field", "Back"),
    ]

    def __init__(self, key: str) -> None:
        super().__init__(id=key.replace(".", "-"), compact=True, select_on_focus=False)
        self.key = key


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
    SamplePane #sample-fields Label { color: $foreground 60%; margin-right: 1; }
    SamplePane SampleField { background: $surface; margin-right: 2; }
    SamplePane SampleField:focus { background: $boost; }
    SamplePane SampleField.-invalid { color: $text-error; }
    SamplePane #sample-prompt { width: 1fr; }
    SamplePane #sample-temperature { width: 7; }
    SamplePane #sample-top_k { width: 7; }
    SamplePane #sample-problem { display: none; color: $text-error; height: auto; }
    SamplePane #sample-problem.-shown { display: block; }
    SamplePane #sample-body { height: 1fr; margin-top: 1; scrollbar-size-vertical: 1; }
    SamplePane #sample-text { height: auto; }
    .-short SamplePane #sample-body { margin-top: 0; }
    """

    @dataclass
    class Edited(Message):
        """A sampling setting was typed in; ``ask`` is true if a sample is wanted with it."""

        key: str
        value: Value

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.records: list[SampleRecord] = []
        self._shown: int | None = None  # None follows the newest
        self._dirty = False

    def compose(self) -> ComposeResult:
        """Fields above, text below."""
        with Horizontal(id="sample-fields"):
            for key in FIELDS:
                yield Label(LABELS[key])
                yield SampleField(key)
        yield Static(id="sample-problem", markup=False)
        with VerticalScroll(id="sample-body", can_focus=False):
            yield Static(id="sample-text", markup=False)

    def on_mount(self) -> None:
        """Show the empty state."""
        self.border_title = "sample"
        self._redraw()

    def show_settings(self, values: dict[str, Value]) -> None:
        """Fill the fields that nobody is typing in."""
        for key in FIELDS:
            field = self._field(key)
            if not field.has_focus:
                with field.prevent(Input.Changed):
                    field.value = SETTINGS[key].format(values[key])
                field.placeholder = "empty: a new line" if key == "sample.prompt" else ""
                field.remove_class("-invalid")

    # -- samples ---------------------------------------------------------------------------------

    def load(self, records: list[SampleRecord]) -> None:
        """Show the samples of a run, oldest first."""
        self.records = records
        self._shown = None
        self._redraw()

    def begin(self, record: SampleRecord) -> None:
        """A new text is on its way."""
        self.records.append(record)
        if not record.automatic:
            self._shown = None  # the person asked for it, so it is shown
        self._dirty = True

    def append(self, number: int, text: str) -> None:
        """More of a text; drawn at the next ``refresh_text``."""
        for record in reversed(self.records):
            if record.number == number:
                record.text += text
                break
        self._dirty = True

    def finish(self, number: int) -> None:
        """A text is whole."""
        for record in reversed(self.records):
            if record.number == number:
                record.finished = True
                record.number = -1
                break
        self._dirty = True

    def label_val_loss(self, step: int, val_loss: float) -> None:
        """Put a validation loss to the samples of its step."""
        for record in self.records:
            if record.step == step:
                record.val_loss = val_loss

    def refresh_text(self) -> None:
        """Draw what has come since the last call."""
        if self._dirty:
            self._redraw()

    def move(self, by: int) -> None:
        """Go to an earlier (-1) or a later (+1) sample."""
        if not self.records:
            return
        last = len(self.records) - 1
        position = max(0, min(last, self._position + by))
        self._shown = None if position == last else position
        self._redraw()
        self.query_one("#sample-body").scroll_home(animate=False)

    @property
    def current(self) -> SampleRecord | None:
        """The sample on screen."""
        return self.records[self._position] if self.records else None

    @property
    def _position(self) -> int:
        return len(self.records) - 1 if self._shown is None else self._shown

    def _redraw(self) -> None:
        self._dirty = False
        body = self.query_one("#sample-text", Static)
        record = self.current
        if record is None:
            body.update(Text("what the model writes appears here", "dim"))
            self.border_subtitle = ""
            return
        cursor = "" if record.finished else "▌"
        body.update(Text.assemble((record.settings["prompt"], "bold"), record.text, cursor))
        self.border_title = _title(record)
        self.border_subtitle = f"\\[ earlier  {self._position + 1} of {len(self.records)}  later ]"
        if not record.finished:
            self.query_one("#sample-body").scroll_end(animate=False)

    # -- fields ----------------------------------------------------------------------------------

    def focus_prompt(self) -> None:
        """Put the cursor into the prompt."""
        self._field("sample.prompt").focus()

    def show_problem(self, text: str) -> None:
        """Explain what is wrong with a field; empty takes it back."""
        problem = self.query_one("#sample-problem", Static)
        problem.update(text)
        problem.set_class(bool(text), "-shown")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say at once whether what is typed can be."""
        event.stop()
        if isinstance(event.input, SampleField):
            _, problem = _parsed(event.input)
            event.input.set_class(bool(problem), "-invalid")
            self.show_problem(problem)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Hand on what was typed."""
        event.stop()
        if isinstance(event.input, SampleField):
            value, problem = _parsed(event.input)
            if value is not None:
                self.post_message(self.Edited(event.input.key, value))
            self.show_problem(problem)

    def _field(self, key: str) -> SampleField:
        return self.query_one(f"#{key.replace('.', '-')}", SampleField)


def _parsed(field: SampleField) -> tuple[Value | None, str]:
    try:
        return SETTINGS[field.key].parse(field.value), ""
    except ValueError as error:
        return None, str(error)


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
