"""A message that stays until it is hidden, or for some time; hidden while there is none."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.style import Style
from rich.text import Text
from textual.message import Message
from textual.widgets import Static

from engine.protocol import Advised
from tui.control.remap import key_in_force

NO_LINKS: Mapping[str, str] = {}
# what one can do: the key's name in the table, words, and the action behind a click on them
FOLLOW = "follow_advice", "screen.follow_advice"
WHILE_TRAINING = (
    ("hide", "hide", "screen.dismiss_notice"),
    ("silence_advice", "never again", "screen.silence_advice"),
)
WHILE_PAUSED = ("train", "skip the batch", "screen.resume"), ("quit", "stop", "app.leave")


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

    class Expired(Message):
        """A message has been shown for as long as it was to be."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.text = ""
        self._said = 0  # messages so far
        self.advice: Advised | None = None  # what is shown, if it is advice
        self._links: dict[str, str] = {}  # the action behind a click on some words
        self._limit: tuple[int, int, str] | None = None  # lines, columns, what is behind a cut
        self.is_cut = False

    def advise(self, advice: Advised) -> None:
        """Show advice, with the keys that act on it."""
        others = WHILE_PAUSED if advice.pauses else WHILE_TRAINING
        ways = {
            f"{key_in_force(self, f'cockpit.{name}')} {words}": action
            for name, words, action in ((FOLLOW[0], advice.action, FOLLOW[1]), *others)
        }
        severity = "error" if advice.pauses else "warning"
        self.say(f"{advice.message}\n{' · '.join(ways)}", severity, ways)
        self.advice = advice

    def say(
        self,
        text: str,
        severity: str = "warning",
        links: Mapping[str, str] = NO_LINKS,
        seconds: float = 0.0,
    ) -> None:
        """Show a text; an empty one takes away what is shown.

        Args:
            text: Of one or more lines.
            severity: information, warning or error; beside a field, hint or problem.
            links: The actions behind a click on words of the text.
            seconds: How long it is shown; 0 is until it is taken away.
        """
        self._said += 1
        if text and seconds:
            number = self._said
            self.set_timer(seconds, lambda: self._expire(number, seconds))
        self.text, self.advice, self._links = text, None, dict(links)
        self._draw()
        self.set_classes(f"-shown -{severity}" if text else "")
        self.refresh(layout=True)

    def _expire(self, number: int, seconds: float) -> None:
        if number != self._said:
            return
        if self.screen.is_current:
            self.say("")
            self.post_message(self.Expired())
        else:  # it is hidden: whoever comes back shall read it
            self.set_timer(seconds, lambda: self._expire(number, seconds))

    def limit(self, lines: int, columns: int, more: str) -> None:
        """Take no more lines than that, so many columns wide; ``more`` says where the rest is."""
        if self._limit != (lines, columns, more):
            self._limit = lines, columns, more
            self._draw()

    def _draw(self) -> None:
        text = Text(self.text)
        for words, action in self._links.items():
            at = self.text.rfind(words)
            text.stylize(Style(meta={"@click": action}), at, at + len(words))
        if self._limit is not None:
            lines, columns, more = self._limit
            cut = _cut(text, lines, max(columns, 1), f" … {more}")
            self.is_cut = cut is not text
            text = cut
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
