"""Before a fork is made: what will be different in it, and which run to look at then."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from engine.config.changes import why_not_in_fork
from engine.config.schema import SETTINGS
from tui.control.draft import Draft


class ForkDialog(ModalScreen[str | None]):
    """Asks before another run is made; answers ``open``, ``stay`` or None.

    Args:
        draft: The edited settings that the fork takes over.
        parent: Name of the open run.
        step: Where it is forked.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,o", "answer('open')", "Fork, and open it"),
        Binding("f", "answer('stay')", "Fork, and stay here"),
        Binding("escape", "answer('')", "Back"),
    ]

    def __init__(self, draft: Draft, parent: str, step: int) -> None:
        super().__init__()
        self.draft, self.parent_run, self.step = draft, parent, step

    def compose(self) -> ComposeResult:
        """The differences, and three answers."""
        with Vertical(id="dialog") as dialog:
            dialog.border_title = f"Fork {self.parent_run} at step {self.step:,}?"
            with VerticalScroll():
                yield Static(self._text(), markup=False)

    def _text(self) -> Text:
        text = Text()
        edits = self.draft.edits
        if all(why_not_in_fork(key) for key in edits):
            text.append("With the settings it had at that step; change them in the fork.\n")
        for key in edits:
            if not why_not_in_fork(key):
                text.append_text(self._difference(key))
        for key in edits:
            if why := why_not_in_fork(key):
                text.append("\nnot in a fork: ", "dim").append_text(self._difference(key))
                text.append(f"{why}; it waits for a new run\n", "dim")
        text.append(f"\n{self.parent_run} stays as it is.\n\n", "dim")
        text.append_text(
            Text.assemble(
                ("enter", "bold"), "  fork and open it, paused\n",
                ("f", "bold"), "      fork and stay here\n",
                ("esc", "bold"), "    back",
            )
        )  # fmt: skip
        return text

    def _difference(self, key: str) -> Text:
        one = SETTINGS[key]
        before, after = one.format(self.draft.base.get(key)), one.format(self.draft.edits[key])
        return Text.assemble((f"{key}  ", "bold"), f"{before} → {after}\n")

    def action_answer(self, answer: str) -> None:
        """Close with an answer."""
        self.dismiss(answer or None)
