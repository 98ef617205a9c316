"""The learning-rate finder: its curve as it grows, and the rate it suggests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Static

from engine.config.schema import SETTINGS, Config
from engine.config.setting import Value
from engine.protocol import (
    EndLearningRateFinder,
    Event,
    LearningRateFinderPrepared,
    LearningRateFound,
    Refused,
)
from tui.control.keymap import bindings
from tui.control.run import RunControl
from tui.screens.keyed import KeyedScreen
from tui.text.numbers import format_loss, format_rate
from tui.widgets.keys_footer import KeysFooter
from tui.widgets.lr_finder_chart import LRFinderChart

if TYPE_CHECKING:
    from engine.lr_finder.background import BackgroundFinder

TICK_SECONDS = 0.5

EXPLANATION = (
    "A throw-away model of the next run's settings trains while its learning rate rises. "
    "No run comes of it, and an open one stays as it is, to the bit."
)

OPTIONS = "On the command line, gpt-tui lr-finder has --from, --to and --steps for that."
SUGGESTION = "Suggestion: "


class LRFinderScreen(KeyedScreen[dict[str, Any] | None]):
    """Shows a test; its result is the settings to use, or None.

    Args:
        request_id: Of the test; events of an earlier one are ignored.
    """

    ABOUT = (
        "A short training shows how the loss falls while the learning rate rises from a very small "
        "one to a very large one: too small a rate learns nothing, too large a one makes the loss "
        "jump up. Use it to begin with a rate that suits the model, the batch and the text, "
        "instead of a guess."
    )
    AUTO_FOCUS = ""
    CSS_PATH = "../styles/lr_finder.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]
    KEYS = "lr_finder"
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)

    def __init__(self, control: RunControl, config: Config, request_id: int) -> None:
        super().__init__()
        self.control = control
        self._config, self._request_id = config, request_id
        self._doing = "getting ready"
        self._words = Text(EXPLANATION, "dim")
        self._over = False
        self._runtime: dict[str, Any] = {}
        self._changes: dict[str, Any] = {}  # that are suggested

    def compose(self) -> ComposeResult:
        with Vertical(id="rate-frame") as frame:
            frame.border_title = "learning-rate test: training loss over learning rate"
            yield LRFinderChart(id="rate-chart")
        yield Static(id="rate-facts")
        yield Static(id="rate-words")
        yield KeysFooter()

    def on_mount(self) -> None:
        """Refresh regularly, because no event announces the losses."""
        self.set_interval(TICK_SECONDS, self.show)
        self.show()

    # -- events ----------------------------------------------------------------------------------

    def hear(self, event: Event) -> bool:
        if event.request_id != self._request_id:
            return False
        if isinstance(event, LearningRateFinderPrepared):
            self._doing, self._runtime = event.message.rstrip(" …"), event.runtime
        elif isinstance(event, LearningRateFound):
            self._changes = event.changes
            self._end(self._format_result(event))
        elif isinstance(event, Refused):
            self._end(Text(event.message, "bold"))
        if self.is_mounted:
            self.show()
            self.refresh_bindings()
        return True

    def _end(self, words: Text) -> None:
        self._doing, self._over, self._words = "", True, words

    def _format_result(self, event: LearningRateFound) -> Text:
        if not event.message:
            return Text("The test was called off: something else was asked of the engine.")
        why = Text(f"{event.message[0].upper()}{event.message[1:]}.")
        if not event.changes:
            return why.append(f" {OPTIONS}")
        lines = [self._change(key, value) for key, value in event.changes.items()]
        found = f"\n{' ' * len(SUGGESTION)}".join(lines)
        return Text.assemble((f"{SUGGESTION}{found}\n", "bold"), why)

    def _change(self, key: str, value: Value) -> str:
        one = SETTINGS[key]
        return f"{key} {one.format(value)} (now {one.format(self._config.get(key))})"

    # -- showing ---------------------------------------------------------------------------------

    def show(self) -> None:
        """Update the screen."""
        chart, finder = self.query_one(LRFinderChart), self.control.engine.lr_finder
        chart.empty_text = f"{self._doing}…" if self._doing else "nothing was measured"
        chart.suggested = self._changes.get("optim.learning_rate")
        if self._runtime:
            chart.show(finder.ramp, finder.metrics)
        self.query_one("#rate-facts", Static).update(self._facts(finder))
        self.query_one("#rate-words", Static).update(self._words)

    def _facts(self, finder: BackgroundFinder) -> Text:
        column = finder.metrics.column("train_loss")
        if not self._runtime or not len(column):
            return Text("over" if self._over else "getting ready", "bold")
        ramp, taken = finder.ramp, len(column)
        state = "over" if self._over else "testing"
        return Text.assemble(
            (f"{state} · step {taken} of {ramp.steps}", "bold"),
            ("  rate ", "dim"),
            format_rate(ramp.rate(taken - 1)),
            ("  loss ", "dim"),
            format_loss(column.last_smoothed),
            (f"  {self._runtime['device']} {self._runtime['precision']}", "dim"),
        )

    # -- keys ------------------------------------------------------------------------------------

    def why_not(self, action: str, parameters: tuple[object, ...]) -> str:
        if action != "take" or self._changes:
            return ""
        return "there is no suggestion" if self._over else "there is no suggestion yet: it tests"

    def action_take(self) -> None:
        self.dismiss(self._changes)

    def action_close(self) -> None:
        """Close, and end the test if it is not over."""
        if not self._over:
            self.control.send(EndLearningRateFinder())
        self.dismiss(None)
