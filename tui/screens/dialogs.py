"""Questions before the app quits, or a run is opened, started or forked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from engine.config.changes import why_not_in_fork
from engine.config.schema import SETTINGS
from engine.protocol import State, Status
from tui.control.draft import Draft
from tui.control.run import RunControl
from tui.text.notices import format_options
from tui.text.numbers import format_count


class Dialog(ModalScreen[str]):
    """Asks a question; its result is the answer of the pressed key, empty for Escape."""

    def __init__(self, title: str, question: Text) -> None:
        super().__init__()
        self._title, self.question = title, question

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog") as dialog:
            dialog.border_title = self._title
            with VerticalScroll():
                yield Static(self.text())

    def text(self) -> Text:
        """Return the question, and a line for each binding."""
        bindings = [one for one in self.BINDINGS if isinstance(one, Binding)]
        names = [one.key_display or one.key.split(",")[0] for one in bindings]
        width = max(map(len, names)) + 2
        lines = [
            Text.assemble((f"{name:<{width}}", "bold"), binding.description)
            for name, binding in zip(names, bindings, strict=True)
        ]
        return Text.assemble(self.question, "\n", Text("\n").join(lines))

    def action_answer(self, answer: str) -> None:
        self.dismiss(answer)


class NewRunDialog(Dialog):
    """Asks before a new run replaces the open one; the answer is ``start``."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,n", "answer('start')", "start the new run"),
        Binding("escape", "answer('')", "back", key_display="esc"),
    ]

    def __init__(self, draft: Draft, old_run: str) -> None:
        question = differences(draft, draft.edits)
        if not draft.edits:
            question.append("With the same settings as the open run.\n")
        question.append(f"\n{old_run} is saved and kept.\n", "dim")
        super().__init__("Begin a new run?", question)


class ForkDialog(Dialog):
    """Asks before the open run is forked; the answer is ``open`` or ``stay``."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,o", "answer('open')", "fork and open it, paused"),
        Binding("f", "answer('stay')", "fork and stay here"),
        Binding("escape", "answer('')", "back", key_display="esc"),
    ]

    def __init__(self, draft: Draft, parent: str, step: int) -> None:
        taken = [key for key in draft.edits if not why_not_in_fork(key)]
        question = differences(draft, taken)
        if not taken:
            question.append("With the settings it had at that step; change them in the fork.\n")
        for key in draft.edits:
            if why := why_not_in_fork(key):
                question.append("\nnot in a fork: ", "dim").append_text(differences(draft, [key]))
                question.append(f"{why}; it waits for a new run\n", "dim")
        question.append(f"\n{parent} stays as it is.\n", "dim")
        super().__init__(f"Fork {parent} at step {step:,}?", question)


class OpenRunDialog(Dialog):
    """Asks before another run replaces the open one; the answer is ``open``."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,o", "answer('open')", "open, paused"),
        Binding("escape", "answer('')", "back", key_display="esc"),
    ]

    def __init__(self, control: RunControl, name: str) -> None:
        question = Text()
        if control.run_path and control.is_open:
            question.append(f"{control.run_path.name} is saved and closed.\n")
        elif is_busy(control):
            question.append("The run that is being prepared is saved and closed.\n")
        if edits := control.draft.edits:
            count = format_count(len(edits), "edited setting")
            question.append(f"{count} not used yet will be forgotten:\n", "yellow")
            question.append(f"{format_options(edits)}\n", "dim")
        super().__init__(f"Open {name}?", question)


class QuitDialog(Dialog):
    """Asks before the app quits during training; the answer is ``save`` or ``now``.

    Args:
        status: Returns the state of the run, which continues meanwhile.
        is_gone: Returns whether the run's folder was removed, so that nothing can be saved.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s,enter", "answer('save')"),
        Binding("q", "answer('now')"),
        Binding("escape,k", "answer('')"),
    ]

    def __init__(
        self, status: Callable[[], Status], is_gone: Callable[[], bool] = lambda: False
    ) -> None:
        self._status, self._is_gone = status, is_gone
        super().__init__("Leave this run?", Text())

    def on_mount(self) -> None:
        self.set_interval(0.5, lambda: self.query_one(Static).update(self.text()))

    def text(self) -> Text:
        """Return what each key would do at this moment."""
        status = self._status()
        if self._is_gone():
            return Text.assemble(
                "The run's folder is gone.\n\n",
                ("q", "bold"), f"    quit: all {format_count(status.step, 'step')} are lost\n",
                ("esc", "bold"), "  stay: f keeps them in a new run",
            )  # fmt: skip
        saved, lost = status.saved_step, status.step - status.saved_step
        if lost <= 0 and status.state is not State.RUNNING:  # the run finished meanwhile
            return Text.assemble(
                ("s", "bold"), f"    quit: step {saved:,} is saved (or enter)\n",
                ("esc", "bold"), "  stay",
            )  # fmt: skip
        last = f"the last checkpoint is step {saved:,}" if saved else "there is no checkpoint yet"
        return Text.assemble(
            ("s", "bold"), f"    save step {status.step:,} and quit (or enter)\n",
            ("q", "bold"), f"    quit now: {format_count(lost, 'step')} will be re-trained\n",
            (f"     {last}\n", "dim"),
            ("esc", "bold"), "  keep going",
        )  # fmt: skip

    def action_answer(self, answer: str) -> None:
        """Close with an answer; ignore ``save`` if the folder is gone."""
        if answer != "save" or not self._is_gone():
            super().action_answer(answer)


def differences(draft: Draft, keys: Iterable[str]) -> Text:
    """Format edits of a draft, a line for each: old and new value."""
    text = Text()
    for key in keys:
        one = SETTINGS[key]
        before, after = one.format(draft.base.get(key)), one.format(draft.edits[key])
        text.append(f"{key}  ", "bold").append(f"{before} → {after}\n")
    return text


def is_busy(control: RunControl) -> bool:
    """Return whether opening another run would interrupt training here."""
    return control.status.state in (State.PREPARING, State.RUNNING) and not control.watching
