"""Questions before the app quits, or a run is opened, started or forked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from engine.config.changes import format_options, why_not_in_fork
from engine.config.schema import SETTINGS, Config
from engine.config.setting import Value
from engine.protocol import State, Status
from tui.control.draft import Draft
from tui.control.keymap import GROUPS, Key, bindings, display
from tui.control.run import RunControl
from tui.screens.kept_steps import Way
from tui.screens.keyed import KeyedModalScreen
from tui.text.numbers import format_count
from tui.widgets.keys_footer import KeysFooter

LONG_SECONDS = 3.0  # of training steps again, from which on it is asked before
STOP = "cockpit.hide"  # the key that stops going back


class Answer(Static):
    """A key of a dialog and what it does; a click does it, too."""

    def __init__(self, key: Key) -> None:
        super().__init__(id=f"answer-{key.name}", classes="answer")
        self.key = key

    def say(self, label: str) -> None:
        """Show what the key does now; empty hides it."""
        self.display = bool(label)
        screen = self.screen
        assert isinstance(screen, Dialog)
        first, _, more = label.partition("\n")
        text = Text.assemble((screen.name_of(self.key).ljust(screen.indent), "bold"), first)
        text.append(f"\n{' ' * screen.indent}{more}" if more else "", "dim")
        self.update(text)

    async def on_click(self) -> None:
        await self.screen.run_action(self.key.action)


class Dialog(KeyedModalScreen[str]):
    """Asks a question; its result is the answer of the pressed key, empty for Escape."""

    def __init__(self, title: str, question: Text) -> None:
        super().__init__()
        self._title, self.question = title, question

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog") as dialog:
            dialog.border_title = self._title
            with VerticalScroll():
                yield Static(self.question, id="question")
            for key in GROUPS[self.KEYS].keys:
                yield Answer(key)
        yield KeysFooter()

    def on_mount(self) -> None:
        self.show()

    def show(self) -> None:
        """Show what each key does at this moment."""
        for answer in self.query(Answer):
            answer.say(self.label_of(answer.key))

    def label_of(self, key: Key) -> str:
        """Return what a key does now; empty if nothing."""
        return key.label

    def name_of(self, key: Key) -> str:
        """Return the key, the first if there are several."""
        keys = self.app.keymap.keys(self.KEYS, key)  # type: ignore[attr-defined]
        return display(str(keys).partition(",")[0])

    @property
    def indent(self) -> int:
        """How far the texts of the answers stand to the right, so that they are in line."""
        return max(len(self.name_of(key)) for key in GROUPS[self.KEYS].keys) + 2

    def action_answer(self, answer: str) -> None:
        self.dismiss(answer)


class NewRunDialog(Dialog):
    """Asks before a new run replaces the open one; the answer is ``start``."""

    KEYS = "ask_new_run"
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)

    def __init__(self, draft: Draft, old_run: str, becomes: str = "") -> None:
        question = differences(draft.base, draft.waiting)
        if draft.prepared:
            question = Text(f"With the preset {draft.next_preset}.\n\n").append_text(question)
        elif not draft.waiting:
            question.append("With the same settings as the open run.\n")
        kept = f"{old_run} is saved and kept."
        question.append(f"\n{becomes or kept}\n", "" if becomes else "dim")
        super().__init__("Begin a new run?", question)


class GpusDialog(Dialog):
    """Asks how many of several GPUs a new run uses; the answer is ``all`` or ``one``."""

    KEYS = "ask_gpus"
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)

    def __init__(self, processes: int) -> None:
        self._processes = processes
        super().__init__("On how many GPUs?", Text("Each GPU takes a part of every step.\n"))

    def label_of(self, key: Key) -> str:
        return {
            "all": f"on {self._processes}, a process for each\n"
            "in the background: it goes on when you quit",
            "one": "on one, in this app",
        }.get(key.name, key.label)


class TakeControlDialog(Dialog):
    """Asks before control is taken from somebody; the answer is ``take``."""

    KEYS = "ask_control"
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)

    def __init__(self, who: str) -> None:
        question = Text(f"{who} is in control of this run, is told, and then watches.\n")
        super().__init__("Take control?", question)


class GoBackDialog(Dialog):
    """Asks before many steps are trained again; the answer is ``back`` or ``nearest``."""

    KEYS = "ask_back"
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)

    def __init__(self, way: Way, now: int, stop: str) -> None:
        self._way = way
        begin = f"From the checkpoint of step {way.start:,}" if way.start else "From the beginning"
        question = Text(f"{way.why}\n\n" if way.why else "")
        question.append(f"{begin}:\n{way}.\n")
        question.append(f"\nThe steps after {way.step:,} stay in the charts, as a faint line.\n")
        question.append(f"\n{stop} stops that, and the run stays at step {now:,}.\n", "dim")
        super().__init__(f"Go back to step {way.step:,}?", question)

    def label_of(self, key: Key) -> str:
        way = self._way
        return {
            "yes": f"go back to step {way.step:,}",
            "nearest": f"go back to step {way.start:,}, at once",
        }.get(key.name, key.label)


class ForkDialog(Dialog):
    """Asks before the open run is forked; the answer is ``open`` or ``stay``."""

    KEYS = "ask_fork"
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)

    def __init__(
        self, draft: Draft, parent: str, step: int, before: str = "", becomes: str = ""
    ) -> None:
        edits = draft.fork_edits
        taken = {key: edits[key] for key in edits if not why_not_in_fork(key)}
        question = differences(draft.base, taken)
        if not taken:
            question.append("With the settings it had at that step; change them in the fork.\n")
        for key, value in edits.items():
            if why := why_not_in_fork(key):
                left_out = differences(draft.base, {key: value})
                question.append("\nnot in a fork: ", "dim").append_text(left_out)
                question.append(f"{why}; it waits for a new run\n", "dim")
        question.append(f"\n{parent} stays as it is.\n", "dim")
        question.append(f"\nIf the fork is opened, {becomes}\n" if becomes else "")
        if before:
            question.append(f"\n{before}\n", "dim")
        super().__init__(f"Fork {parent} at step {step:,}?", question)


class OpenRunDialog(Dialog):
    """Asks before another run replaces the open one; the answer is ``open``."""

    KEYS = "ask_open"
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)

    def __init__(self, control: RunControl, name: str) -> None:
        question = Text()
        if becomes := what_becomes(control):
            question.append(f"{becomes}\n")
        elif control.run_path and control.is_open:
            question.append(f"{control.run_path.name} is saved and closed.\n")
        elif is_busy(control):
            question.append("The run that is being prepared is saved and closed.\n")
        if edits := control.draft.waiting:
            count = format_count(len(edits), "edited setting")
            question.append(f"{count} not used yet will be forgotten:\n", "yellow")
            question.append(f"{format_options(edits)}\n", "dim")
        super().__init__(f"Open {name}?", question)


class QuitDialog(Dialog):
    """Asks before the app quits during training: the answer is ``save``, ``now`` or ``leave``.

    Args:
        status: Returns the state of the run, which continues meanwhile.
        is_gone: Returns whether the run's folder was removed, so that nothing can be saved.
    """

    KEYS = "ask_quit"
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)

    def __init__(
        self, status: Callable[[], Status], is_gone: Callable[[], bool] = lambda: False
    ) -> None:
        self._status, self._is_gone = status, is_gone
        super().__init__("Leave this run?", Text())

    def on_mount(self) -> None:
        self.show()
        self.set_interval(0.5, self.show)

    def show(self) -> None:
        question = self.query_one("#question", Static)
        question.update("The run's folder is gone.\n" if self._is_gone() else "")
        question.display = self._is_gone()
        super().show()

    def label_of(self, key: Key) -> str:
        status = self._status()
        saved, lost = status.saved_step, status.step - status.saved_step
        at_rest = lost <= 0 and status.state is not State.RUNNING  # the run finished meanwhile
        if self._is_gone():
            return {
                "now": f"quit: all {format_count(status.step, 'step')} are lost",
                "stay": f"stay: {self.key_of('cockpit.fork')} keeps them in a new run",
            }.get(key.name, "")
        if key.name == "save":
            done = (
                f"quit: step {saved:,} is saved"
                if at_rest
                else f"save step {status.step:,} and quit"
            )
            also = self.app.keymap.keys(self.KEYS, key).split(",")[1:]  # type: ignore[attr-defined]
            return f"{done} (or {display(also[0])})" if also else done
        if key.name == "now":
            last = (
                f"the last checkpoint is step {saved:,}" if saved else "there is no checkpoint yet"
            )
            told = f"quit now: {format_count(lost, 'step')} will be re-trained\n{last}"
            return "" if at_rest else told
        if key.name == "leave":
            return "" if at_rest else "quit, and train on in the background"
        return "stay" if at_rest else "keep going"

    def action_answer(self, answer: str) -> None:
        """Close with an answer; ignore ``save`` if the folder is gone."""
        if answer != "save" or not self._is_gone():
            super().action_answer(answer)


def before_going_back(control: RunControl, way: Way) -> GoBackDialog | None:
    """Return the question before a run goes back; None if that takes no time to speak of."""
    if not way.steps or (way.seconds is not None and way.seconds < LONG_SECONDS):
        return None
    return GoBackDialog(way, control.status.step, control.key_of(STOP))


def before_forking(control: RunControl, step: int, way: Way | None = None) -> ForkDialog:
    """Return the question before a fork."""
    before = f"Before that, {way}; {control.key_of(STOP)} stops it." if way and way.steps else ""
    if way and way.why:
        before = f"{way.why}\n{before}"
    return ForkDialog(control.draft, control.facts.name, step, before, what_becomes(control))


def differences(base: Config, edits: Mapping[str, Value]) -> Text:
    """Format edits, a line for each: old and new value."""
    text = Text()
    for key, value in edits.items():
        one = SETTINGS[key]
        before, after = one.format(base.get(key)), one.format(value)
        text.append(f"{key}  ", "bold").append(f"{before} → {after}\n")
    return text


def what_becomes(control: RunControl) -> str:
    """Say what the run in training does when another one is opened; empty if none is."""
    status = control.status
    if control.run_path and control.attached and status.state is State.RUNNING:
        return f"{control.run_path.name} goes on: {control.attached} trains it."
    if control.run_path is None or not control.is_training_here:
        return ""
    return (
        f"{control.run_path.name} stops, now at step {status.step:,} of {status.total_steps:,}; "
        f"it is saved, and {control.key_of('cockpit.runs')} opens it again."
    )


def is_busy(control: RunControl) -> bool:
    """Return whether opening another run would interrupt training here."""
    elsewhere = control.watching or control.attached
    return control.status.state in (State.PREPARING, State.RUNNING) and not elsewhere
