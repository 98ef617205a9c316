"""Leaving a run that is not saved: save, go back to the last checkpoint, or stay."""

from __future__ import annotations

from typing import ClassVar, Literal

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from engine.protocol import Status

Answer = Literal["save", "now", "stay"]


class QuitDialog(ModalScreen[Answer]):
    """Asks before a running run is left.

    Args:
        status: Where the run stands.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s,enter", "answer('save')", "Save and quit"),
        Binding("q", "answer('now')", "Quit now"),
        Binding("escape,k", "answer('stay')", "Keep going"),
    ]

    def __init__(self, status: Status) -> None:
        super().__init__()
        self.status = status

    def compose(self) -> ComposeResult:
        """Three answers, each with its key."""
        with Vertical(id="dialog") as dialog:
            dialog.border_title = "Leave this run?"
            yield Static(self._question(), markup=False)

    def _question(self) -> Text:
        saved, lost = self.status.saved_step, self.status.step - self.status.saved_step
        last = f"the last checkpoint is step {saved:,}" if saved else "there is no checkpoint yet"
        return Text.assemble(
            ("s", "bold"),
            f"    save step {self.status.step:,} and quit\n",
            ("q", "bold"),
            f"    quit now: {last}, {lost:,} steps will be re-trained\n",
            ("esc", "bold"),
            "  keep going",
        )

    def action_answer(self, answer: Answer) -> None:
        """Close with an answer."""
        self.dismiss(answer)
