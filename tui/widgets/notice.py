"""A message that stays; hidden while there is nothing to say."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text
from textual.widgets import Static

from engine.protocol import Advised
from tui.control.remap import key_in_force

WHILE_TRAINING = ("hide", "hide"), ("silence_advice", "never again")  # what else one can do
WHILE_PAUSED = ("train", "skip the batch"), ("quit", "stop")


class Notice(Static):
    """One to a few lines; empty means hidden."""

    DEFAULT_CSS = """
    Notice { display: none; height: auto; max-height: 6; padding: 0 1; }
    Notice.-shown { display: block; }
    Notice.-information { background: $success-muted; color: $text-success; }
    Notice.-warning { background: $warning-muted; color: $text-warning; }
    Notice.-error { background: $error-muted; color: $text-error; }
    /* beside a field */
    Notice.-problem { max-height: 100%; padding: 0; color: $text-error; }
    Notice.-hint { max-height: 100%; padding: 0; color: $text-warning; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.text = ""
        self.advice: Advised | None = None  # what is shown, if it is advice
        self._limit: tuple[int, int, str] | None = None  # lines, columns, what is behind a cut

    def advise(self, advice: Advised) -> None:
        """Show advice, with the keys that act on it."""
        others = WHILE_PAUSED if advice.pauses else WHILE_TRAINING
        ways = [
            f"{key_in_force(self, f'cockpit.{name}')} {words}"
            for name, words in (("follow_advice", advice.action), *others)
        ]
        severity = "error" if advice.pauses else "warning"
        self.say(f"{advice.message}\n{' · '.join(ways)}", severity)
        self.advice = advice

    def say(self, text: str, severity: str = "warning") -> None:
        """Show a text; an empty one takes away what is shown.

        Args:
            text: Of one or more lines.
            severity: information, warning or error; beside a field, hint or problem.
        """
        self.text, self.advice = text, None
        self._draw()
        self.set_classes(f"-shown -{severity}" if text else "")
        self.refresh(layout=True)

    def limit(self, lines: int, columns: int, more: str) -> None:
        """Take no more lines than that, so many columns wide; ``more`` says where the rest is."""
        if self._limit != (lines, columns, more):
            self._limit = lines, columns, more
            self._draw()

    def _draw(self) -> None:
        text = Text(self.text)
        if self._limit is not None:
            lines, columns, more = self._limit
            text = _cut(text, lines, max(columns, 1), f" … {more}")
        self.update(text)


def _cut(text: Text, count: int, width: int, end: str) -> Text:
    """Return the first lines of a text, with an end behind them if there are more."""
    lines = text.wrap(Console(width=width), width)
    if len(lines) <= count:
        return text
    last = lines[count - 1]
    last.rstrip()
    last.truncate(max(0, width - len(end)))
    last.rstrip()
    return Text("\n").join([*lines[: count - 1], last.append(end)])
