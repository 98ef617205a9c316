"""One line to type something in: it comes when it is asked for, and goes when that is done."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Static


class LineEditor(Vertical):
    """A labelled field, and below it what is wrong with what was typed."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel")]

    DEFAULT_CSS = """
    LineEditor {
        display: none; height: auto; background: $boost;

        &.-open { display: block; }
        & > Horizontal { height: 1; }
        & #label { width: auto; padding: 0 1; text-style: bold; }
        & Input { width: 1fr; }
        & #hint { width: auto; padding: 0 1; color: $foreground 60%; }
        & #problem { display: none; padding: 0 1; color: $text-error; height: auto; }
        & #problem.-shown { display: block; }
    }
    """

    class Changed(Message):
        """Something was typed."""

        def __init__(self, what: str, text: str) -> None:
            super().__init__()
            self.what, self.text = what, text

    class Submitted(Changed):
        """It was confirmed."""

    class Cancelled(Message):
        """It was given up."""

        def __init__(self, what: str) -> None:
            super().__init__()
            self.what = what

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._what = ""

    def compose(self) -> ComposeResult:
        """Label, field, hint; problem."""
        with Horizontal():
            yield Static(id="label", markup=False)
            yield Input(
                compact=True, select_on_focus=False, id="field"
            )  # a letter replaces nothing
            yield Static(id="hint", markup=False)
        yield Static(id="problem", markup=False)

    @property
    def field(self) -> Input:
        """Where one types."""
        return self.query_one(Input)

    @property
    def is_open(self) -> bool:
        """Whether something is being typed."""
        return self.has_class("-open")

    def open(self, what: str, text: str, hint: str, example: str = "") -> None:
        """Ask for a line.

        Args:
            what: Is asked for; the messages name it.
            text: Stands there at first.
            hint: What the keys do.
            example: Stands there while nothing is typed.
        """
        self._what = what
        self.query_one("#label", Static).update(what)
        self.query_one("#hint", Static).update(hint)
        self.show_problem("")
        self.field.placeholder = example
        with self.prevent(Input.Changed):
            self.field.value = text
        self.field.cursor_position = len(text)
        self.add_class("-open")
        self.field.focus()

    def close(self) -> None:
        """Be done with it."""
        self.remove_class("-open")

    def show_problem(self, problem: str) -> None:
        """Say what is wrong; an empty text nothing."""
        label = self.query_one("#problem", Static)
        label.update(problem)
        label.set_class(bool(problem), "-shown")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Pass it on under its name."""
        event.stop()
        self.show_problem("")
        self.post_message(self.Changed(self._what, event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Pass it on under its name."""
        event.stop()
        self.post_message(self.Submitted(self._what, event.value))

    def action_cancel(self) -> None:
        """Leave what was as it was."""
        self.close()
        self.post_message(self.Cancelled(self._what))
