"""Leaving a run that is not saved: save, go back to the last checkpoint, or stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from engine.protocol import State, Status
from tui.text.numbers import counted

Answer = Literal["save", "now", "stay"]


class QuitDialog(ModalScreen[Answer]):
    """Asks before a running run is left.

    Args:
        status: Tells where the run stands; it goes on meanwhile.
        is_gone: Tells whether the run's folder was removed, so that nothing can be saved in it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s,enter", "answer('save')", "Save and quit"),
        Binding("q", "answer('now')", "Quit now"),
        Binding("escape,k", "answer('stay')", "Keep going"),
    ]

    def __init__(
        self, status: Callable[[], Status], is_gone: Callable[[], bool] = lambda: False
    ) -> None:
        super().__init__()
        self._status = status
        self._is_gone = is_gone

    def compose(self) -> ComposeResult:
        """Three answers, each with its key."""
        with Vertical(id="dialog") as dialog:
            dialog.border_title = "Leave this run?"
            yield Static(self._question(), markup=False)

    def on_mount(self) -> None:
        """Keep the figures true."""
        self.set_interval(0.5, lambda: self.query_one(Static).update(self._question()))

    def _question(self) -> Text:
        status = self._status()
        if self._is_gone():
            return Text.assemble(
                "The run's folder is gone.\n\n",
                ("q", "bold"),
                f"    quit: all {counted(status.step, 'step')} are lost\n",
                ("esc", "bold"),
                "  stay: f keeps them in a new run",
            )
        saved, lost = status.saved_step, status.step - status.saved_step
        if lost <= 0 and status.state is not State.RUNNING:  # it ended while the question stood
            return Text.assemble(
                ("s", "bold"), f"    quit: step {saved:,} is saved (or enter)\n",
                ("esc", "bold"), "  stay",
            )  # fmt: skip
        last = f"the last checkpoint is step {saved:,}" if saved else "there is no checkpoint yet"
        return Text.assemble(
            ("s", "bold"),
            f"    save step {status.step:,} and quit (or enter)\n",
            ("q", "bold"),
            f"    quit now: {counted(lost, 'step')} will be re-trained\n",
            (f"     {last}\n", "dim"),
            ("esc", "bold"),
            "  keep going",
        )

    def action_answer(self, answer: Answer) -> None:
        """Close with an answer; there is no saving where the folder is gone."""
        if answer != "save" or not self._is_gone():
            self.dismiss(answer)
