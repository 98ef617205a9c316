"""The open run, without a widget: commands to the engine, and what its events change."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs

from data.errors import InputError
from data.specs import called
from engine.config.changes import why_not_in_fork, with_one_end
from engine.config.escapes import join_probes, parse_probes
from engine.config.schema import SETTINGS, Config, config_from_dict
from engine.config.setting import Value, When
from engine.protocol import (
    Adjust,
    Adjusted,
    Advised,
    Command,
    Controlled,
    Event,
    Fork,
    Open,
    Pause,
    Refused,
    Resume,
    Rewind,
    Rewound,
    RunOpened,
    Sample,
    Start,
    State,
    Status,
    StopGoingBack,
    TakeControl,
)
from tui.control.draft import Draft, Kept
from tui.control.own_presets import config_of_preset, find_preset, save_preset
from tui.control.remap import USUAL

if TYPE_CHECKING:
    from engine.config.presets import Preset
    from engine.metrics import MetricStore
    from engine.session.elsewhere import Elsewhere
    from engine.session.worker import EngineLoop
    from tui.control.queue import QueueControl

OPEN_STATES = (State.RUNNING, State.PAUSED, State.FINISHED)
SEEDS = 2**31  # number of distinct seeds
PROBES = "sample.probes"
SAMPLING = "sample."  # prefix of the keys of the sampling settings


class Launch(Struct, frozen=True):
    """What to train, or which run to open, as the command line says."""

    config: Config  # of a new run
    runs_dir: Path
    name: str | None = None  # of a new run
    run: Path | None = None  # an existing run to open
    data: str = ""  # where its text is now, if it is not where it was
    val: str = ""  # the same of its validation text
    command_line: str = ""
    theme: str = ""  # instead of the preferred one
    surely: Callable[[], Config] | None = None  # `config` once nvidia-smi was asked, in a thread
    role: str = "control"  # of this app, if another process trains the run
    attaches: bool = False  # another process trains `run`, so that PyTorch can wait
    elsewhere: Elsewhere | None = None  # the way to `run`, if another machine trains it
    lesson: str | None = None  # the model at which the lecture is opened; empty for the next one


class RunFacts(Struct, frozen=True):
    """Facts for the status bar that do not change while a run trains."""

    name: str = ""
    corpus: str = ""
    preset: str = ""  # before the run starts
    parameters: int = 0
    device: str = ""
    precision: str = ""
    threads: int = 0
    processes: int = 1
    sharded: bool = False  # each of them has a part of the model
    is_fork: bool = False
    watches: bool = False  # another process trains it, and takes no commands from this one
    in_control: str = ""  # who is, if somebody else


class RunControl:
    """The engine, the draft and the facts about the open run.

    Args:
        emit: Called with each event, in the engine's thread.
        key_of: Returns the key in force of an action, by its id in the key table.
    """

    def __init__(
        self,
        launch: Launch,
        emit: Callable[[Event], None],
        key_of: Callable[[str], str] = USUAL.first,
    ) -> None:
        self.launch, self.key_of = launch, key_of
        self.draft = Draft(launch.config, of_run=launch.run is not None)
        self._emit = emit
        self.run_path: Path | None = launch.run
        config = launch.config
        self.facts = RunFacts()
        self._first_status = Status()  # until the engine has begun
        if launch.run:
            self._first_status = Status(State.PREPARING, f"opening {launch.run.name}…")
        else:
            self.facts = RunFacts(corpus=called(config.data.corpus), preset=config.preset)
        self.note = ""
        self.first_step = 0  # above 0 for a fork: it has no earlier weights
        self.watching = False  # the run is read-only here
        self.attached = ""  # the process that trains it, if that is not this one
        self.elsewhere = ""  # HOST:RUN, if another machine trains it
        self.controlled = Controlled()  # who is in control, if another process trains it
        self.missing = ""  # why, if not because another program has it open
        self.characters: frozenset[str] = frozenset()  # of a prompt; none if it may have any
        self.vocab_size = 0  # of the open run; 0 before there is one
        self._name = launch.name
        self._changes_after_rewind: dict[str, Any] = {}  # after the rewind that advice asked for
        self._next_started = 0  # the id of the request that started the next run
        # id of the request to pause or resume that is not answered yet, and what is shown meanwhile
        self._asked_state: tuple[int, str] = 0, ""
        self._way_back = 0  # the id of the latest request that goes to an earlier step
        self._stopped_way_back = 0  # the same, of one that the user stopped
        self._request_ids = itertools.count(1)
        self.fixed_seed: int | None = None  # of texts that the user asks for
        self._last_seed = launch.config.sample.seed  # that of automatic samples; the next is free
        self._opening: tuple[int, Path | None] = (0, None)  # id, and the run that was open before
        # id of the latest request for a run that is not open yet; -1 before it is sent
        self._awaited = -1 if launch.run else 0
        self._opens_in_training = False  # whether the engine trains it at once
        self.will_train = False  # whether the user wants that
        # of texts that the user asks for, where they are not those of the run
        self._sampling: dict[str, Value] = {}
        self._sampled_with: tuple[int, dict[str, Value]] = 0, {}  # latest request; those before it
        self._early_sample = 0  # the id of a request that is sent once the run is open
        # what was there before each change, to undo it; the draft, if that has changed
        self._changed: list[tuple[dict[str, Value], Kept | None]] = []
        self.has_undone = False  # since the run was opened
        # the request for probes that the engine has not answered, and the probes
        self._asked_probes: tuple[int, str] | None = None
        self._undoing: dict[int, dict[str, Value]] = {}  # by the ids of the requests that do
        self._started = False

    @cached_property
    def queue(self) -> QueueControl:
        """The queue of the runs folder; made after the first paint: it imports sqlite3."""
        from tui.control.queue import QueueControl

        return QueueControl(self.launch.runs_dir, self.send, lambda: self.status, self.key_of)

    @cached_property
    def engine(self) -> EngineLoop:
        """The engine; created after the first paint, because it imports numpy."""
        from engine.session.worker import EngineLoop

        return EngineLoop(
            self._emit, self._first_status, serves=True, elsewhere=self.launch.elsewhere
        )

    @property
    def status(self) -> Status:
        return self.engine.status if self._started else self._first_status

    @property
    def shown_status(self) -> Status:
        """The status; what was asked for is shown at once, and carried out after a micro-batch."""
        asked = self._asked_state[1]
        return structs.replace(self.status, message=asked) if asked else self.status

    def note_answered(self, event: Event) -> None:
        """An event may answer the request to pause or resume."""
        if 0 < self._asked_state[0] == event.request_id or isinstance(event, RunOpened):
            self._asked_state = 0, ""

    @property
    def metrics(self) -> MetricStore:
        return self.engine.metrics

    @property
    def is_open(self) -> bool:
        """Whether a run is open here and takes commands."""
        state = self.status.state
        about_to = state is State.PREPARING and not self._awaited  # once it has begun
        return (state in OPEN_STATES or about_to) and not (self.watching or self.others_control)

    @property
    def others_control(self) -> bool:
        """Whether another process trains the run, and takes no commands from this one."""
        return bool(self.controlled.who) or self.controlled.watches

    @property
    def folder_for_files(self) -> Path | None:
        """Where pictures and texts of the run are written: in its folder, if that is here."""
        return Path.cwd() if self.elsewhere else self.run_path

    @property
    def is_being_opened(self) -> bool:
        """Whether a run will be open in a moment; whether it is to train can be said already."""
        return bool(self._awaited)

    @property
    def has_unsaved_steps(self) -> bool:
        """Whether quitting without saving would lose steps."""
        status = self.status
        training = status.state is State.RUNNING
        unsaved = training or status.step > status.saved_step
        return self.is_open and unsaved and not self.attached

    @property
    def is_training_here(self) -> bool:
        """Whether this process trains, and another one could go on with it."""
        state = self.status.state
        return self.is_open and state is State.RUNNING and not self.attached

    @property
    def can_cool_down(self) -> bool:
        """Whether the schedule decays only on command."""
        active = self.status.state in (State.RUNNING, State.PAUSED) and self.is_open
        return active and self.draft.base.optim.schedule in ("wsd", "constant")

    @property
    def _role(self) -> str:
        """Of this app, for runs that it opens after the first."""
        return "watch" if self.launch.role == "watch" else "control"

    @property
    def next_name(self) -> str | None:
        """The name of the next run that the command line has given it."""
        return self._name

    # -- commands --------------------------------------------------------------------------------

    def take_control(self) -> None:
        """Ask the process that trains the run to take commands from here alone."""
        self.send(TakeControl())

    def begin(self) -> None:
        """Start the engine; open the run that the app was started for."""
        if not self.launch.run:
            self._show_next(self.launch.config)
        self.engine.start()
        self._started = True  # not before: a signal may end what has started
        if self.launch.run:
            launch, running = self.launch, self.will_train
            data, val, role = launch.data, launch.val, launch.role
            self.send(Open(str(launch.run), running, True, data=data, val=val, role=role))

    def start(self) -> None:
        """Start a new run with the edited settings.

        Raises:
            InputError: The edits are an invalid combination.
        """
        config = self.draft.next_config()
        launch = self.launch
        start = Start(config.to_dict(), str(launch.runs_dir), self._name, launch.command_line)
        before = self._open_here
        self._next_started = self.send(start)
        self._opening = self._next_started, before

    def pause(self) -> None:
        """Pause the run, or have it paused once it is open."""
        self.will_train = False
        if not self.is_being_opened:
            self._asked_state = self.send(Pause()), "pausing…"

    def resume(self) -> None:
        """Resume the run, with the edits that take effect then; or have it trained once open."""
        self.will_train = True
        if self.is_being_opened:
            return
        edits = self.draft.edits_for(When.RESUME)
        if self.is_open and self.status.state is not State.RUNNING and not edits:
            self._asked_state = self.send(Resume()), "resuming…"
            return
        if not self.is_open:  # the run was closed: live settings are pending, too
            edits |= self.draft.edits_for(When.LIVE)
        assert self.run_path
        run = str(self.run_path)
        watch = self.watching or self._role == "watch"
        self.send(Open(run, running=True, watch=watch, changes=dict(edits), role=self._role))

    def edit(self, changes: dict[str, Value], undo: bool = False, of_run: bool = False) -> int:
        """Change the settings of the run that the panel shows.

        Live ones of the open run change at once, others wait in the draft; what only a new run can
        change is of the next one, which the panel shows then.

        Args:
            of_run: They are of the run on the screen, whichever the panel shows.

        Returns:
            The id of the request; 0 if none was sent.

        Raises:
            InputError: They conflict with the other settings.
        """
        changes = with_one_end(changes)
        live = {
            key: value
            for key, value in changes.items()
            if self.is_open
            and SETTINGS[key].when is When.LIVE
            and not self.draft.is_for_next(key, of_run)
        }
        if live:
            self.draft.base.replace(live)
        waiting = {key: value for key, value in changes.items() if key not in live}
        kept = self.draft.keep()
        before: dict[str, Value] = {}
        for key in changes:  # what the user says last holds for the texts to come, too
            self._sampling.pop(key, None)
        for key, value in waiting.items():
            of_next = self.draft.is_for_next(key, of_run)
            before[key] = self.draft.next_value(key) if of_next else self.draft.run_value(key)
            self.draft.edit(key, value, of_run)
        if not undo:
            self._note_changed(before, waiting, kept)
        if not live:
            return 0
        request_id = self.send(Adjust(live, undo))
        if undo:
            self._undoing[request_id] = changes
        return request_id

    def _note_changed(
        self, before: dict[str, Value], after: dict[str, Value], kept: Kept | None = None
    ) -> None:
        if before != after and not all(key.startswith(SAMPLING) for key in before):
            self._changed.append((before, kept))

    @property
    def can_undo(self) -> bool:
        return bool(self._changed)

    def take_preset(self, preset: Preset) -> bool:
        """Take a preset over for the next run; return whether edits were replaced."""
        draft = self.draft
        config, replaced = self.with_preset(preset), bool(draft.next_edits)
        self._changed.append(({}, draft.keep()))
        if not draft.of_run:
            draft.forget()
            draft.base = config
            self._show_next(config)
        else:
            draft.prepare(config)
        return replaced

    def correct(self, config: Config) -> bool:
        """Begin from another configuration, as the machine is not as it seemed.

        Returns:
            Whether it was done; not if a run is open or the user has chosen something.
        """
        draft = self.draft
        if self.run_path or draft.base != self.launch.config or draft.waiting:
            return False
        draft.base = config
        self._show_next(config)
        return True

    def start_named_after_preset(self) -> None:
        """Start the next run under a name made from its preset, whatever the command line says.

        Raises:
            InputError: The settings are an invalid combination.
        """
        self._name = None
        self.start()

    def with_preset(self, preset: Preset) -> Config:
        """Return the settings of the next run with a preset.

        As on the command line, the text, and what was typed of it and of the machine, stay as they
        are where the preset says nothing of them.
        """
        launch, kept = self.launch, {"data.corpus": self.draft.next_value("data.corpus")}
        if launch.run is None and (begun := find_preset(launch.config.preset)):
            typed = launch.config.differences(config_of_preset(begun))
            kept |= {key: typed[key][0] for key in typed if key.startswith(("data.", "system."))}
        config, _ = Config().check({**kept, **preset.values})
        return dataclasses.replace(config, preset=preset.name)

    def save_preset(self, name: str) -> Path:
        """Save the settings of the next run as a preset; return its file.

        Those of the machine, which the open run has found out for itself, are left out unless they
        were edited.

        Raises:
            InputError: They are an invalid combination, or the file cannot be written.
        """
        draft = self.draft
        config = draft.next_config()
        own = not draft.of_run  # nothing was found out yet
        keys = [k for k in SETTINGS if own or k in draft.waiting or not k.startswith("system.")]
        return save_preset(name, config.preset, {key: config.get(key) for key in keys})

    def _show_next(self, config: Config) -> None:
        """Have the facts name preset and text of a run that does not exist yet."""
        from data.corpora.obtain import outlook  # not needed before the first paint

        with suppress(InputError):  # no cache folder: what trains will say so
            corpus = outlook(config.data.corpus)
            self.facts = structs.replace(self.facts, preset=config.preset, corpus=corpus)

    def undo(self) -> tuple[int, dict[str, Value]]:
        """Take back the last change of settings that was not taken back.

        Returns:
            The id of the request, 0 if none was needed, and their values; none of a preset.

        Raises:
            InputError: They conflict with the other settings now.
        """
        before, kept = self._changed[-1]
        request_id = 0
        if kept:
            self.draft.restore(kept)
            if not self.draft.of_run:
                self._show_next(self.draft.base)
        else:
            request_id = self.edit(before, undo=True, of_run=True)
        self._changed.pop()
        self.has_undone = True
        return request_id, before

    def _forget_probes(self, answered: int) -> None:
        if self._asked_probes and answered >= self._asked_probes[0]:
            self._asked_probes = None

    def note_change_refused(self, request_id: int) -> None:
        """Keep a change that could not be taken back, so that it can be later."""
        self._forget_probes(request_id)
        if request_id in self._undoing:
            self._changed.append((self._undoing.pop(request_id), None))

    def sample(
        self,
        texts: int = 1,
        step: int | None = None,
        prompt: str | None = None,
        request_id: int = 0,
    ) -> int:
        """Request texts, each with another seed unless one is fixed; return the request id.

        Args:
            texts: How many at once.
            step: Use the saved weights of an earlier step.
            prompt: Instead of that in the settings.
            request_id: A new one unless given.
        """
        other = {} if prompt is None else {"prompt": prompt}
        changes = {key.removeprefix(SAMPLING): self._sampling[key] for key in self._sampling}
        sample = Sample({**changes, **other}, step, seed=self._next_seed(texts), texts=texts)
        return self.send(sample, request_id)

    def sampling_value(self, key: str) -> Value:
        """Return a sampling setting of texts that the user asks for."""
        return self._sampling.get(key, self.draft.run_value(key))

    def note_seeds(self, seeds: Iterable[int]) -> None:
        """These were used: the next text gets another one."""
        self._last_seed = max([self._last_seed, *seeds])

    def _next_seed(self, texts: int = 1) -> int:
        """Return the seed of the next text; the same again while one is fixed."""
        if self.fixed_seed is not None:
            return self.fixed_seed
        first = (self._last_seed + 1) % SEEDS
        self._last_seed = first + texts - 1
        return first

    def toggle_probe(self, prompt: str) -> bool:
        """Keep a prompt as a probe, or no longer; return whether it is one now.

        Raises:
            InputError: There are too many.
        """
        asked = self._asked_probes[1] if self._asked_probes else self.draft.run_value(PROBES)
        probes = list(parse_probes(str(asked)))
        kept = prompt not in probes
        if kept:
            probes.append(prompt)
        else:
            probes.remove(prompt)
        told = join_probes(probes)
        request_id = self.edit({PROBES: told}, of_run=True)
        self._asked_probes = (request_id, told) if request_id else None
        return kept

    def sample_with(self, changes: dict[str, Value]) -> int | None:
        """Request a sample with other settings than the run's; return the id of the request.

        They hold for the texts that the user asks for from now on. The run keeps its own, which its
        automatic texts have. While a run is being prepared the request is sent later; without a run
        there is none.

        Raises:
            InputError: They conflict with the other settings.
        """
        before = self._sampling
        sampling = {**before, **changes}
        self.draft.base.replace(sampling)
        self._sampling = {
            key: value for key, value in sampling.items() if value != self.draft.run_value(key)
        }
        if self.is_open:
            request_id = self.sample()
        elif self.is_being_opened:
            request_id = self._early_sample = next(self._request_ids)
        else:
            return None
        self._sampled_with = request_id, before
        return request_id

    def note_sample_refused(self, request_id: int) -> None:
        """Take back the sampling settings that were refused."""
        if request_id == self._sampled_with[0]:
            self._sampling = self._sampled_with[1]

    def rewind(self, step: int) -> None:
        self._changes_after_rewind = {}
        self._way_back = self.send(Rewind(step))

    def stop_going_back(self) -> None:
        """Stop going to an earlier step; the run is where it was before."""
        self._stopped_way_back = self._way_back
        self.send(StopGoingBack())

    def was_stopped(self, refused: Refused) -> bool:
        """Whether a request was not carried out because the user stopped it."""
        return 0 < refused.request_id == self._stopped_way_back

    def fork(self, step: int) -> int:
        """Fork the run at a step, with the edits that fit its weights; return the request id."""
        from engine.runs.folder import path_in

        edits = self.draft.fork_edits
        changes = {key: edits[key] for key in edits if not why_not_in_fork(key)}
        assert self.run_path
        beside = "" if self.elsewhere else str(path_in(self.launch.runs_dir, self.run_path).parent)
        self._way_back = self.send(Fork(changes, None, step, beside))
        return self._way_back

    def open_run(self, path: Path, keep_edits: bool = False) -> None:
        """Open another run, paused; the one that is open is saved and closed."""
        if not keep_edits:
            self.draft.forget()
            self._sampling = {}
        before = self._open_here
        self._opening = (
            self.send(Open(str(path), running=False, watch=True, role=self._role)),
            before,
        )

    @property
    def _open_here(self) -> Path | None:
        return self.run_path if self.is_open or self.watching or self.attached else None

    def reopen_after(self, refused: Refused) -> Path | None:
        """Open the run again that was closed for one that cannot be; return its folder."""
        request_id, before = self._opening
        if before is None or refused.request_id != request_id:
            return None
        self._opening = 0, None
        self.send(Open(str(before), running=False, watch=True, role=self._role))
        return before

    def follow(self, advice: Advised) -> None:
        """Change the advised settings; if the advice rewinds, do so before, and resume after."""
        if advice.rewind_to is None:
            self.send(Adjust(advice.changes))
        else:
            self.rewind(advice.rewind_to)
            self._changes_after_rewind = advice.changes

    def end(self, seconds: float) -> bool:
        """End the engine after saving the run; return whether it ended in time."""
        ended = not self._started or self.engine.join(seconds)
        if ended:
            self.queue.release()
        return ended

    # -- events ----------------------------------------------------------------------------------

    def take_over(self, event: RunOpened) -> None:
        """Take over the opened run, and send what was asked for while it was being prepared."""
        self.run_path = Path(event.path)
        self.queue.note_opened(self.run_path)
        self._name = None
        self._changed.clear()
        self._asked_probes = None
        self.has_undone = False
        runtime = event.runtime
        self.note = event.note
        self.first_step, self.watching = event.first_step, event.watching
        self.missing, self.attached = event.missing, event.attached
        self.elsewhere = event.elsewhere
        self.controlled = Controlled()
        self.characters = frozenset(event.characters)
        self.vocab_size = event.vocab_size
        self.facts = RunFacts(
            name=self.run_path.name,
            corpus=f"{event.corpus} (stand-in)" if event.note else Path(event.corpus).name,
            parameters=event.parameters,
            device=runtime["device"],
            precision=runtime["precision"],
            threads=runtime["threads"],
            processes=runtime.get("processes", 1),  # of an engine of an older version
            sharded=runtime.get("shard", False),
            is_fork=event.first_step > 0,
        )
        is_next = event.request_id == self._next_started
        self.draft.open_run(config_from_dict(event.config), is_next)
        self._end_waiting(event)
        early = self.draft.edits_for(When.LIVE)
        request_id, self._early_sample = self._early_sample, 0
        if self.queue.taken:  # a queued run is trained as it was queued
            return
        if request_id:
            self.sample(request_id=request_id)
        if early:
            self.send(Adjust(early))

    def note_controlled(self, event: Controlled) -> None:
        """Somebody is in control now, here or elsewhere."""
        self.controlled = event
        self.facts = structs.replace(self.facts, watches=self.others_control, in_control=event.who)

    def _end_waiting(self, event: RunOpened) -> None:
        """Train the run that is open now, or pause it, if the user said so meanwhile."""
        if event.request_id != self._awaited:
            return  # another one was asked for since
        self._awaited = 0
        if event.watching or event.attached or self.will_train == self._opens_in_training:
            return
        self.resume() if self.will_train else self.pause()

    def note_not_opened(self, request_id: int) -> None:
        """The run that is waited for cannot be opened."""
        if request_id == self._awaited:
            self._awaited, self.will_train = 0, False

    def note_rewound(self, event: Rewound) -> None:
        """Take over the settings of that step; if advice led there, follow it and resume."""
        self.draft.rebase(config_from_dict(event.config))
        self._changed.clear()  # it went back to settings of then
        self.has_undone = False
        changes, self._changes_after_rewind = self._changes_after_rewind, {}
        if changes:
            other = {
                key: value for key, value in changes.items() if value != self.draft.base.get(key)
            }
            if other:  # else the step had them: the change of them led to the advice
                self.send(Adjust(other))
            self.send(Resume())

    def note_adjusted(self, event: Adjusted) -> None:
        """Take over changed settings of the run."""
        self._forget_probes(event.request_id)
        if event.request_id in self._undoing:
            del self._undoing[event.request_id]
        elif not event.clock:
            before, after = ({k: pair[i] for k, pair in event.changes.items()} for i in (0, 1))
            self._note_changed(before, after)
        changes: dict[str, Any] = {key: pair[1] for key, pair in event.changes.items()}
        base, problems = self.draft.base.check(changes)
        assert not problems, problems
        self.draft.rebase(base)

    def send(self, command: Command, request_id: int = 0) -> int:
        """Send a command to the engine; return its request id, a new one unless given."""
        request_id = request_id or next(self._request_ids)
        if isinstance(command, Start | Open):
            self._awaited = request_id
            self.will_train = self._opens_in_training = (
                isinstance(command, Start) or command.running
            )
        self.engine.send(structs.replace(command, request_id=request_id))
        return request_id
