"""The command palette, which may be closed at any moment of its life."""

from __future__ import annotations

from textual import events
from textual.await_complete import AwaitComplete
from textual.command import CommandList, CommandPalette


class Palette(CommandPalette):
    """Textual's palette, for those who click twice and press keys at the same time.

    Textual's own fails if it is closed before it is built or while it gathers commands, and a
    second click on its background pops the screen below.
    """

    def dismiss(self, result: None = None) -> AwaitComplete:
        if not self.is_active:
            return AwaitComplete()
        self._cancel_gather_commands()
        return super().dismiss(result)

    def _on_mount(self, event: events.Mount) -> None:
        if not self.is_active:  # it was closed before
            event.prevent_default()

    def _watch__list_visible(self) -> None:
        if self.query(CommandList):  # else it is being removed
            super()._watch__list_visible()
