"""Messages between the engine and its clients: commands in, events out.

All are frozen structs of plain values, so that they may cross threads and processes. They are of
msgspec, which makes a class in a twentieth of the time of a dataclass, and all are made before the
first paint. Events carry no data points, which go to the metric store. Every command is answered by
the event that its docstring names, or by ``Refused``; the answer carries the request id of its
command.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from engine.states import State as State

MOST_TEXTS = 16  # that one command samples at once


class Command(Struct, frozen=True, kw_only=True, tag=True):
    """A request to the engine.

    Attributes:
        request_id: Chosen by the sender and repeated in the answer; 0 for none.
        sender: Who sent it from another process, which the journal says.
    """

    request_id: int = 0
    sender: str = ""

    def refused(self, why: str) -> Refused:
        """The answer if it cannot be carried out."""
        return Refused(type(self).__name__, why, request_id=self.request_id)


class PruningRule(Struct, frozen=True):
    """What may stop a run of a sweep before its end: see ``engine.sweeps.median_rule``.

    Attributes:
        after_runs: Other runs that must have come as far.
        after_steps: Steps that every run takes; 0 for a quarter of its own.
        rivals: The folders of the runs that it is compared with.
    """

    after_runs: int
    after_steps: int
    rivals: tuple[str, ...]


class Start(Command, frozen=True):
    """Start a new run. Answered by ``RunOpened``, then ``StateChanged``."""

    config: dict[str, Any]
    runs_dir: str
    name: str | None = None
    command_line: str = ""
    like: str = ""  # the folder of a run whose measured precision and threads to use
    pruning_rule: PruningRule | None = None


class Open(Command, frozen=True):
    """Open an existing run at its latest checkpoint. Answered by ``RunOpened``."""

    run: str  # the path of its folder
    running: bool = True  # false opens it paused
    watch: bool = False  # open it read-only if another process trains it or its text is missing
    changes: dict[str, Any] = {}
    pruning_rule: PruningRule | None = None
    data: str = ""  # where its text is now; empty if it is where it was
    val: str = ""  # the same of the text it is validated on
    role: str = "control"  # where another process trains it; see ``engine.remote.wire.Hello``


class Describe(Command, frozen=True):
    """Describe the open run again, as it is now. Answered by ``RunOpened``."""


class TakeControl(Command, frozen=True):
    """Take control of a run that another process trains. Answered by ``Controlled``."""


class Pause(Command, frozen=True):
    """Pause training. Answered by ``StateChanged``."""


class Resume(Command, frozen=True):
    """Resume training. Answered by ``StateChanged``."""


class Step(Command, frozen=True):
    """Take one step while paused. Answered by ``StateChanged`` when it is done."""


class Adjust(Command, frozen=True):
    """Change live settings. Answered by ``Adjusted`` at the next step boundary.

    Several that take effect together are answered together, with the id of the last.
    """

    changes: dict[str, Any]
    undo: bool = False  # it takes back an earlier change, which the journal says


class CoolDown(Command, frozen=True):
    """Start the cool-down of a wsd or constant schedule now. Answered by ``Adjusted``."""


class Sample(Command, frozen=True):
    """Generate text from the current weights. Answered by ``SampleStarted``, one for each text."""

    changes: dict[str, Any] = {}  # of the settings in ``sample``
    step: int | None = None  # use the saved weights of an earlier step
    seed: int | None = None  # of the first text, the next has the next one; None: the setting
    texts: int = 1  # so many at once, at most ``MOST_TEXTS``


class StopSample(Command, frozen=True):
    """End a text that is being generated, and those generated with it; what there is stays.

    Answered by ``SampleFinished``.
    """

    sample: int


class Inspect(Command, frozen=True):
    """Look inside a model. Answered by ``Inspected``.

    Attributes:
        view: One of ``engine.inspect.views.VIEWS``.
        text: What it looks at; None for an excerpt of the validation split.
        excerpt: The number of the excerpt.
        run: The folder of another run; empty for the open one.
        moment: ``now``, ``untrained`` or a step whose weights are kept.
        options: What the view is to show, such as ``layer`` and ``head``.
        side: Where it is shown. A newer question for the same view and side takes the place of
            this one, which is not answered any more.
    """

    view: str
    text: str | None = None
    excerpt: int = 0
    run: str = ""
    moment: str | int = "now"
    options: dict[str, Any] = {}
    side: int = 0


class Evaluate(Command, frozen=True):
    """Measure the validation loss now. Answered by ``Evaluated``."""

    whole: bool = False


class Save(Command, frozen=True):
    """Write a checkpoint now. Answered by ``Saved``."""


class Pin(Command, frozen=True):
    """Exempt the weights of a step from deletion, or no longer. Answered by ``Pinned``."""

    step: int
    keep: bool = True


class Rewind(Command, frozen=True):
    """Go back to a step of this run. Answered by ``Rewound`` when that is done."""

    step: int


class StopGoingBack(Command, frozen=True):
    """End a rewind, or the way to an earlier step for a fork: the run is where it was before.

    Answered by ``StateChanged``; the command that is ended is refused.
    """


class Fork(Command, frozen=True):
    """Create another run from a step of this one. Answered by ``Forked``."""

    changes: dict[str, Any] = {}
    name: str | None = None
    step: int | None = None  # None for the current one
    runs_dir: str = ""  # where it goes; empty for the folder that this run is in


class Silence(Command, frozen=True):
    """Turn off a kind of advice for this run. Answered by ``Silenced``."""

    kind: str


class Unsilence(Command, frozen=True):
    """Turn all kinds of advice on again for this run. Answered by ``Unsilenced``."""


class FindLearningRate(Command, frozen=True):
    """Start the learning-rate finder on a temporary model, while an open run is paused.

    Answered by ``LearningRateFinderPrepared`` and then ``LearningRateFound``. Any other command
    ends it.
    """

    config: dict[str, Any]


class EndLearningRateFinder(Command, frozen=True):
    """Cancel the learning-rate finder, if it is running. Answered by ``LearningRateFound``."""


class Stop(Command, frozen=True):
    """End the session, saving first if asked. Answered by ``StateChanged``."""

    save: bool = True


class Event(Struct, frozen=True, kw_only=True, tag=True):
    """Something that happened.

    Attributes:
        request_id: Of the command that this answers; 0 if it answers none.
    """

    request_id: int = 0


class StateChanged(Event, frozen=True):
    state: State
    step: int = 0
    message: str = ""


class RunOpened(Event, frozen=True):
    path: str
    config: dict[str, Any]
    runtime: dict[str, Any]
    corpus: str
    note: str  # one line if the text replaces the one asked for
    parameters: int
    step: int
    total_steps: int
    saved_step: int  # of the latest checkpoint; 0 if there is none
    first_step: int = 0  # above 0 for a fork, which has no earlier weights
    last_sample: int = 0  # number of the newest stored sample; later ones have events
    watching: bool = False  # it is read-only: another process trains it, or its text is missing
    missing: str = ""  # why it is read-only, if not because another program has it open
    attached: str = ""  # the process that trains it, if that is not this one
    elsewhere: str = ""  # HOST:RUN if another machine does; ``path`` is a copy of its records
    characters: str = ""  # that a prompt may have; empty if it may have any
    vocab_size: int = 0
    begins: str = ""  # what an empty prompt is, in words; empty if that is not known


class Controlled(Event, frozen=True):
    """Who is in control of a run that another process trains."""

    who: str = ""  # empty if it is who hears this, or nobody
    watches: bool = False  # who hears this only watches, and cannot take control


class Inspected(Event, frozen=True):
    """What a model does with a text.

    Attributes:
        view: As asked for.
        step: Of the weights.
        ids: The T tokens that the model was given.
        tokens: Their texts.
        left_out: How many tokens of the text came before them, more than the context holds.
        found: A dataclass of the view, of NumPy arrays and plain values.
        share: How much of the work is done; below 1, another ``Inspected`` follows.
    """

    view: str
    step: int
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    left_out: int
    found: Any
    share: float = 1.0


class Evaluated(Event, frozen=True):
    """The validation loss was measured."""

    step: int
    val_loss: float
    measured: str  # the part of the split, e.g. "whole split"
    best: bool


class SampleStarted(Event, frozen=True):
    sample: int
    step: int
    automatic: bool
    settings: dict[str, Any]
    group: int = 0  # the first of the texts that belong together; 0 for a single one


class TokenOdds(Struct, frozen=True):
    """How likely the model held a token to be, before temperature and the other settings."""

    length: int  # characters of the text that it completed
    probability: float
    rank: int  # 1 for the most likely token
    alternatives: tuple[tuple[str, float], ...]  # the most likely tokens and their probabilities


class SampleText(Event, frozen=True):
    """More of a text. Its last characters may be held back, so tokens may run ahead of it."""

    sample: int
    text: str
    odds: tuple[TokenOdds, ...] = ()  # of the tokens since the last event; none if automatic


class SampleFinished(Event, frozen=True):
    sample: int
    tokens: int
    tokens_per_second: float
    stopped_by: str = ""  # "stop" for a stop string, "end_of_text", "max_tokens", or empty if ended


class Saved(Event, frozen=True):
    step: int
    path: str


class Pinned(Event, frozen=True):
    """The weights of a step were exempted from deletion, or no longer are."""

    step: int
    keep: bool


class Rewound(Event, frozen=True):
    """The run went back to a step; the later steps remain as an abandoned branch."""

    step: int
    left_at: int  # the step it was at before
    branch: int  # id of the new branch
    config: dict[str, Any]  # the settings at that step


class Forked(Event, frozen=True):
    """A new run was created, with the weights and history of this one."""

    step: int
    path: str


class Adjusted(Event, frozen=True):
    """Settings were changed: key -> [from, to]."""

    step: int
    changes: dict[str, list[Any]]
    clock: bool = False  # train.max_minutes changed them


class Warned(Event, frozen=True):
    """A warning for the user; training may continue."""

    message: str


class Advised(Event, frozen=True):
    """A training problem was detected; see ``engine.diagnostics.advice``."""

    kind: str  # a value of engine.diagnostics.symptoms.Kind
    message: str  # one sentence
    action: str  # what following the advice does, as an imperative
    changes: dict[str, Any]  # the live settings to change
    rewind_to: int | None = None  # the step to go back to first
    pauses: bool = False  # training was paused, and cannot go on as it was
    has_diverged: bool = False  # the weights are no use: to go on without the batch is none, too


class Silenced(Event, frozen=True):
    """A kind of advice was turned off for this run."""

    kind: str


class Unsilenced(Event, frozen=True):
    """Kinds of advice were turned on again."""

    kinds: list[str]


class LearningRateFinderPrepared(Event, frozen=True):
    """The learning-rate finder is being prepared, or begins; its losses go to a metric store."""

    message: str  # progress of the preparation; empty once it begins
    runtime: dict[str, Any] = {}  # empty before it begins


class LearningRateFound(Event, frozen=True):
    """The learning-rate finder has ended."""

    message: str  # the result in one sentence; empty if it was cancelled
    changes: dict[str, Any] = {}  # the suggested settings


class Refused(Event, frozen=True):
    """A command could not be carried out; nothing changed."""

    command: str  # the name of its class
    message: str  # the reason


class Failed(Event, frozen=True):
    """The engine ended because of an error."""

    message: str
    detail: str = ""


class GoingBack(Struct, frozen=True):
    """The way of a run to an earlier step, on which steps may be trained again."""

    step: int  # where it goes
    seconds_left: float | None = None  # at the speed so far; None if that is not known yet


class Status(Struct, frozen=True):
    """A snapshot of a run; the engine replaces it as a whole, so it can be read at any time."""

    state: State = State.IDLE
    message: str = ""
    step: int = 0
    step_share: float = 0.0  # done of the next one, if it takes long
    total_steps: int = 0
    tokens: int = 0
    epoch: float = 0.0
    learning_rate: float = 0.0
    train_loss: float | None = None
    val_loss: float | None = None
    val_measured: str = ""  # the part of the split, e.g. "whole split"
    best_val_loss: float | None = None
    best_step: int | None = None
    saved_step: int = 0  # of the latest checkpoint; 0 if there is none
    next_save: int = 0  # step of the next checkpoint, while there are steps to come
    next_eval: int = 0  # step of the next evaluation, while there are steps to come
    branch: int = 0  # changes when the run goes back
    train_seconds: float = 0.0
    tokens_per_second: float = 0.0
    tokens_per_step: int = 0  # of the next steps
    pruned: str = ""  # why the pruning rule of its sweep has stopped the run
    going_back: GoingBack | None = None  # while it does, it takes no command but the one to stop

    @property
    def seconds_left(self) -> float | None:
        """Estimated training time left, at the current speed and batch size.

        None if the speed is not known yet, as at the start and after a change of the batch size.
        """
        return self._seconds_to(self.total_steps)

    @property
    def seconds_to_save(self) -> float | None:
        """Estimated training time to the next checkpoint; None as in ``seconds_left``."""
        return self._seconds_to(self.next_save)

    @property
    def seconds_to_eval(self) -> float | None:
        """Estimated training time to the next evaluation; None as in ``seconds_left``."""
        return self._seconds_to(self.next_eval)

    def _seconds_to(self, step: int) -> float | None:
        if not (self.tokens_per_second and self.tokens_per_step):
            return None
        return (step - self.step) * self.tokens_per_step / self.tokens_per_second
