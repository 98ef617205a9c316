"""Before a new run begins: what will be different, and what becomes of the old one."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from engine.config.schema import SETTINGS
from tui.control.draft import Draft


class NewRunDialog(ModalScreen[bool]):
    """Asks before the open run gives way to a new one.

    Args:
        draft: The edited settings.
        old_run: Name of the open run.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,n", "answer(True)", "Start the new run"),
        Binding("escape", "answer(False)", "Back"),
    ]

    def __init__(self, draft: Draft, old_run: str) -> None:
        super().__init__()
        self.draft = draft
        self.old_run = old_run

    def compose(self) -> ComposeResult:
        """The differences, and two answers."""
        with Vertical(id="dialog") as dialog:
            dialog.border_title = "Begin a new run?"
            with VerticalScroll():
                yield Static(self._text(), markup=False)

    def _text(self) -> Text:
        text = differences(self.draft)
        text.append(f"\n{self.old_run} is saved and kept.\n\n", "dim")
        text.append_text(Text.assemble(("enter", "bold"), "  start    ", ("esc", "bold"), "  back"))
        return text

    def action_answer(self, answer: bool) -> None:
        """Close with an answer."""
        self.dismiss(answer)


def differences(draft: Draft) -> Text:
    """The edits, a line each: from what to what."""
    text = Text()
    if not draft.edits:
        text.append("With the same settings as the open run.\n")
    for key, value in draft.edits.items():
        one = SETTINGS[key]
        before, after = one.format(draft.base.get(key)), one.format(value)
        text.append(f"{key}  ", "bold")
        text.append(f"{before} → {after}\n")
    return text
