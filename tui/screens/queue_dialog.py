"""Adding to the queue: the edited settings as one run, or several values of some of them.

With several, hopeless ones can be stopped early.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from data.errors import InputError
from engine.sweeps.grid import Plan, format_changes
from engine.sweeps.median_rule import MedianRule, rule_warnings
from tui.control.draft import Draft
from tui.control.queue import plan_of
from tui.screens.new_run_dialog import differences
from tui.text.numbers import counted
from tui.widgets.tick_box import TickBox

EXAMPLE = "optim.learning_rate=1e-4..1e-2 log x5 model.n_layer=2,4"
SHOWN_RUNS = 4


@dataclass(frozen=True)
class Wanted:
    """What is to be queued.

    Attributes:
        axes: The values to try; empty for a single run.
        rule: What stops hopeless runs among several.
    """

    axes: str
    rule: MedianRule | None


class QueueDialog(ModalScreen[Wanted | None]):
    """Asks what to queue; answers with None if nothing.

    Args:
        draft: The edited settings.
    """

    CSS_PATH = "../styles/queue.tcss"
    AUTO_FOCUS = "#axes"  # enter adds at once; the settings above it can be scrolled, too
    VERTICAL_BREAKPOINTS = [(0, "-short"), (24, "-tall")]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "add", "Add"),
        Binding("escape", "dismiss(None)", "Back"),
    ]

    def __init__(self, draft: Draft) -> None:
        super().__init__()
        self.draft = draft

    def compose(self) -> ComposeResult:
        """The differences, a field, what it comes to, and two answers."""
        with Vertical(id="dialog", classes="-fixed") as dialog:
            dialog.border_title = "Add to the queue"
            with VerticalScroll(id="settings-so-far"):
                yield Static(self._settings(), markup=False)
            yield Static("Values to try (optional): section.name=a,b or LOW..HIGH log x5")
            yield Input(placeholder=EXAMPLE, id="axes", compact=True)
            yield TickBox("stop hopeless runs early (median rule)", id="rule")
            with VerticalScroll(id="preview"):
                yield Static(id="runs", markup=False)
            yield Static(
                Text.assemble(
                    *(("enter", "bold"), "  add    ", ("tab space", "bold"), "  tick the box    "),
                    *(("esc", "bold"), "  back"),
                ),
                markup=False,
            )

    def _settings(self) -> Text:
        return (
            differences(self.draft) if self.draft.edits else Text("With the settings as shown.\n")
        )

    def on_mount(self) -> None:
        """Say what there is so far."""
        self._show()

    def on_input_changed(self) -> None:
        """Say what it comes to while it is typed."""
        self._show()

    def on_tick_box_changed(self) -> None:
        """Say whether the rule can do anything."""
        self._show()

    def on_input_submitted(self) -> None:
        """Add, if it can be."""
        self.action_add()

    def action_add(self) -> None:
        """Add, if it can be."""
        if self._plan() is not None:
            self.dismiss(Wanted(self.query_one(Input).value, self._rule))

    @property
    def _rule(self) -> MedianRule | None:
        return MedianRule() if self.query_one(TickBox).value else None

    def _show(self) -> None:
        planned = self._plan()
        if planned is not None:
            self.query_one("#runs", Static).update(_described(planned, self._rule))

    def _plan(self) -> Plan | None:
        """What would be queued; if it cannot be, the reasons are shown."""
        try:
            return plan_of(self.draft, self.query_one(Input).value)
        except InputError as error:
            self.query_one("#runs", Static).update(Text(str(error), "red"))
            return None


def _described(planned: Plan, rule: MedianRule | None) -> Text:
    trials = planned.trials
    text = Text.assemble((counted(len(trials), "run"), "bold"))
    if len(trials) > 1:
        lines = [format_changes(trial.changes) for trial in trials[:SHOWN_RUNS]]
        more = len(trials) - len(lines)
        lines += [f"… and {more:,} more"] if more else []
        text.append("\n" + "\n".join(lines))
    idle = rule_warnings(rule, [trial.config for trial in trials]) if rule else []
    for told in planned.ineffective_settings() + idle:
        text.append(f"\n{told}", "yellow")
    if planned.impossible:
        text.append(f"\n{len(planned.impossible):,} cannot be and are left out: ", "yellow")
        text.append(planned.impossible[0].problems[0])
    return text
