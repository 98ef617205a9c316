"""The keys of the cockpit, and when each of them works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from textual.binding import Binding, BindingType

from engine.protocol import Advised, State
from tui.control.run import RunControl

BINDINGS: list[BindingType] = [
    Binding("space", "start", "Start", tooltip="start training, pause it, go on"),
    Binding("space", "pause", "Pause", tooltip="hold training"),
    Binding("space", "resume", "Resume", tooltip="go on with training"),
    Binding("full_stop", "step", "Step", key_display=".", show=False,
            tooltip="while paused: take a single step"),
    Binding("s", "sample", "Sample", tooltip="write a text with the weights of this moment"),
    Binding("p", "prompt", "Prompt", show=False,
            tooltip="edit prompt, temperature and top-k (enter: sample, esc: back)"),
    Binding("left_square_bracket", "earlier", "Earlier", key_display="[", show=False,
            tooltip="the sample before"),
    Binding("right_square_bracket", "later", "Later", key_display="]", show=False,
            tooltip="the sample after"),
    Binding("e", "edit", "Edit", tooltip="edit settings (enter: change, esc: back)"),
    Binding("n", "new_run", "New",
            tooltip="begin a new run with the edited settings; the old one is kept"),
    Binding("b", "timeline", "Back",
            tooltip="look at any moment before, go back to it or fork from it"),
    Binding("f", "fork", "Fork", show=False,
            tooltip="begin another run from this step; this one is kept"),
    Binding("r", "runs", "Runs",
            tooltip="all runs: open, compare, filter, tag, rename, delete"),
    Binding("a", "add_to_queue", "Add to queue", show=False,
            tooltip="queue the edited settings, as one run or with several values"),
    Binding("Q", "show_queue", "Queue", show=False,
            tooltip="the queue: what is to come, and which run is the best"),
    Binding("h", "hold_queue", "Hold queue", show=False,
            tooltip="let no queued run begin of itself, or go on"),
    Binding("t", "test_rates", "Test rates", show=False,
            tooltip="find a learning rate: a short test with a rate that rises"),
    Binding("v", "evaluate", "Eval", show=False, tooltip="measure the validation loss now"),
    Binding("w", "save", "Save", show=False, tooltip="write a checkpoint now"),
    Binding("d", "cool_down", "Cool down", show=False,
            tooltip="with a wsd or constant schedule: begin the decay now, and end with it"),
    Binding("l", "toggle_log", "Log", show=False, tooltip="logarithmic losses on or off"),
    Binding("m", "toggle_smooth", "Smooth", show=False,
            tooltip="the running average of the training loss on or off"),
    Binding("z", "toggle_window", "Zoom", show=False,
            tooltip="the whole course, or its last fifth"),
    Binding("y", "follow_advice", "Do it", show=False, tooltip="do what the advice says"),
    Binding("X", "silence_advice", "Never again", show=False,
            tooltip="take this kind of advice away for good, in this run"),
    Binding("x", "dismiss_notice", "Hide", tooltip="take the message away"),
    Binding("question_mark", "help", "Help", key_display="?", tooltip="this page"),
    Binding("q", "app.leave", "Quit", tooltip="quit; a running run asks what to do"),
]  # fmt: skip

SINGLE_KEYS = frozenset(binding.action for binding in BINDINGS if isinstance(binding, Binding))


@dataclass(frozen=True)
class Now:
    """All that decides which keys work.

    Attributes:
        control: Of the run.
        notice: What is shown there.
        advice: The same, if it is advice.
    """

    control: RunControl
    notice: str = ""
    advice: Advised | None = None

    @property
    def state(self) -> State:
        """What the engine is doing."""
        return self.control.status.state

    @property
    def is_open(self) -> bool:
        """Whether the engine holds a run that takes commands."""
        return self.control.is_open

    @property
    def has_run(self) -> bool:
        """Whether there is a run, open or not."""
        return self.control.run_path is not None

    @property
    def is_prepared(self) -> bool:
        """Whether no run is just being made ready."""
        return self.state is not State.PREPARING


def _can_resume(now: Now) -> bool:
    pruned = now.state is State.FINISHED and bool(now.control.status.pruned)
    at_rest = now.state in (State.IDLE, State.PAUSED, State.STOPPED, State.FAILED) or pruned
    return now.has_run and at_rest and (now.is_open or now.state is not State.PAUSED)


def _has_past(now: Now) -> bool:
    """Whether there are moments to look back at, those included that the run has left."""
    control = now.control
    return now.has_run and (control.status.step > 0 or bool(control.metrics.ghosts("train_loss")))


WORKS: dict[str, Callable[[Now], bool]] = {  # whatever is not in here always does
    "start": lambda now: now.state in (State.IDLE, State.FAILED) and not now.has_run,
    "pause": lambda now: now.state is State.RUNNING and now.is_open,
    "resume": _can_resume,
    "step": lambda now: now.state is State.PAUSED and now.is_open,
    "sample": lambda now: now.is_open,
    "evaluate": lambda now: now.is_open,
    "save": lambda now: now.is_open,
    "cool_down": lambda now: now.control.can_cool_down,
    "timeline": lambda now: _has_past(now) and now.is_prepared,
    "fork": lambda now: now.is_open and now.control.status.step > 0,
    "new_run": lambda now: now.has_run and now.is_prepared,
    "test_rates": lambda now: now.is_prepared,
    "follow_advice": lambda now: now.advice is not None and now.is_open,
    "silence_advice": lambda now: now.advice is not None and now.advice.rewind_to is None,
    "dismiss_notice": lambda now: bool(now.notice),
}
