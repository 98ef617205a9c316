"""Before another run is opened: what becomes of the one that trains, and of what was edited."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from engine.protocol import State
from tui.control.run import RunControl
from tui.text.numbers import counted


class OpenRunDialog(ModalScreen[bool]):
    """Asks before the open run gives way to another one.

    Args:
        control: Of the run that is open.
        name: Of the run to open.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,o", "answer(True)", "Open the run"),
        Binding("escape", "answer(False)", "Back"),
    ]

    def __init__(self, control: RunControl, name: str) -> None:
        super().__init__()
        self.control = control
        self._run_name = name

    def compose(self) -> ComposeResult:
        """What will happen, and two answers."""
        with Vertical(id="dialog") as dialog:
            dialog.border_title = f"Open {self._run_name}?"
            yield Static(self._text(), markup=False)

    def _text(self) -> Text:
        control, text = self.control, Text()
        if control.run_path and control.is_open:
            text.append(f"{control.run_path.name} is saved and closed; it can be opened again.\n")
        elif is_busy(control):
            text.append("The run that is being prepared is saved and closed.\n")
        edits = control.draft.as_options()
        if edits:
            count = counted(len(control.draft.edits), "edited setting")
            text.append(f"{count} not used yet will be forgotten:\n", "yellow")
            text.append(f"{edits}\n", "dim")
        text.append("\n")
        return text.append_text(
            Text.assemble(("enter", "bold"), "  open, paused    ", ("esc", "bold"), "  back")
        )

    def action_answer(self, answer: bool) -> None:
        """Close with an answer."""
        self.dismiss(answer)


def is_busy(control: RunControl) -> bool:
    """Whether opening another run would interrupt training here."""
    return control.status.state in (State.PREPARING, State.RUNNING) and not control.watching
