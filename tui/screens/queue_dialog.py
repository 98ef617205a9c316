"""Adding to the queue: the edited settings as one run, or several values of some of them."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from data.errors import InputError
from engine.sweep import Plan, in_words
from tui.draft import Draft
from tui.queue_control import plan_of
from tui.screens.new_run_dialog import differences
from tui.wording import counted

EXAMPLE = "optim.learning_rate=1e-4..1e-2 log x5 model.n_layer=2,4"
SHOWN_RUNS = 4


class QueueDialog(ModalScreen[str | None]):
    """Asks what to queue; answers with the values to try ("" for a single run) or None.

    Args:
        draft: The edited settings.
    """

    CSS_PATH = "../styles/queue.tcss"
    AUTO_FOCUS = "#axes"  # enter adds at once; the settings above it can be scrolled, too
    VERTICAL_BREAKPOINTS = [(0, "-short"), (24, "-tall")]
    BINDINGS: ClassVar[list[BindingType]] = [
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
            with VerticalScroll(id="preview"):
                yield Static(id="runs", markup=False)
            yield Static(
                Text.assemble(("enter", "bold"), "  add    ", ("esc", "bold"), "  back"),
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

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Add, if it can be."""
        if self._plan() is not None:
            self.dismiss(event.value)

    def _show(self) -> None:
        planned = self._plan()
        if planned is not None:
            self.query_one("#runs", Static).update(_in_words(planned))

    def _plan(self) -> Plan | None:
        """What would be queued; if it cannot be, the reasons are shown."""
        try:
            return plan_of(self.draft, self.query_one(Input).value)
        except InputError as error:
            self.query_one("#runs", Static).update(Text(str(error), "red"))
            return None


def _in_words(planned: Plan) -> Text:
    trials = planned.trials
    text = Text.assemble((counted(len(trials), "run"), "bold"))
    if len(trials) > 1:
        lines = [in_words(trial.changes) for trial in trials[:SHOWN_RUNS]]
        more = len(trials) - len(lines)
        lines += [f"… and {more:,} more"] if more else []
        text.append("\n" + "\n".join(lines))
    for told in planned.in_vain():
        text.append(f"\n{told}", "yellow")
    if planned.impossible:
        text.append(f"\n{len(planned.impossible):,} cannot be and are left out: ", "yellow")
        text.append(planned.impossible[0].problems[0])
    return text
