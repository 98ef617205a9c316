"""A message that stays until the person has read it."""

from __future__ import annotations

from textual.widgets import Static


class Notice(Static):
    """One to a few lines below the status bar; empty means hidden."""

    DEFAULT_CSS = """
    Notice { display: none; height: auto; max-height: 6; padding: 0 1; }
    Notice.-shown { display: block; }
    Notice.-information { background: $success-muted; color: $text-success; }
    Notice.-warning { background: $warning-muted; color: $text-warning; }
    Notice.-error { background: $error-muted; color: $text-error; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self.text = ""

    def say(self, text: str, severity: str = "warning") -> None:
        """Show a text; ``severity`` is information, warning or error."""
        self.text = text
        self.update(text)
        self.set_classes(f"-shown -{severity}")
        self.refresh(layout=True)

    def dismiss(self) -> None:
        """Hide it."""
        self.text = ""
        self.set_classes("")
