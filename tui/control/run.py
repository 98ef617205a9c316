"""What the cockpit's keys do: wishes become commands, events become facts. No widget in sight."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config.changes import turn_off_epochs, why_not_in_fork
from engine.config.schema import SETTINGS, Config, config_from_dict
from engine.config.setting import Value, When
from engine.protocol import (
    Adjust,
    Adjusted,
    Advised,
    Command,
    CoolDown,
    EndLearningRateFinder,
    Evaluate,
    Event,
    FindLearningRate,
    Fork,
    Open,
    Pause,
    Pin,
    Resume,
    Rewind,
    Rewound,
    RunOpened,
    Sample,
    Save,
    Silence,
    Start,
    State,
    Status,
    Step,
    Stop,
    Unsilence,
)
from tui.control.draft import Draft
from tui.control.launch import Launch
from tui.control.queue import QueueControl
from tui.control.run_facts import RunFacts

if TYPE_CHECKING:
    from engine.lr_finder.background import BackgroundFinder
    from engine.metrics import MetricStore
    from engine.session.worker import ThreadEngine

OPEN_STATES = (State.RUNNING, State.PAUSED, State.FINISHED)
NOT_BEGUN = Status()
SAMPLING = "sample."  # what the keys of the sampling settings begin with


class RunControl:
    """Holds the engine, the draft and the facts about the open run.

    Args:
        launch: What the app was asked to do.
        emit: Takes the engine's events, in the engine's thread.
    """

    def __init__(self, launch: Launch, emit: Callable[[Event], None]) -> None:
        self.launch = launch
        self.draft = Draft(launch.config)
        self._emit = emit
        self.run_path: Path | None = launch.run
        config = launch.config
        self.facts = RunFacts(corpus=Path(config.data.corpus).name, preset=config.preset)
        self.note = ""
        self.first_step = 0  # above 0 for a fork: it has no earlier weights
        self.watching = False  # another program trains the run
        self._name = launch.name
        self._wanted_there: dict[str, Any] = {}  # where the run goes back to, on advice
        self._request_ids = itertools.count(1)
        self._early_sample = 0  # the request for a text that waits for the run to be there
        self._begun = False
        self.queue = QueueControl(launch.runs_dir, self._send)

    @cached_property
    def engine(self) -> ThreadEngine:
        """The engine; made after the first paint, because numpy comes with it."""
        from engine.session.worker import ThreadEngine

        return ThreadEngine(self._emit)

    @property
    def status(self) -> Status:
        """Where the run stands."""
        return self.engine.status if self._begun else NOT_BEGUN

    @property
    def metrics(self) -> MetricStore:
        """What the charts read."""
        return self.engine.metrics

    @property
    def lr_finder(self) -> BackgroundFinder:
        """What a learning-rate finder has measured."""
        return self.engine.lr_finder

    @property
    def is_open(self) -> bool:
        """Whether the engine holds a run that takes commands."""
        return self.status.state in OPEN_STATES and not self.watching

    @property
    def has_unsaved_steps(self) -> bool:
        """Whether quitting now would cost training."""
        status = self.status
        at_work = status.state is State.RUNNING
        return self.is_open and (at_work or status.step > status.saved_step)

    @property
    def can_cool_down(self) -> bool:
        """Whether the schedule waits to be told when to decay."""
        active = self.status.state in (State.RUNNING, State.PAUSED) and not self.watching
        return active and self.draft.base.optim.schedule in ("wsd", "constant")

    # -- wishes ----------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the engine; open the run the app was launched with."""
        self._begun = True
        self.engine.start()
        if self.launch.run:
            self._send(Open(str(self.launch.run), running=False, watch=True))

    def start(self) -> None:
        """Begin a new run with the edited settings.

        Raises:
            InputError: The edits do not go together.
        """
        config = self.draft.next_config()
        launch = self.launch
        self._send(Start(config.to_dict(), str(launch.runs_dir), self._name, launch.command_line))

    def resume(self) -> None:
        """Go on; what was edited for then takes effect."""
        edits = self.draft.edits_for(When.RESUME)
        if self.is_open and self.status.state is not State.RUNNING and not edits:
            self._send(Resume())
            return
        if not self.is_open:  # the run was closed, so that live settings had to wait, too
            edits |= self.draft.edits_for(When.LIVE)
        assert self.run_path
        self._send(Open(str(self.run_path), running=True, changes=dict(edits)))

    def pause(self) -> None:
        """Stop training for now."""
        self._send(Pause())

    def step(self) -> None:
        """Take one step."""
        self._send(Step())

    def sample(self) -> None:
        """Write a text from the present weights."""
        self._send(Sample())

    def evaluate(self) -> int:
        """Measure the validation loss; returns the id of the request."""
        return self._send(Evaluate())

    def save(self) -> int:
        """Write a checkpoint; returns the id of the request."""
        return self._send(Save())

    def edit(self, changes: dict[str, Value]) -> None:
        """Change settings: at once those that can be, the others for when they may.

        Raises:
            InputError: With the other settings they cannot be.
        """
        changes = turn_off_epochs(changes)
        live = {
            key: value
            for key, value in changes.items()
            if self.is_open and SETTINGS[key].when is When.LIVE
        }
        if live:
            self.draft.base.replace(live)
            self._send(Adjust(live))
        for key in changes.keys() - live.keys():
            self.draft.edit(key, changes[key])

    def sample_with(self, changes: dict[str, Value]) -> int | None:
        """Change sampling settings, and write a text with them; returns the id of the request.

        While a run is being prepared the text waits for it; without a run there is none.

        Raises:
            InputError: They cannot be.
        """
        if self.is_open:
            self.draft.base.replace(changes)
            return self._send(_sample_with(changes))
        self.edit(changes)
        if self.status.state is not State.PREPARING:
            return None
        self._early_sample = next(self._request_ids)
        return self._early_sample

    @property
    def branch(self) -> int:
        """The line of history the run is on."""
        return self.status.branch

    def sample_past(self, step: int) -> None:
        """Write a text with the weights kept of a step before."""
        self._send(Sample(step=step))

    def pin(self, step: int, keep: bool) -> None:
        """Keep the weights of a step for good, or no longer."""
        self._send(Pin(step, keep))

    def rewind(self, step: int) -> None:
        """Go back to a step of the open run."""
        self._wanted_there = {}
        self._send(Rewind(step))

    def fork(self, step: int) -> int:
        """Begin another run from a step of this one, with what was edited and fits its weights.

        Returns:
            The id of the request.
        """
        edits = self.draft.edits
        changes = {key: edits[key] for key in edits if not why_not_in_fork(key)}
        return self._send(Fork(changes, None, step))

    def open_run(self, path: Path, keep_edits: bool = False) -> None:
        """Open another run, paused; the one that is open is saved and closed."""
        if not keep_edits:
            self.draft.edits.clear()
        self._send(Open(str(path), running=False, watch=True))

    def follow(self, advice: Advised) -> None:
        """Do what is advised; after going back, go on from there."""
        if advice.rewind_to is None:
            self._send(Adjust(advice.changes))
        else:
            self.rewind(advice.rewind_to)
            self._wanted_there = advice.changes

    def silence(self, kind: str) -> None:
        """Hear no more advice of a kind about this run."""
        self._send(Silence(kind))

    def unsilence(self) -> None:
        """Hear all kinds of advice about this run again."""
        self._send(Unsilence())

    def cool_down(self) -> None:
        """Begin the decay of the learning rate now."""
        self._send(CoolDown())

    def find_learning_rate(self, config: Config) -> int:
        """Test learning rates on a throw-away model; returns the id of the request."""
        return self._send(FindLearningRate(config.to_dict()))

    def end_learning_rate_finder(self) -> None:
        """End the test of learning rates."""
        self._send(EndLearningRateFinder())

    def stop(self, save: bool) -> None:
        """Close the run."""
        self._send(Stop(save))

    def end(self, seconds: float) -> bool:
        """End the engine, saving what is open; False if that took longer than this."""
        ended = not self._begun or self.engine.join(seconds)
        if ended:
            self.queue.release()
        return ended

    # -- events ----------------------------------------------------------------------------------

    def take_over(self, event: RunOpened) -> None:
        """A run stands ready: its facts and settings are now the base."""
        self.run_path = Path(event.path)
        self.queue.note_opened(self.run_path)
        self._name = None
        runtime = event.runtime
        self.note = event.note
        self.first_step, self.watching = event.first_step, event.watching
        self.facts = RunFacts(
            name=self.run_path.name,
            corpus=f"{event.corpus} (stand-in)" if event.note else Path(event.corpus).name,
            parameters=event.parameters,
            device=runtime["device"],
            precision=runtime["precision"],
            threads=runtime["threads"],
        )
        self.draft.rebase(config_from_dict(event.config))
        self._send_what_was_typed_early()

    def _send_what_was_typed_early(self) -> None:
        """Hand on what was typed while the run was being prepared."""
        early = self.draft.edits_for(When.LIVE)
        request_id, self._early_sample = self._early_sample, 0
        if self.queue.taken:  # a queued run is to be as it was queued
            return
        if request_id:
            sampling = {key: early.pop(key) for key in list(early) if key.startswith(SAMPLING)}
            self._send(_sample_with(sampling), request_id)
        if early:
            self._send(Adjust(early))

    def note_rewound(self, event: Rewound) -> None:
        """The run is back at a step, and its settings with it; edits that wait still do."""
        self.draft.rebase(config_from_dict(event.config))

    def go_on_as_advised(self) -> None:
        """Begin again at the step that advice brought the run back to, if it did."""
        changes, self._wanted_there = self._wanted_there, {}
        if changes:
            self._send(Adjust(changes))
            self._send(Resume())

    def note_adjusted(self, event: Adjusted) -> None:
        """Settings of the run have changed."""
        changes: dict[str, Any] = {key: pair[1] for key, pair in event.changes.items()}
        base, problems = self.draft.base.check(changes)
        assert not problems, problems
        self.draft.rebase(base)

    def _send(self, command: Command, request_id: int = 0) -> int:
        """Hand a command to the engine; returns the id that its answer will carry.

        Args:
            command: What is wanted.
            request_id: If it was given out already.
        """
        request_id = request_id or next(self._request_ids)
        self.engine.send(dataclasses.replace(command, request_id=request_id))
        return request_id


def _sample_with(changes: dict[str, Value]) -> Sample:
    """A text with settings changed from now on."""
    return Sample({key.removeprefix(SAMPLING): changes[key] for key in changes}, keep=True)
