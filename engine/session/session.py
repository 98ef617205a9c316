"""One run in training: what happens between the quanta of the trainer.

A session is as synchronous as the trainer it drives. ``advance`` does one quantum of whatever is
most pressing and returns; ``handle`` carries out a command. Whoever owns the session (a thread, the
command line) calls the two in turn.
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import ExitStack
from typing import Any

import torch

from data.errors import InputError
from engine import protocol
from engine.checkpoint.store import LATEST, find_checkpoint
from engine.checkpoint.writer import Saver
from engine.config.schema import SETTINGS, tokens_per_step, total_steps
from engine.config.setting import When
from engine.machine.memory import gpu_memory_ran_out, memory_now, why_killed
from engine.metrics import MetricStore
from engine.optim.schedule import COOLDOWN_SHARE
from engine.program import program
from engine.protocol import Adjusted, Event, PruningRule, Refused, State, Status, Warned
from engine.runs.checkpoint_names import pin, unpin
from engine.runs.folder import typed_name
from engine.runs.open import RunFiles
from engine.sampling.background import Sampler
from engine.session.adjustments import Adjustments
from engine.session.advisor import Advisor
from engine.session.build import build_trainer
from engine.session.disk_watch import DiskWatch
from engine.session.early_stopping import is_over, why_over
from engine.session.evaluation import SAMPLING_SECONDS, Evaluator
from engine.session.fork import check_changes, fork
from engine.session.losses import Losses
from engine.session.pruning import Pruner
from engine.session.recorder import Recorder, describe_changes
from engine.session.results import Results
from engine.session.rewind import Rewinder, kept_checkpoint, kept_model
from engine.session.run_state import RunState
from engine.session.saving import Saving, Task
from engine.training.trainer import StepResult

Emit = Callable[[Event], None]

UNCLOSED_STATES = (None, State.PREPARING, State.RUNNING, State.PAUSED)
IMMEDIATE_SECTIONS = ("sample.", "eval.", "checkpoint.")  # they do not touch the step in flight


class Session:
    """Trains one run.

    Args:
        files: The open run.
        metrics: Filled for the charts.
        emit: Takes the events.
        report: Takes a line on what is being prepared.
        changes: Settings of an existing run to change as it is opened.
        pruning_rule: What may stop the run, and the runs it is compared with.

    Raises:
        InputError: The device is not there, or the checkpoint is damaged.
    """

    patience: float | None = None  # a session that rests waits for commands, however long

    def __init__(
        self,
        files: RunFiles,
        metrics: MetricStore,
        emit: Emit,
        report: Callable[[str], None],
        changes: dict[str, Any] | None = None,
        pruning_rule: PruningRule | None = None,
    ) -> None:
        self.files = files
        self.emit = emit
        self.recorder = Recorder(files.database, metrics)
        self.state = State.PREPARING
        self.status = Status(State.PREPARING)
        self._tasks: deque[Task] = deque()
        self._step: Generator[None, None, StepResult] | None = None
        self._single_steps = 0  # asked for and not yet taken
        self._doing = ""  # besides training, in words
        self._ending = ""  # why the run ended before its last step, if it has
        self._before: dict[str, Any] = files.database.meta().get("summary", {})
        self._build(changes or {}, pruning_rule, report)

    # -- coming to be ----------------------------------------------------------------------------

    def _build(
        self,
        changes: dict[str, Any],
        pruning_rule: PruningRule | None,
        report: Callable[[str], None],
    ) -> None:
        files, emit = self.files, self.emit
        self.trainer, snapshot = build_trainer(files, changes, self.recorder, report, self._warn)
        self._parameters = self.trainer.model.parameter_count()
        run_state = self.run_state = RunState(files, self.trainer, self.recorder)
        results = self._results = Results(run_state, self._stop_at_non_finite)
        saving = self._saving = Saving(
            run_state, results, self._tell, self.summary, self._give_up_saving
        )
        self.sampler = Sampler(files.tokenizer, emit, lambda job: self._evaluator.keep_sample(job))
        self._evaluator = Evaluator(
            run_state, results, self.sampler, saving, self._tell, self._warn
        )
        self._rewinder = Rewinder(
            run_state, results, self.sampler, saving, self._tell, self._warn, self._report
        )
        if snapshot:
            run_state.resume_from(snapshot.state)
            saving.note_saved(find_checkpoint(files.path, LATEST))
        self._adjustments.read_journal(files.database, run_state.lineage())
        self.recorder.load(self.trainer.step)
        self.run_state.apply_journal(self._warn)
        self._advisor = Advisor(run_state, self._tell)
        self._contest = Pruner(run_state, pruning_rule)
        self._disk = DiskWatch(files, self._warn, self._pause_of_itself)
        self._update_status()
        live = {k: v for k, v in changes.items() if not k.startswith("system.")}
        if live:
            self._adjust(protocol.Adjust(live))

    @property
    def losses(self) -> Losses:
        """The latest and the best figures."""
        return self.run_state.losses

    @property
    def saver(self) -> Saver:
        """The writer of checkpoints."""
        return self._saving.saver

    @property
    def _adjustments(self) -> Adjustments:
        return self.run_state.adjustments

    # -- what the owner calls --------------------------------------------------------------------

    def open(self, running: bool) -> None:
        """Announce the run; then train, or wait."""
        trainer, files = self.trainer, self.files
        self.emit(
            protocol.RunOpened(
                path=str(files.path),
                config=trainer.config.to_dict(),
                runtime=dataclasses.asdict(trainer.runtime),
                corpus=files.corpus.name,
                note=files.corpus.note,
                parameters=self._parameters,
                step=trainer.step,
                total_steps=trainer.total_steps,
                saved_step=self._saving.saved_step,
                first_step=self.run_state.first_step,
                last_sample=files.database.newest_id("samples"),
            )
        )
        self._tell_of_a_crash()
        self.run_state.journal("started" if files.is_new else "opened")
        if trainer.step == 0 and not files.database.samples():
            self._evaluator.sample_automatically()
        if self.losses.evaluated_step != trainer.step < trainer.total_steps and _is_due(
            trainer.step, trainer.config.eval.interval
        ):
            self._tasks.append(self._scheduled_evaluation())  # a session ended just before it
        if running and not self._contest.is_on:
            self._contest.overrule()
        if self._is_complete():
            self._set_finished()
        else:
            self._set_state(State.RUNNING if running else State.PAUSED)

    def _tell_of_a_crash(self) -> None:
        if self._was_left_open:
            lost = self._before.get("step", 0) - self.trainer.step
            again = f"; {lost:,} steps after it are trained again" if lost > 0 else ""
            config, runtime = self.trainer.config, self.trainer.runtime
            size = min(runtime.micro_batch_size, config.train.batch_size)
            why = why_killed(self._before.get("memory"), memory_now(), size)
            self._warn(
                f"this run was not closed the last time ({why or 'a crash, a kill or a power cut'}"
                f"): it goes on from step {self.trainer.step:,}{again}"
            )

    @property
    def _was_left_open(self) -> bool:
        """Whether the program that had the run before did not come to close it."""
        database = self.files.database
        new_fork = "parent" in database.meta() and not database.journal("opened")
        begun_here = self.files.is_new or new_fork
        return not begun_here and self._before.get("state") in UNCLOSED_STATES

    def advance(self) -> bool:
        """Do one quantum of work; False if there is none."""
        try:
            return self._advance()
        except RuntimeError as error:
            if not gpu_memory_ran_out(error):
                raise
            self._make_do_with_less_memory()
            return True

    def _advance(self) -> bool:
        self._saving.collect()
        self._apply_if_still()
        if self._tasks:
            self._advance_task()
        elif self.state is State.RUNNING or self._single_steps:
            self._advance_training()
        elif self.sampler.active:
            self.sampler.run_for(SAMPLING_SECONDS)
        elif self.saver.busy:
            self._saving.collect(0.01)
        elif self.recorder.has_unwritten:
            self.recorder.flush(self.summary())
        else:
            return False
        if self.recorder.flush_is_due:
            self.recorder.flush(self.summary())
            self._disk.look(self.state is State.RUNNING)
        return True

    def handle(self, command: protocol.Command) -> None:
        """Carry out a command, or say why not."""
        handlers: dict[type[protocol.Command], Callable[[Any], None]] = {
            protocol.Pause: self._pause,
            protocol.Resume: self._resume,
            protocol.Step: self._take_single_step,
            protocol.Adjust: self._adjust,
            protocol.Sample: self._sample,
            protocol.Evaluate: self._evaluate_now,
            protocol.Save: self._save_now,
            protocol.CoolDown: self._cool_down,
            protocol.Pin: self._pin,
            protocol.Rewind: self._rewind,
            protocol.Fork: self._fork,
            protocol.Silence: lambda command: self._advisor.silence(command.kind),
            protocol.Unsilence: lambda _: self._advisor.unsilence(),
        }
        handler = handlers.get(type(command))
        try:
            if handler is None:
                raise InputError(f"a run is open already: stop it before {type(command).__name__}")
            if self._rewinder.under_way:
                raise InputError("the run is going back: wait until it is there")
            handler(command)
        except InputError as error:
            changes = command.changes if isinstance(command, protocol.Adjust) else {}
            self.emit(Refused(type(command).__name__, str(error), changes))

    def close(self, save: bool) -> None:
        """End the session; with ``save`` nothing that was trained or asked for is lost."""
        with ExitStack() as whatever_happens:
            whatever_happens.callback(self.files.close)
            whatever_happens.callback(self._close_recorder)
            whatever_happens.callback(self._saving.close)
            if self._rewinder.under_way:
                self._saving.collect(None)
                self._rewinder.abort()
            self._results.read()
            if save and self._adjustments.wanted:
                self._step = None
                self._at_boundary()
            self.sampler.close()
            self._saving.collect(None)
            if save and self.trainer.step and not self._saving.is_saved:
                self._saving.begin()
                self._saving.collect(None)
        self._set_state(self.state)

    def _close_recorder(self) -> None:
        if self.state not in (State.FINISHED, State.FAILED):
            self.state = State.STOPPED
        self._update_status()
        try:
            self.run_state.journal("closed", saved=self._saving.saved_step)
        finally:
            self.recorder.close(self.summary())

    # -- commands --------------------------------------------------------------------------------

    def _pause(self, _: protocol.Pause) -> None:
        if self.state is State.RUNNING:
            self.run_state.journal("paused")
            self._set_state(State.PAUSED)
            self._results.read()
            self.recorder.flush(self.summary())
            self.recorder.database.fold()  # a run that rests is one file
        else:
            self._set_state(self.state)

    def _resume(self, _: protocol.Resume) -> None:
        self._contest.overrule()
        if self._is_complete():
            raise InputError(
                f"the run is finished at step {self.trainer.step}: {self._way_on} to go on"
            )
        self.run_state.journal("resumed")
        self._set_state(State.RUNNING)

    def _take_single_step(self, _: protocol.Step) -> None:
        if self.state is State.RUNNING:
            raise InputError("pause the run to take single steps")
        if self._is_complete():
            raise InputError(f"the run is finished: {self._way_on} to go on")
        self._single_steps += 1

    def _adjust(self, command: protocol.Adjust) -> None:
        for key in command.changes:
            if key in SETTINGS and SETTINGS[key].when is not When.LIVE:
                again = f"{program()} train --resume {typed_name(self.files.path)} --set {key}=…"
                raise InputError(f"{key} can change only {_when_words(SETTINGS[key].when, again)}")
        config = self.trainer.config.replace({**self._adjustments.wanted, **command.changes})
        end = total_steps(config, len(self.trainer.train_tokens))
        if end < self.trainer.step:
            raise InputError(
                f"the run would end at step {end}, and it is at step {self.trainer.step} already: "
                f"give it a later end"
            )
        if "sample.prompt" in command.changes:
            self.sampler.start_tokens(config.sample.prompt)  # refuses unknown characters
        if all(key.startswith(IMMEDIATE_SECTIONS) for key in command.changes):
            self._apply(command.changes)
            return
        self._adjustments.wanted |= command.changes
        self._apply_if_still()

    def _cool_down(self, _: protocol.CoolDown) -> None:
        """End the stable stretch of a schedule here: the decay begins, and the run ends with it."""
        optim, step = self.trainer.config.optim, self.trainer.step
        if optim.schedule not in ("wsd", "constant"):
            raise InputError(
                f"the schedule {optim.schedule} decays by itself: a cool-down needs optim.schedule "
                f"wsd or constant"
            )
        end = step + (optim.cooldown_steps or max(1, round(COOLDOWN_SHARE * step)))
        self._adjust(
            protocol.Adjust(
                {
                    "optim.schedule": "wsd",
                    "optim.cooldown_steps": end - step,
                    "optim.decay_steps": end,
                    "train.max_steps": end,
                }
            )
        )

    def _apply_if_still(self) -> None:
        """While nothing is trained, what is wanted takes effect without waiting for a step."""
        still = self.state is not State.RUNNING and not self._single_steps
        if still and self._adjustments.wanted and not self._rewinder.under_way:
            self._step = None  # half a step is computed afresh, with the new settings
            self._at_boundary()

    def _sample(self, command: protocol.Sample) -> None:
        config = self.trainer.config.replace(
            {f"sample.{name}": value for name, value in command.changes.items()}
        )
        self.run_state.journal("sampled", **dataclasses.asdict(config.sample))
        trainer, step = self.trainer, command.step
        if step is None or step == trainer.step:
            self.sampler.request(trainer.evaluated_model, trainer.step, config.sample, False)
        else:
            model = kept_model(self.run_state, step).to(trainer.device)
            model.compute_dtype = trainer.dtype
            self.sampler.request(model, step, config.sample, False)

    def _evaluate_now(self, command: protocol.Evaluate) -> None:
        self._tasks.append(self._evaluator.evaluation(whole=command.whole))

    def _save_now(self, _: protocol.Save) -> None:
        self._tasks.append(self._saving.task())

    def _pin(self, command: protocol.Pin) -> None:
        path = kept_checkpoint(self.run_state, command.step)
        (pin if command.keep else unpin)(path)
        self.run_state.journal("pinned" if command.keep else "unpinned", of=command.step)
        self._tell(protocol.Pinned(command.step, command.keep))

    def _rewind(self, command: protocol.Rewind) -> None:
        self._rewinder.check(command.step)
        self._tasks.clear()  # whatever was under way belongs to what is left behind
        self._step, self._single_steps = None, 0
        if self.state is not State.PAUSED:
            self._set_state(State.PAUSED)
        self._tasks.append(self._going_back(command.step))

    def _going_back(self, step: int) -> Task:
        yield from self._rewinder.task(step)
        self._advisor.read_journal()
        self._contest.read_journal()

    def _fork(self, command: protocol.Fork) -> None:
        step = command.step
        check_changes(self.run_state, self.trainer.step if step is None else step, command.changes)
        if step is None or step == self.trainer.step:
            self._results.read()
            self.recorder.flush(self.summary())
            self._fork_here(command)
            return
        self._rewinder.check(step)
        self._step = None  # its gradients are of weights that come back anew
        self._tasks.append(self._rewinder.visit(step, lambda: self._fork_here(command)))

    def _fork_here(self, command: protocol.Fork) -> None:
        path = fork(self.run_state, command.changes, command.name)
        self.run_state.journal("forked", run=path.name)
        self._tell(protocol.Forked(self.trainer.step, str(path)))

    # -- training --------------------------------------------------------------------------------

    def _advance_training(self) -> None:
        if self._step is None:
            self._at_boundary()
            self._contest.judge()
            if self._is_at_end():
                self._single_steps = 0
                self._tasks.append(self._finishing())
                return
            self._step = self.trainer.step_quanta()
        started = time.perf_counter()
        try:
            next(self._step)
        except StopIteration as stop:
            self._step = None
            self.run_state.throughput.mark_step(self.trainer.device)
            self._after_step(stop.value, time.perf_counter() - started)
            return
        seconds = time.perf_counter() - started
        self.run_state.throughput.add(seconds)
        self.sampler.earn(seconds)

    def _make_do_with_less_memory(self) -> None:
        """What is under way is dropped, and what was trained is saved; nothing of it is lost."""
        self._step, self._single_steps = None, 0
        self._tasks.clear()
        self.sampler.close()
        if self._rewinder.under_way:
            self._rewinder.abort()
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
        self._warn(f"the GPU ran out of memory, so training is paused and saved: {way_out}")
        self._set_state(State.PAUSED)
        if self.trainer.step:
            self._tasks.append(self._saving.task(announce_again=False))

    def _after_step(self, result: StepResult, seconds: float) -> None:
        self.run_state.throughput.add(seconds, self.trainer.tokens)
        self._results.add(result)
        if self.trainer.device.type == "cpu" or self.run_state.throughput.should_read(
            len(self._results)
        ):
            self._results.read()
            self._advisor.look()
        self._update_status()
        self.sampler.earn(seconds)
        config, step = self.trainer.config, self.trainer.step
        if self._single_steps:
            self._single_steps -= 1
            self._results.read()
            self._set_state(self.state)
        if step >= self.trainer.total_steps and not self._adjustments.wanted:
            self._single_steps = 0
            self._tasks.append(self._finishing())  # evaluates and saves
            return
        if _is_due(step, config.eval.interval):
            self._tasks.append(self._scheduled_evaluation())
        if _is_due(step, config.checkpoint.interval):
            self._tasks.append(self._saving.task(announce_again=False))

    def _stop_at_non_finite(self, step: int, what: str) -> None:
        self._saving.collect(None)  # one that is being written is one to go back to
        self._advisor.tell_non_finite(step, what)
        if self.state is State.RUNNING:
            self._set_state(State.PAUSED)

    def _at_boundary(self) -> None:
        """Between two steps: what was asked for, or stands in the journal, takes effect."""
        self.run_state.apply_journal(self._warn)
        wanted = self._adjustments.take_wanted()
        if wanted:
            self._apply(wanted)
        self.run_state.throughput.expect(tokens_per_step(self.trainer.config))

    def _apply(self, changes: dict[str, Any]) -> None:
        before = self.trainer.config
        after = before.replace(changes)
        self.trainer.adjust(after)
        self._adjustments.forget_older(changes)
        step = self.trainer.step
        told = {key: list(pair) for key, pair in before.differences(after).items()}
        self._adjustments.journal_id = self.recorder.journal(step, "adjusted", changes=told)
        label = describe_changes(told)
        if label:
            self.recorder.metrics.add_mark(step, label)
        self._advisor.read_journal()
        if self.state is State.FINISHED and not self._is_complete():
            self._set_state(State.PAUSED)
        self._tell(Adjusted(step, told))

    def _advance_task(self) -> None:
        try:
            next(self._tasks[0])
        except StopIteration:
            self._tasks.popleft()

    def _give_up_saving(self, why: str) -> None:
        self._warn(why)
        self._pause_of_itself()

    def _pause_of_itself(self) -> None:
        if self.state is State.RUNNING:
            self._set_state(State.PAUSED)

    def _scheduled_evaluation(self) -> Task:
        return self._evaluator.evaluation(scheduled=True)

    def _finishing(self) -> Task:
        yield from self._evaluator.finish()
        self._set_finished()
        self.recorder.flush(self.summary())

    def _is_complete(self) -> bool:
        """Whether the end was reached and measured."""
        return self.trainer.step == self.losses.final_step and self._is_at_end()

    def _is_at_end(self) -> bool:
        """Whether all steps are done, or the evaluation of this one was the last straw."""
        step = self.trainer.step
        evaluated = self.losses.evaluated_step == step
        over = step >= self.trainer.total_steps or (evaluated and is_over(self.run_state))
        return over or bool(self._contest.why)

    @property
    def _way_on(self) -> str:
        """What a finished run goes on with."""
        if self._contest.why:
            return "resume it"
        return f"raise {'eval.patience' if why_over(self.run_state) else 'train.max_steps'}"

    # -- telling ---------------------------------------------------------------------------------

    def summary(self) -> dict[str, Any]:
        """The run in one row, for lists and for ``--json``."""
        self._update_status()
        figures = dataclasses.asdict(self.status)
        del figures["message"]
        figures[protocol.PRUNED_KEY] = figures.pop("pruned")
        runtime = self.trainer.runtime
        return figures | {
            "device": runtime.device,
            "precision": runtime.precision,
            "threads": runtime.threads,
            "parameters": self._parameters,
            "corpus": self.files.corpus.name,
            "preset": self.trainer.config.preset,
            "memory": memory_now(),
        }

    def _update_status(self) -> None:
        trainer, losses = self.trainer, self.losses
        self.status = Status(
            state=self.state,
            message=self._doing,
            step=trainer.step,
            total_steps=trainer.total_steps,
            tokens=trainer.tokens,
            epoch=trainer.epoch,
            learning_rate=trainer.learning_rate,
            train_loss=losses.train_loss,
            val_loss=losses.val_loss,
            val_measured=losses.val_measured,
            best_val_loss=losses.best_val_loss,
            best_step=losses.best_step,
            saved_step=self._saving.saved_step,
            branch=self.recorder.branch,
            train_seconds=self.run_state.throughput.train_seconds,
            tokens_per_second=self.run_state.throughput.tokens_per_second,
            tokens_per_step=tokens_per_step(trainer.config),
            pruned=self._contest.why,
        )

    def _report(self, message: str) -> None:
        """Say what is being done besides training."""
        self._doing = message
        self._update_status()

    def _tell(self, event: Event) -> None:
        """Say something that the status knows by then."""
        self._update_status()
        self.emit(event)

    def _set_state(self, state: State) -> None:
        self.state = state
        why = self._ending if state is State.FINISHED else ""
        self._tell(protocol.StateChanged(state, self.trainer.step, why))

    def _set_finished(self) -> None:
        self._ending = self._contest.why or why_over(self.run_state)
        self._set_state(State.FINISHED)

    def _warn(self, message: str) -> None:
        self.recorder.journal(getattr(self, "trainer", self.status).step, "warned", message=message)
        self.emit(Warned(message))


def _is_due(step: int, interval: int) -> bool:
    return bool(interval) and step > 0 and step % interval == 0


def _when_words(when: When, again: str) -> str:
    if when is When.RESUME:
        return f"when the run is opened again: {again}"
    return "in a new run"
