"""One run in training: the commands, and what happens between the quanta of the trainer.

A session is as synchronous as the trainer it drives: its owner (a thread, the command line) calls
``advance``, which does one quantum of the most urgent work, and ``handle``, which carries out a
command.
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from data.errors import InputError
from engine import protocol
from engine.checkpoint.store import find_checkpoint, read_model
from engine.config.changes import changes_training, why_not_now
from engine.config.schema import tokens_per_step, total_steps
from engine.config.setting import When
from engine.config.unused import beyond_the_run
from engine.distributed.team import ProcessLost
from engine.inspect.background import Subject
from engine.machine.memory import memory_ran_out
from engine.metrics import MetricStore
from engine.optim.schedule import cooldown_steps
from engine.program import program
from engine.protocol import Adjusted, Event, PruningRule, State, Status
from engine.runs.checkpoint_names import LATEST, pin, unpin
from engine.runs.folder import typed_name
from engine.runs.open import RunFiles
from engine.sampling.background import Sampler
from engine.sampling.generate import beginning, seeds_from, start_tokens
from engine.session.advisor import Advisor
from engine.session.build import build_trainer, described_crash
from engine.session.ending import Pruner, is_at_end, is_complete, way_on, why_ended
from engine.session.fork import check_changes, fork
from engine.session.health import HealthWatch
from engine.session.monitor import Monitor, references_of
from engine.session.outlet import Outlet
from engine.session.recorder import Recorder, describe_changes
from engine.session.results import SAMPLING_SECONDS, Results
from engine.session.rewind import Rewinder, kept_checkpoint
from engine.session.run_state import RunState
from engine.session.saving import Saving, Task
from engine.session.time_limit import TimeLimit
from engine.training.throughput import Stopwatch
from engine.training.trainer import StepResult

STEP_REPORT_SECONDS = 1.0  # between two reports on the progress of a step


class Session:
    """Trains one run; ``changes`` are settings of an existing run to change as it is opened.

    Raises:
        InputError: The device is missing, or the checkpoint is damaged.
    """

    poll_interval: float | None = None  # without work, block until a command arrives

    def __init__(
        self,
        files: RunFiles,
        metrics: MetricStore,
        emit: Callable[[Event], None],
        report: Callable[[str], None],
        changes: dict[str, Any] | None = None,
        pruning_rule: PruningRule | None = None,
    ) -> None:
        self.files = files
        self.recorder = Recorder(files.database, metrics)
        outlet = self.outlet = Outlet(self.recorder, emit)
        changes = changes or {}
        self.trainer, snapshot = build_trainer(files, changes, self.recorder, report, outlet.warn)
        run_state = self.run_state = RunState(files, self.trainer, self.recorder)
        outlet.follow(run_state)
        self.saving = Saving(run_state, outlet)
        if snapshot:
            run_state.resume_from(snapshot.state)
            self.saving.note_saved(find_checkpoint(files.path, LATEST))
        run_state.adjustments.read_journal(files.database, run_state.lineage())
        if not files.database.meta().get("references"):
            files.database.set_meta(references=references_of(files))
        taken_before = files.database.newest_step(self.recorder.branch)
        self.recorder.load(self.trainer.step)
        run_state.apply_journal(outlet.warn)
        self._advisor = Advisor(run_state, outlet)
        self._pruner = Pruner(run_state, outlet, pruning_rule)
        self.sampler = Sampler(
            files.tokenizer,
            outlet.tell,
            run_state.keep_sample,
            files.database.newest_id("samples"),
            run_state.phases,
        )
        self._time_limit = TimeLimit(run_state, taken_before)
        self._monitor = Monitor(run_state)
        self._health = HealthWatch(run_state, outlet)
        self._results = Results(
            run_state, outlet, self.saving, self._advisor, self.sampler, self._monitor
        )
        self._rewinder = Rewinder(run_state, outlet, self.saving)
        self._tasks: deque[Task] = deque()
        self._step: Generator[None, None, StepResult] | None = None
        self._step_reported = 0.0  # when its progress was last shown, or it began
        self._single_steps: deque[int] = deque()  # ids of requests for one
        self._wanted: dict[str, Any] = {}  # settings to change between two steps
        self._adjust_request = 0  # id of the last request for them
        self._adjust_undo = False  # whether that takes back an earlier change
        outlet.refresh()
        live = {k: v for k, v in changes.items() if not k.startswith("system.")}
        if live:
            self._adjust(protocol.Adjust(live))

    @property
    def status(self) -> Status:
        return self.outlet.status

    @property
    def subject(self) -> Subject:
        """The model as it is now, to look into."""
        files = self.files
        try:
            model = self.trainer.evaluated_model
        except ProcessLost as lost:
            raise self._saved_after(lost) from None
        return Subject(
            model,
            files.tokenizer,
            self.trainer.step,
            lambda: files.split.val,
        )

    # -- what the owner calls --------------------------------------------------------------------

    def open(self, running: bool, request_id: int = 0) -> None:
        """Announce the run; then train or stay paused."""
        trainer, files = self.trainer, self.files
        self._describe(request_id)
        for message in files.told:
            self.outlet.warn(message)
        if told := described_crash(files, trainer):
            self.outlet.warn(told)
        self.outlet.journal("started" if files.is_new else "opened")
        if files.text_was:
            self.outlet.journal("text moved", before=files.text_was, now=files.corpus.source)
        if trainer.step == 0 and not files.database.samples():
            self._results.sample_automatically()
        self._evaluate_if_due()  # a session ended just before it
        if running and not self._pruner.is_on:
            self._pruner.overrule()
        if is_complete(self.run_state):
            self.outlet.finish(why_ended(self.run_state))
        else:
            self._monitor.restart()
            self.outlet.set_state(State.RUNNING if running else State.PAUSED)

    def advance(self) -> bool:
        """Do one quantum of work; return whether there was any."""
        try:
            return self._advance()
        except ProcessLost as lost:
            raise self._saved_after(lost) from None
        except (MemoryError, RuntimeError) as error:
            if not memory_ran_out(error):
                raise
            self._pause_out_of_memory()
            return True

    def _advance(self) -> bool:
        self.saving.collect()
        self._apply_if_paused()
        if self._tasks:
            if next(self._tasks[0], True):  # a task yields None
                self._tasks.popleft()
        elif self.outlet.state is State.RUNNING or self._single_steps:
            self._advance_training()
        elif self.sampler.active:
            self.sampler.run_for(SAMPLING_SECONDS)
        elif self.saving.busy:
            self.saving.collect(0.01)
        elif self.recorder.has_unwritten:
            self.outlet.flush()
        else:
            return False
        if self.recorder.flush_is_due:
            self.outlet.flush()
            self.saving.check_folder()
        return True

    def handle(self, command: protocol.Command) -> None:
        """Carry out a command, or say why not."""
        handlers: dict[type[protocol.Command], Callable[[Any], None]] = {
            protocol.Describe: lambda one: self._describe(one.request_id),
            protocol.Pause: self._pause,
            protocol.Resume: self._resume,
            protocol.Step: self._take_single_step,
            protocol.Adjust: self._adjust,
            protocol.Sample: self._sample,
            protocol.StopSample: lambda one: self.sampler.stop(one.sample, one.request_id),
            protocol.Evaluate: lambda one: self._tasks.append(
                self._results.evaluation(one.whole, request_id=one.request_id)
            ),
            protocol.Save: lambda one: self._tasks.append(self._save(request_id=one.request_id)),
            protocol.CoolDown: self._cool_down,
            protocol.Pin: self._pin,
            protocol.Rewind: self._rewind,
            protocol.Fork: self._fork,
            protocol.StopGoingBack: self._stop_going_back,
            protocol.Silence: lambda one: self._advisor.silence(one.kind, one.request_id),
            protocol.Unsilence: lambda one: self._advisor.unsilence(one.request_id),
        }
        handler = handlers.get(type(command))
        if command.sender and not isinstance(command, protocol.Describe):
            self.outlet.journal("command", name=type(command).__name__, by=command.sender)
        try:
            if handler is None:
                raise InputError(f"a run is open already: stop it before {type(command).__name__}")
            may_always = isinstance(command, protocol.StopGoingBack | protocol.Describe)
            if self._rewinder.target is not None and not may_always:
                raise InputError(
                    f"the run is going back to step {self._rewinder.target:,}: wait until it is "
                    f"there, or stop that"
                )
            handler(command)
        except InputError as error:
            self.outlet.tell(command.refused(str(error)))
        except ProcessLost as lost:
            raise self._saved_after(lost) from None
        except (MemoryError, RuntimeError) as error:
            if not memory_ran_out(error):
                raise
            self._pause_out_of_memory()
            self.outlet.tell(command.refused("memory ran out: free some, then try again"))

    def close(self, save: bool, request_id: int = 0) -> None:
        """End the session; with ``save``, save what was trained and apply what was asked for."""
        with ExitStack() as whatever_happens:
            whatever_happens.callback(self.files.close)
            whatever_happens.callback(self._monitor.close)
            whatever_happens.callback(self.trainer.graph.forget)  # the next run needs its memory
            whatever_happens.callback(self.outlet.close)
            whatever_happens.callback(self.saving.close)
            if self._rewinder.target is not None:
                self.saving.collect(None)
                self._rewinder.end()
            self._results.read()
            if save and self._wanted:
                self._step = None
                self._at_boundary()
            self.sampler.close()
            self.saving.collect(None)
            if save and self.trainer.step and not self.saving.is_saved:
                try:
                    self.saving.begin()
                except ProcessLost as lost:
                    raise InputError(f"{lost}: {self._way_on()}") from None
                self.saving.collect(None)
        self.outlet.set_state(self.outlet.state, request_id)

    # -- commands --------------------------------------------------------------------------------

    def _describe(self, request_id: int) -> None:
        trainer, files = self.trainer, self.files
        self.outlet.tell(
            protocol.RunOpened(
                path=str(files.path),
                config=trainer.config.to_dict(),
                runtime=dataclasses.asdict(trainer.runtime),
                corpus=files.corpus.name,
                note=files.corpus.note,
                parameters=self.run_state.parameters,
                step=trainer.step,
                total_steps=trainer.total_steps,
                saved_step=self.run_state.saved_step,
                first_step=self.run_state.first_step,
                last_sample=files.database.newest_id("samples"),
                characters=files.tokenizer.alphabet,
                vocab_size=files.tokenizer.vocab_size,
                begins=beginning(files.tokenizer),
                request_id=request_id,
            )
        )

    def _pause(self, command: protocol.Pause) -> None:
        if self.outlet.state is State.RUNNING:
            self.outlet.journal("paused")
            self.outlet.set_state(State.PAUSED, command.request_id)
            self._results.read()
            self.outlet.flush()
            self.recorder.database.fold()  # the folder of a paused run has no write-ahead log
        else:
            self.outlet.set_state(self.outlet.state, command.request_id)

    def _resume(self, command: protocol.Resume) -> None:
        self._pruner.overrule()
        if is_complete(self.run_state):
            on = way_on(self.run_state)
            raise InputError(f"the run is finished at step {self.trainer.step}: {on} to continue")
        self.outlet.journal("resumed")
        self._monitor.restart()
        self.outlet.set_state(State.RUNNING, command.request_id)

    def _take_single_step(self, command: protocol.Step) -> None:
        if self.outlet.state is State.RUNNING:
            raise InputError("pause the run to take single steps")
        if is_complete(self.run_state):
            raise InputError(f"the run is finished: {way_on(self.run_state)} to continue")
        self._monitor.restart()  # the pause before is no part of the step
        self._single_steps.append(command.request_id)

    def _adjust(self, command: protocol.Adjust) -> None:
        for key in command.changes:
            if why := why_not_now(key, When.LIVE):
                if not why_not_now(key, When.RESUME):
                    resume = f"{program()} train --resume {typed_name(self.files.path)}"
                    why += f": {resume} --set {key}=…"
                raise InputError(why)
        changes = {**command.changes}
        if (minutes := changes.get("train.max_minutes")) and "train.max_steps" not in changes:
            changes["train.max_steps"] = self._time_limit.planned(minutes)
        config = self.trainer.config.replace({**self._wanted, **changes})
        end = total_steps(config, self.trainer.train_windows.per_epoch)
        if end < self.trainer.step:
            raise InputError(
                f"the run would end at step {end}, and it is at step {self.trainer.step} already: "
                f"give it a later end"
            )
        if "sample.prompt" in command.changes:
            start_tokens(config.sample.prompt, self.files.tokenizer)  # refuses unknown characters
        if "sample.probes" in command.changes:
            for probe in config.sample.probe_prompts:
                start_tokens(probe, self.files.tokenizer)
        if not any(map(changes_training, changes)):  # the step in flight stays as it is
            self._apply(changes, command.request_id, command.undo)
            return
        self._wanted |= changes
        self._adjust_request = command.request_id
        self._adjust_undo = command.undo
        self._apply_if_paused()

    def _cool_down(self, command: protocol.CoolDown) -> None:
        """Start the decay of a schedule now, and end the run with it."""
        optim, step = self.trainer.config.optim, self.trainer.step
        if optim.schedule not in ("wsd", "constant"):
            raise InputError(
                f"the schedule {optim.schedule} decays by itself: a cool-down needs optim.schedule "
                f"wsd or constant"
            )
        end = step + cooldown_steps(optim, step)
        self._adjust(
            protocol.Adjust(
                {
                    "optim.schedule": "wsd",
                    "optim.cooldown_steps": end - step,
                    "optim.decay_steps": end,
                    "train.max_steps": end,
                    "train.max_epochs": 0.0,  # these would take precedence
                    "train.max_minutes": 0.0,
                },
                request_id=command.request_id,
            )
        )

    def _apply_if_paused(self) -> None:
        """Apply wanted settings at once while nothing is trained."""
        paused = self.outlet.state is not State.RUNNING and not self._single_steps
        if paused and self._wanted and not self._rewinder.under_way:
            self._step = None  # a step begun is computed again, with the new settings
            self._at_boundary()

    def _sample(self, command: protocol.Sample) -> None:
        changes = {f"sample.{name}": value for name, value in command.changes.items()}
        request_id = command.request_id
        if not 1 <= command.texts <= protocol.MOST_TEXTS:
            raise InputError(f"1 to {protocol.MOST_TEXTS} texts can be sampled at once")
        config = self.trainer.config.replace(changes)
        first = config.sample.seed if command.seed is None else command.seed
        settings = [
            dataclasses.replace(config.sample, seed=seed, probes="")
            for seed in seeds_from(first, command.texts)
        ]
        trainer, step = self.trainer, command.step
        if step is None or step == trainer.step:
            model = trainer.evaluated_model
        else:
            model = read_model(kept_checkpoint(self.run_state, step)).to(trainer.whole_device)
            model.compute_dtype = trainer.dtype
        at = trainer.step if step is None else step
        self.sampler.request(model, at, settings, False, request_id)
        self.outlet.journal("sampled", **dataclasses.asdict(settings[0]))

    def _pin(self, command: protocol.Pin) -> None:
        path = kept_checkpoint(self.run_state, command.step)
        (pin if command.keep else unpin)(path)
        self.outlet.journal("pinned" if command.keep else "unpinned", of=command.step)
        self.outlet.tell(protocol.Pinned(command.step, command.keep, request_id=command.request_id))

    def _rewind(self, command: protocol.Rewind) -> None:
        self._rewinder.check(command.step)
        self._tasks.clear()  # they belong to the steps that are abandoned
        self._step = None
        self._single_steps.clear()
        before = self.outlet.state
        if before is not State.PAUSED:
            self.outlet.set_state(State.PAUSED)
        self._rewinder.begin(command.step)
        self._tasks.append(self._going_back(command, before))

    def _going_back(self, command: protocol.Rewind, before: State) -> Task:
        self.sampler.close()
        self._results.read()
        if (yield from self._rewinder.task(command)):
            self._advisor.read_journal()
            self._pruner.read_journal()
        elif before is State.FINISHED:
            self.outlet.finish(why_ended(self.run_state))
        else:
            self._evaluate_if_due()  # it gave way to this
            if before is State.RUNNING and self.saving.is_saved:
                self._monitor.restart()
                self.outlet.set_state(State.RUNNING)

    def _stop_going_back(self, command: protocol.StopGoingBack) -> None:
        self._rewinder.stop()
        self.outlet.set_state(self.outlet.state, command.request_id)

    def _fork(self, command: protocol.Fork) -> None:
        step = command.step
        check_changes(self.run_state, self.trainer.step if step is None else step, command.changes)
        if step is None or step == self.trainer.step:
            self._results.read()
            self.outlet.flush()
            self._fork_here(command)
            return
        self._rewinder.check(step)
        self._step = None  # its gradients are of weights that will be loaded again
        self._rewinder.begin(step)
        self._tasks.append(self._forking(command, step))

    def _forking(self, command: protocol.Fork, step: int) -> Task:
        self.sampler.close()
        self._results.read()
        if (yield from self._rewinder.go_to(step, command)):  # else it has ended by itself
            try:
                self._fork_here(command)
            except InputError as error:
                self.outlet.tell(command.refused(str(error)))
            finally:
                self._rewinder.end()
        self._monitor.restart()  # what was trained again is no part of the next step

    def _fork_here(self, command: protocol.Fork) -> None:
        runs_dir = Path(command.runs_dir) if command.runs_dir else None
        path = fork(self.run_state, command.changes, command.name, runs_dir)
        self.outlet.journal("forked", run=path.name)
        self.outlet.tell(
            protocol.Forked(self.trainer.step, str(path), request_id=command.request_id)
        )

    # -- training --------------------------------------------------------------------------------

    def _advance_training(self) -> None:
        if self._step is None:
            self._at_boundary()
            self._pruner.judge()
            if is_at_end(self.run_state):
                self._single_steps.clear()
                self._tasks.append(self._finishing())
                return
            self._step = self.trainer.step_quanta(self._health.is_due(self.trainer.step + 1))
            self._step_reported = time.perf_counter()
        phases, watch = self.run_state.phases, Stopwatch()
        phases.enter("training")
        try:
            next(self._step)
        except StopIteration as stop:
            self._step = None
            self.run_state.throughput.mark_step(self.trainer.device)
            phases.enter("other")
            self._after_step(stop.value, watch.seconds())
            return
        phases.enter("other")
        now = time.perf_counter()
        if now - self._step_reported > STEP_REPORT_SECONDS:
            self._step_reported = now
            self.outlet.report_step(self.trainer.step_share)
        seconds = watch.seconds()
        self.run_state.throughput.add(seconds)
        self.sampler.earn(seconds)

    def _saved_after(self, lost: ProcessLost) -> InputError:
        """Save what was trained with a process that is gone; return what to say."""
        self._step = None  # its gradients never came together: the weights are those before it
        self._tasks.clear()
        self._results.read()
        self.saving.collect(None)
        self._rewinder.end()
        lost_weights = self.trainer.is_lost  # those since then are in no process as a whole
        if self.trainer.step and not self.saving.is_saved and not lost_weights:
            self.saving.begin()
            self.saving.collect(None)
        return InputError(f"{lost}: {self._way_on()}")

    def _way_on(self) -> str:
        """Say from where the run goes on, and how."""
        size, step = self.trainer.team.size, self.run_state.saved_step
        again = f"{program()} train --resume {typed_name(self.files.path)} --procs {size}"
        return f"the run is saved at step {step}, and {again} continues it"

    def _pause_out_of_memory(self) -> None:
        """Pause after memory ran out: drop what is under way, save what was trained."""
        if self.trainer.team.size > 1:  # the others may have made the step
            if self.trainer.sharding:  # they wait in a pass, for ever
                self.trainer.team.is_broken = True
            raise self._saved_after(ProcessLost("memory ran out in process 0"))
        self._step = None
        self._single_steps.clear()
        self._tasks.clear()
        self.sampler.close()
        self._rewinder.end()
        self.trainer.model.zero_grad(set_to_none=True)
        self.trainer.forget_graph()
        torch.cuda.empty_cache()
        config, runtime = self.trainer.config, self.trainer.runtime
        size = min(runtime.micro_batch_size, config.train.batch_size)
        again = f"{program()} train --resume {typed_name(self.files.path)}"
        way_out = (
            f"{again} --set system.micro_batch_size={size // 2} takes the same steps in more passes"
            if size > 1
            else "a smaller model.block_size or model.n_embd needs less, in a new run"
        )
        on_cpu = self.trainer.device.type == "cpu"
        what = "memory ran out" if on_cpu else "the GPU ran out of memory"
        self.outlet.warn(f"{what}, so training is paused and saved: {way_out}")
        self.outlet.set_state(State.PAUSED)
        if self.trainer.step:
            self._tasks.append(self._saving_what_is_left())

    def _saving_what_is_left(self) -> Task:
        try:
            yield from self._save(announce_again=False)
        except (MemoryError, RuntimeError) as error:
            if not memory_ran_out(error):
                raise
            self.outlet.warn(
                "there is too little memory to save the run, too: close other programs, then save "
                "it; its checkpoints are whole"
            )

    def _after_step(self, result: StepResult, seconds: float) -> None:
        self.run_state.throughput.add(seconds, self.trainer.tokens)
        self._results.add(result, self._health.measure(result))
        if self.run_state.throughput.should_read(len(self._results), self.trainer.device):
            self._results.read()
            self._monitor.record_if_due()
            self._advisor.look()
        self.outlet.report_step(0.0)
        self.sampler.earn(seconds)
        config, step = self.trainer.config, self.trainer.step
        if end := self._time_limit.new_end():
            self._apply({"train.max_steps": end}, 0, clock=True)
        if self._single_steps:
            self._results.read()
            self.outlet.set_state(self.outlet.state, self._single_steps.popleft())
        if step >= self.trainer.total_steps and not self._wanted:
            self._single_steps.clear()
            self._tasks.append(self._finishing())  # evaluates and saves
            return
        if _is_due(step, config.eval.interval):
            self._tasks.append(self._results.evaluation(scheduled=True))
        if _is_due(step, config.checkpoint.interval):
            self._tasks.append(self._save(announce_again=False))

    def _evaluate_if_due(self) -> None:
        trainer = self.trainer
        measured = self.run_state.losses.evaluated_step == trainer.step
        is_due = _is_due(trainer.step, trainer.config.eval.interval)
        if is_due and not measured and trainer.step < trainer.total_steps:
            self._tasks.append(self._results.evaluation(scheduled=True))

    def _at_boundary(self) -> None:
        """Apply the settings that the journal or the user changes between these two steps."""
        self.run_state.apply_journal(self.outlet.warn)
        if self._wanted:
            wanted, self._wanted = self._wanted, {}
            self._apply(wanted, self._adjust_request, self._adjust_undo)
        self.run_state.throughput.expect(tokens_per_step(self.trainer.config))

    def _apply(
        self, changes: dict[str, Any], request_id: int, undo: bool = False, clock: bool = False
    ) -> None:
        before, length = self.trainer.config, self.trainer.total_steps
        after = before.replace(changes)
        self.trainer.adjust(after)
        self.run_state.adjustments.forget_older(changes)
        step = self.trainer.step
        told = {key: list(pair) for key, pair in before.differences(after).items()}
        how = {"undo": True} if undo else {"clock": True} if clock else {}
        entry = self.outlet.journal("adjusted", changes=told, **how)
        self.run_state.adjustments.journal_id = entry
        label = describe_changes(told)
        if label and not clock:
            self.recorder.metrics.add_mark(step, label)
        self._advisor.read_journal()
        if self.outlet.state is State.FINISHED and not is_complete(self.run_state):
            self.outlet.set_state(State.PAUSED)
        self.outlet.tell(Adjusted(step, told, clock, request_id=request_id))
        if misfit := beyond_the_run(after, self.trainer.total_steps, (before, length)):
            self.outlet.warn(misfit)

    def _save(self, announce_again: bool = True, request_id: int = 0) -> Task:
        self._results.read()
        yield from self.saving.task(announce_again, request_id)

    def _finishing(self) -> Task:
        yield from self._results.finish()
        self.outlet.finish(why_ended(self.run_state))
        self.outlet.flush()


def _is_due(step: int, interval: int) -> bool:
    return bool(interval) and step > 0 and step % interval == 0
