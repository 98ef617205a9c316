"""A line at the foot of a screen to type something in; hidden while nothing is asked for."""

from __future__ import annotations

from textual import getters
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Static

from tui.control.remap import key_in_force
from tui.widgets.field import Field
from tui.widgets.notice import Notice


class LineEditor(Vertical):
    """A labelled field, and below it what is wrong with what was typed."""

    DEFAULT_CSS = """
    LineEditor {
        display: none; height: auto; background: $boost;

        &.-open { display: block; }
        & > Horizontal { height: 1; }
        & #label { width: auto; padding: 0 1; text-style: bold; }
        & Input { width: 1fr; }
        & #hint { width: auto; padding: 0 1; color: $foreground 60%; }
        & #problem { padding: 0 1; }
    }
    """

    field = getters.query_one("#field", Field)
    problem = getters.query_one("#problem", Notice)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.what = ""  # is asked for

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Static(id="label")
            yield Field(id="field")
            keep, back = key_in_force(self, "field.submit"), key_in_force(self, "field.back")
            yield Static(f"{keep}: keep · {back}: as before", id="hint")
        yield Notice(id="problem")

    def open(self, what: str, text: str, example: str = "") -> None:
        """Ask for a line.

        Args:
            what: Is asked for.
            text: Stands there at first.
            example: Stands there while nothing is typed.
        """
        self.what = what
        self.query_one("#label", Static).update(what)
        self.problem.say("")
        self.field.placeholder = example
        with self.prevent(Input.Changed):
            self.field.value = text
        self.field.cursor_position = len(text)
        self.add_class("-open")
        self.screen.set_focus(self.field)  # at once: the next key is a letter

    def close(self) -> None:
        self.remove_class("-open")
