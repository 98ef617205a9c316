"""What is said between the engine and whoever watches: commands in, events out.

All are frozen and serialisable (``to_dict``, ``from_dict``), so that the engine may live in this
process, in another or on another machine. Events carry no data points: those go to the metric
store. Every command is answered by an event that names it, or by ``Refused``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """What the engine is doing."""

    IDLE = "idle"  # no run yet
    PREPARING = "preparing"
    RUNNING = "training"
    PAUSED = "paused"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class Message:
    """Anything that is said."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with the name of what is said."""
        return {"type": type(self).__name__, **dataclasses.asdict(self)}


@dataclass(frozen=True)
class Command(Message):
    """A wish."""


@dataclass(frozen=True)
class PruningRule:
    """What may stop a run of a sweep before its end: see ``engine.sweeps.median_rule``.

    Attributes:
        after_runs: Other runs that must have come as far.
        after_steps: Steps that every run takes; 0 for a quarter of its own.
        rivals: The folders of the runs that it is compared with.
    """

    after_runs: int
    after_steps: int
    rivals: tuple[str, ...]


@dataclass(frozen=True)
class Start(Command):
    """Begin a new run. Answered by ``RunOpened``, then ``StateChanged``."""

    config: dict[str, Any]
    runs_dir: str
    name: str | None = None
    command_line: str = ""
    like: str = ""  # the folder of a run whose measured precision and threads it takes over
    pruning_rule: PruningRule | None = None


@dataclass(frozen=True)
class Open(Command):
    """Open an existing run at its latest checkpoint. Answered by ``RunOpened``."""

    run: str  # the path of its folder
    running: bool = True  # else paused
    watch: bool = False  # only look at it, if another program is training it
    changes: dict[str, Any] = field(default_factory=dict)
    pruning_rule: PruningRule | None = None


@dataclass(frozen=True)
class Pause(Command):
    """Answered by ``StateChanged``."""


@dataclass(frozen=True)
class Resume(Command):
    """Answered by ``StateChanged``."""


@dataclass(frozen=True)
class Step(Command):
    """While paused: take one step. Answered by ``StateChanged`` when it is done."""


@dataclass(frozen=True)
class Adjust(Command):
    """Change live settings. Answered by ``Adjusted`` at the next step boundary."""

    changes: dict[str, Any]


@dataclass(frozen=True)
class CoolDown(Command):
    """Begin the decay of a wsd or constant schedule now. Answered by ``Adjusted``."""


@dataclass(frozen=True)
class Sample(Command):
    """Generate text from the weights as they are now. Answered by ``SampleStarted``."""

    changes: dict[str, Any] = field(default_factory=dict)
    step: int | None = None  # from the weights kept of a step before


@dataclass(frozen=True)
class Evaluate(Command):
    """Measure the validation loss now. Answered by ``Evaluated``."""

    whole: bool = False


@dataclass(frozen=True)
class Save(Command):
    """Write a checkpoint now. Answered by ``Saved``."""


@dataclass(frozen=True)
class Pin(Command):
    """Keep the weights of a step for good, or no longer. Answered by ``Pinned``."""

    step: int
    keep: bool = True


@dataclass(frozen=True)
class Rewind(Command):
    """Go back to a step of this run. Answered by ``Rewound`` when it is there."""

    step: int


@dataclass(frozen=True)
class Fork(Command):
    """Begin another run from where this one is, or was. Answered by ``Forked``."""

    changes: dict[str, Any] = field(default_factory=dict)
    name: str | None = None
    step: int | None = None  # None for now


@dataclass(frozen=True)
class Silence(Command):
    """Never give a kind of advice again in this run. Answered by ``Silenced``."""

    kind: str


@dataclass(frozen=True)
class Unsilence(Command):
    """Give all kinds of advice again in this run. Answered by ``Unsilenced``."""


@dataclass(frozen=True)
class FindLearningRate(Command):
    """Try learning rates on a throw-away model; an open run rests. Answered by ``RatesTried``.

    Whatever command comes next ends it.
    """

    config: dict[str, Any]
    number: int = 0  # of the test: comes back with all that is told of it


@dataclass(frozen=True)
class EndLearningRateFinder(Command):
    """End the test of learning rates, if there is one. Answered by ``RatesTried``."""


@dataclass(frozen=True)
class Stop(Command):
    """End the session, saving first if asked. Answered by ``StateChanged``."""

    save: bool = True


@dataclass(frozen=True)
class Event(Message):
    """Something that happened."""


@dataclass(frozen=True)
class StateChanged(Event):
    """The engine is doing something else now."""

    state: State
    step: int = 0
    message: str = ""


@dataclass(frozen=True)
class RunOpened(Event):
    """A run stands ready."""

    path: str
    config: dict[str, Any]
    runtime: dict[str, Any]
    corpus: str
    note: str  # one line if the text is a stand-in
    parameters: int
    step: int
    total_steps: int
    saved_step: int  # of the latest checkpoint; 0 if there is none
    first_step: int = 0  # above 0 for a fork: it has no earlier weights
    last_sample: int = 0  # the newest text that was kept by then; later ones are announced
    watching: bool = False  # another program trains it


