"""Before a fork is made: what will be different in it, and which run to look at then."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from engine.config import SETTINGS
from tui.draft import Draft


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
        if not self.draft.edits:
            text.append("With the settings it had at that step; change them in the fork.\n")
        for key, value in self.draft.edits.items():
            one = SETTINGS[key]
            before, after = one.format(self.draft.base.get(key)), one.format(value)
            text.append(f"{key}  ", "bold")
            text.append(f"{before} → {after}\n")
        text.append(f"\n{self.parent_run} stays as it is.\n\n", "dim")
        text.append_text(
            Text.assemble(
                ("enter", "bold"), "  fork and open it, paused\n",
                ("f", "bold"), "      fork and stay here\n",
                ("esc", "bold"), "    back",
            )
        )  # fmt: skip
        return text

    def action_answer(self, answer: str) -> None:
        """Close with an answer."""
        self.dismiss(answer or None)
