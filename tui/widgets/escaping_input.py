"""A field of one line for a text of several: a line break is written ``\\n`` in it."""

from __future__ import annotations

from textual import events
from textual.widgets import Input

from engine.config.escapes import escape


class EscapingInput(Input):
    """Takes what is pasted whole, where ``escaped`` is set; else its first line, as any field."""

    escaped = False

    def _on_paste(self, event: events.Paste) -> None:
        if self.escaped:
            event.prevent_default()  # it would take the first line alone
            event.stop()
            self._take(event.text)

    def action_paste(self) -> None:
        """Paste what was copied in the app."""
        if self.escaped:
            self._take(self.app.clipboard)
        else:
            super().action_paste()

    def _take(self, pasted: str) -> None:
        """Put it in place of what is selected.

        One line may have been copied from such a field, so its backslashes are taken as if they
        were typed; several lines are a text, and mean what they say.
        """
        text = "\n".join(pasted.split("\r\n")).replace("\r", "\n")
        self.replace(escape(text) if "\n" in text or "\t" in text else text, *self.selection)