@dataclass(frozen=True)
class Evaluated(Event):
    """The validation loss was measured."""

    step: int
    val_loss: float
    measured: str  # what on, in words
    best: bool


@dataclass(frozen=True)
class SampleStarted(Event):
    """Text is on its way."""

    sample: int
    step: int
    automatic: bool
    settings: dict[str, Any]


@dataclass(frozen=True)
class SampleText(Event):
    """Some more of it."""

    sample: int
    text: str


@dataclass(frozen=True)
class SampleFinished(Event):
    """It is whole."""

    sample: int
    tokens: int
    tokens_per_second: float


@dataclass(frozen=True)
class Saved(Event):
    """A checkpoint is on the disk."""

    step: int
    path: str


@dataclass(frozen=True)
class Pinned(Event):
    """The weights of a step stay for good, or no longer."""

    step: int
    keep: bool


@dataclass(frozen=True)
class Rewound(Event):
    """The run is back at a step; what came after it is a branch left behind."""

    step: int
    left_at: int
    branch: int  # the new line of history
    config: dict[str, Any]  # in force there


@dataclass(frozen=True)
class Forked(Event):
    """A new run stands beside this one, with its weights and its past."""

    step: int
    path: str


@dataclass(frozen=True)
class Adjusted(Event):
    """Settings changed: key -> [from, to]."""

    step: int
    changes: dict[str, list[Any]]


@dataclass(frozen=True)
class Warned(Event):
    """Something the person should know; training may go on."""

    message: str


@dataclass(frozen=True)
class Advised(Event):
    """Something seems wrong with the training, and this may help."""

    kind: str  # of engine.diagnostics.symptoms.Kind
    message: str  # one sentence
    action: str  # what the changes do, as an imperative
    changes: dict[str, Any]  # of live settings
    rewind_to: int | None = None  # the step to go back to before; training is paused then


@dataclass(frozen=True)
class Silenced(Event):
    """A kind of advice is not given any more in this run."""

    kind: str


@dataclass(frozen=True)
class Unsilenced(Event):
    """Kinds of advice that were silenced are given again."""

    kinds: list[str]


@dataclass(frozen=True)
class LearningRateFinderPrepared(Event):
    """A test of learning rates gets ready, or begins; its losses go to a metric store."""

    message: str  # what is being done; empty once it begins
    number: int = 0
    runtime: dict[str, Any] = field(default_factory=dict)  # what it computes with, then


@dataclass(frozen=True)
class LearningRateFound(Event):
    """A test of learning rates is over."""

    message: str  # what the losses say, in a sentence; empty if it was called off
    number: int = 0
    changes: dict[str, Any] = field(default_factory=dict)  # the settings it suggests


@dataclass(frozen=True)
class Refused(Event):
    """A command could not be carried out; nothing changed.

    Attributes:
        command: The name of its class.
        message: Why.
        changes: Those that an ``Adjust`` asked for.
    """

    command: str
    message: str
    changes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed(Event):
    """The engine came to an end it did not choose."""

    message: str
    detail: str = ""


PRUNED_KEY = "outdone"  # what ``Status.pruned`` is called in files and in JSON


@dataclass(frozen=True)
class Status:
    """Where a run stands; the engine replaces it whole, whoever watches reads it when they like."""

    state: State = State.IDLE
    message: str = ""
    step: int = 0
    total_steps: int = 0
    tokens: int = 0
    epoch: float = 0.0
    learning_rate: float = 0.0
    train_loss: float | None = None
    val_loss: float | None = None
    val_measured: str = ""  # what the validation loss was measured on, in words
    best_val_loss: float | None = None
    best_step: int | None = None
    saved_step: int = 0  # of the latest checkpoint; 0 if there is none
    branch: int = 0  # the line of history; it changes when the run goes back
    train_seconds: float = 0.0
    tokens_per_second: float = 0.0
    tokens_per_step: int = 0  # of the steps to come
    pruned: str = ""  # why the rule of its sweep has stopped the run here

    @property
    def seconds_left(self) -> float | None:
        """Training time left at the present speed, in steps as they are now.

        None if the speed is not known, as in the first moments and after the batch changed.
        """
        if not (self.tokens_per_second and self.tokens_per_step):
            return None
        tokens_left = (self.total_steps - self.step) * self.tokens_per_step
        return tokens_left / self.tokens_per_second


def from_dict(values: dict[str, Any]) -> Message:
    """The message that ``to_dict`` was called on.

    Raises:
        ValueError: There is no such message.
    """
    kinds = {cls.__name__: cls for base in (Command, Event) for cls in base.__subclasses__()}
    fields = dict(values)
    kind = kinds.get(fields.pop("type", ""))
    if kind is None:
        raise ValueError(f"no such message: {values.get('type')!r}")
    if "state" in fields:
        fields["state"] = State(fields["state"])
    try:
        if rule := fields.get("pruning_rule"):
            fields["pruning_rule"] = PruningRule(**rule | {"rivals": tuple(rule["rivals"])})
        return kind(**fields)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a {kind.__name__}: {error}") from None
