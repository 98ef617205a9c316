"""Add to the queue: the edited settings as one run, or several values of some of them."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.events import Mount
from textual.widgets import Input, Static

from data.errors import InputError
from engine.sweeps.grid import Plan, format_changes
from engine.sweeps.median_rule import MedianRule, rule_warnings
from tui.control.keymap import bindings
from tui.control.queue import plan_of
from tui.control.run import RunControl
from tui.screens.dialogs import differences
from tui.screens.keyed import KeyedModalScreen
from tui.text.numbers import format_count
from tui.widgets.keys_footer import KeysFooter
from tui.widgets.tick_box import TickBox

EXAMPLE = "optim.learning_rate=1e-4..1e-2 log x5 model.n_layer=2,4"
SHOWN_RUNS = 4


class AxesField(Input):
    """The values to try; its key to submit adds the runs."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "submit", "Add", id="ask_queue.add")]


class QueueDialog(KeyedModalScreen[str | None]):
    """Asks what to queue and queues it; its result is a message, or None."""

    CSS_PATH = "../styles/queue.tcss"
    AUTO_FOCUS = "#axes"  # enter adds at once; the settings above it can be scrolled, too
    VERTICAL_BREAKPOINTS = [(0, "-short"), (24, "-tall")]
    ABOUT = (
        "This puts the edited settings into the queue, whose runs are trained one after the other: "
        "one run, or one for each combination of the values to try. Use it to leave the choice of "
        "a setting to an experiment."
    )
    KEYS = "ask_queue"
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)

    def __init__(self, control: RunControl) -> None:
        super().__init__()
        self.control = control

    def compose(self) -> ComposeResult:
        draft = self.control.draft
        so_far = (
            differences(draft.base, draft.waiting)
            if draft.waiting
            else Text("With the settings as shown.\n")
        )
        with Vertical(id="dialog", classes="-fixed") as dialog:
            dialog.border_title = "Add to the queue"
            with VerticalScroll(id="settings-so-far"):
                yield Static(so_far)
            yield Static("Values to try (optional): NAME=1,2 or LOW..HIGH log x5")
            yield AxesField(placeholder=EXAMPLE, id="axes", compact=True)
            yield TickBox("stop runs early by the median stopping rule", id="rule")
            with VerticalScroll(id="preview"):
                yield Static(id="runs")
        yield KeysFooter()

    @on(Input.Submitted)
    def action_add(self) -> None:
        """Queue the runs; if that is not possible, show why and stay."""
        control, axes = self.control, self.query_one(Input).value
        try:
            typed = control.launch.command_line
            self.dismiss(control.queue.add(control.draft, axes, typed, self._rule))
        except InputError as error:
            self._show(Text(str(error), "red"))

    @property
    def _rule(self) -> MedianRule | None:
        return MedianRule() if self.query_one(TickBox).value else None

    @on(Mount)
    @on(Input.Changed)
    @on(TickBox.Changed)
    def preview(self) -> None:
        """Show the runs that would be added, and whether the rule has an effect."""
        try:
            planned = plan_of(self.control.draft, self.query_one(Input).value)
            self._show(format_plan(planned, self._rule))
        except InputError as error:
            self._show(Text(str(error), "red"))

    def _show(self, text: Text) -> None:
        self.query_one("#runs", Static).update(text)


def format_plan(planned: Plan, rule: MedianRule | None) -> Text:
    """Format the first runs, the settings without effect, and what is left out."""
    trials = planned.trials
    text = Text.assemble((format_count(len(trials), "run"), "bold"))
    if len(trials) > 1:
        lines = [format_changes(trial.changes) for trial in trials[:SHOWN_RUNS]]
        more = len(trials) - len(lines)
        lines += [f"… and {more:,} more"] if more else []
        text.append("\n" + "\n".join(lines))
    idle = rule_warnings(rule, [trial.config for trial in trials]) if rule else []
    for warning in planned.ineffective_settings() + idle:
        text.append(f"\n{warning}", "yellow")
    if planned.impossible:
        text.append(f"\n{len(planned.impossible):,} are not valid and left out: ", "yellow")
        text.append(planned.impossible[0].problems[0])
    return text
