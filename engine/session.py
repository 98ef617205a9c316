"""One run in training: what happens between the quanta of the trainer.

A session is as synchronous as the trainer it drives. ``advance`` does one quantum of whatever is
most pressing and returns; ``handle`` carries out a command. Whoever owns the session (a thread, the
command line) calls the two in turn.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import ExitStack
from typing import Any

import torch

from data.errors import InputError
from engine import protocol
from engine.adjustments import Adjustments
from engine.building import build_trainer
from engine.checkpoint import load_model, step_name, take_snapshot
from engine.config import SETTINGS, total_steps
from engine.metrics import MetricStore
from engine.model import LanguageModel
from engine.optim.schedule import COOLDOWN_SHARE
from engine.pace import Pace
from engine.protocol import Adjusted, Evaluated, Event, Refused, State, Status, Warned
from engine.recorder import Recorder, describe_changes
from engine.run.folder import CHECKPOINTS_FOLDER
from engine.run.opening import RunFiles
from engine.runtime import versions
from engine.sampler import Job, Sampler
from engine.saver import Saver
from engine.settings import When
from engine.standing import Standing
from engine.trainer import Evaluation, StepResult

Task = Generator[None, None, None]
Emit = Callable[[Event], None]

SAMPLING_SECONDS = 0.02  # how long text is written before the inbox is looked at again
EXPECTED_OVERFLOWS = 20  # in a row, while fp16's loss scale finds its place
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

    Raises:
        InputError: The device is not there, or the checkpoint is damaged.
    """

    def __init__(
        self,
        files: RunFiles,
        metrics: MetricStore,
        emit: Emit,
        report: Callable[[str], None],
        changes: dict[str, Any] | None = None,
    ) -> None:
        self.files = files
        self.emit = emit
        self.recorder = Recorder(files.database, metrics)
        self.state = State.PREPARING
        self.status = Status(State.PREPARING)
        self.saver = Saver(files.path)
        self.sampler = Sampler(files.tokenizer, emit, self._keep_sample)
        self.pace = Pace()
        self.standing = Standing()
        self._adjustments = Adjustments()
        self._tasks: deque[Task] = deque()
        self._step: Generator[None, None, StepResult] | None = None
        self._single_steps = 0  # asked for and not yet taken
        self._unread: deque[StepResult] = deque()
        self._saved_stand = self._saving_stand = ""  # see _stand
        self._overflows = 0  # steps in a row
        self._before: dict[str, Any] = files.database.meta().get("summary", {})
        self._build(changes or {}, report)

    # -- coming to be ----------------------------------------------------------------------------

    def _build(self, changes: dict[str, Any], report: Callable[[str], None]) -> None:
        self.trainer, snapshot = build_trainer(
            self.files, changes, self.recorder, report, self._warn
        )
        self._parameters = self.trainer.model.parameter_count()
        if snapshot:
            self._restore(snapshot.state)
        self._adjustments.read_journal(self.files.database)
        self.recorder.load(self.trainer.step)
        self._apply_journal()
        self._update_status()
        live = {k: v for k, v in changes.items() if not k.startswith("system.")}
        if live:
            self._adjust(protocol.Adjust(live))

    def _restore(self, state: dict[str, Any]) -> None:
        self.pace.train_seconds = state["train_seconds"]
        self._adjustments.restore(state)
        self.standing = Standing(**state["standing"])
        self._saved_stand = self._stand(state["step"])
        self.status = dataclasses.replace(self.status, saved_step=state["step"])

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
                saved_step=self.status.saved_step,
            )
        )
        self._tell_of_a_crash()
        self._write_journal("started" if files.is_new else "opened")
        if trainer.step == 0 and not files.database.samples():
            self._sample_automatically()
        if self.standing.evaluated_step != trainer.step < trainer.total_steps and _is_due(
            trainer.step, trainer.config.eval.interval
        ):
            self._tasks.append(self._evaluation())  # the last session ended just before it
        if self._is_complete():
            self._set_state(State.FINISHED)
        else:
            self._set_state(State.RUNNING if running else State.PAUSED)

    def _tell_of_a_crash(self) -> None:
        if not self.files.is_new and self._before.get("state") in UNCLOSED_STATES:
            lost = self._before.get("step", 0) - self.trainer.step
            again = f"; {lost:,} steps after it are trained again" if lost > 0 else ""
            self._warn(
                f"this run was not closed the last time (a crash, a kill or a power cut): "
                f"it goes on from step {self.trainer.step:,}{again}"
            )

    def advance(self) -> bool:
        """Do one quantum of work; False if there is none."""
        self._collect_save()
        self._apply_if_still()
        if self._tasks:
            self._advance_task()
        elif self.state is State.RUNNING or self._single_steps:
            self._advance_training()
        elif self.sampler.active:
            self.sampler.run_for(SAMPLING_SECONDS)
        elif self.saver.busy:
            self._collect_save(0.01)
        elif self.recorder.has_unwritten:
            self.recorder.flush(self.summary())
        else:
            return False
        if self.recorder.flush_is_due:
            self.recorder.flush(self.summary())
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
        }
        handler = handlers.get(type(command))
        try:
            if handler is None:
                raise InputError(f"a run is open already: stop it before {type(command).__name__}")
            handler(command)
        except InputError as error:
            self.emit(Refused(type(command).__name__, str(error)))

    def close(self, save: bool) -> None:
        """End the session; with ``save`` nothing that was trained or asked for is lost."""
        with ExitStack() as whatever_happens:
            whatever_happens.callback(self.files.close)
            whatever_happens.callback(self._close_recorder)
            whatever_happens.callback(self.saver.close)
            self._read_results()
            if save and self._adjustments.wanted:
                self._step = None
                self._at_boundary()
            self.sampler.close()
            self._collect_save(None)
            if save and self.trainer.step and not self._is_saved():
                self._begin_save()
                self._collect_save(None)
        self._set_state(self.state)

    def _close_recorder(self) -> None:
        if self.state not in (State.FINISHED, State.FAILED):
            self.state = State.STOPPED
        self._update_status()
        try:
            self._write_journal("closed", saved=self.status.saved_step)
        finally:
            self.recorder.close(self.summary())

    # -- commands --------------------------------------------------------------------------------

    def _pause(self, _: protocol.Pause) -> None:
        if self.state is State.RUNNING:
            self._write_journal("paused")
            self._set_state(State.PAUSED)
            self._read_results()
            self.recorder.flush(self.summary())
            self.recorder.database.fold()  # a run that rests is one file
        else:
            self._set_state(self.state)

    def _resume(self, _: protocol.Resume) -> None:
        if self._is_complete():
            raise InputError(
                f"the run is finished at step {self.trainer.step}: raise train.max_steps to go on"
            )
        self._write_journal("resumed")
        self._set_state(State.RUNNING)

    def _take_single_step(self, _: protocol.Step) -> None:
        if self.state is State.RUNNING:
            raise InputError("pause the run to take single steps")
        if self._is_complete():
            raise InputError("the run is finished: raise train.max_steps to go on")
        self._single_steps += 1

    def _adjust(self, command: protocol.Adjust) -> None:
        for key in command.changes:
            if key in SETTINGS and SETTINGS[key].when is not When.LIVE:
                raise InputError(f"{key} can change only {_when_words(SETTINGS[key].when)}")
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
        if still and self._adjustments.wanted:
            self._step = None  # half a step is computed afresh, with the new settings
            self._at_boundary()

    def _sample(self, command: protocol.Sample) -> None:
        config = self.trainer.config.replace(
            {f"sample.{name}": value for name, value in command.changes.items()}
        )
        self._write_journal("sampled", **dataclasses.asdict(config.sample))
        self.sampler.request(self.trainer.evaluated_model, self.trainer.step, config.sample, False)

    def _evaluate_now(self, command: protocol.Evaluate) -> None:
        self._tasks.append(self._evaluation(whole=command.whole))

    def _save_now(self, _: protocol.Save) -> None:
        self._tasks.append(self._saving())

    # -- training --------------------------------------------------------------------------------

    def _advance_training(self) -> None:
        if self._step is None:
            self._at_boundary()
            if self.trainer.step >= self.trainer.total_steps:
                self._single_steps = 0
                self._tasks.append(self._finishing())
                return
            self._step = self.trainer.step_quanta()
        started = time.perf_counter()
        try:
            next(self._step)
        except torch.OutOfMemoryError:
            self._make_do_with_less_memory()
            return
        except StopIteration as stop:
            self._step = None
            self._unread.append(stop.value)
            self.pace.mark_step(self.trainer.device)
            self._after_step(time.perf_counter() - started)
            return
        seconds = time.perf_counter() - started
        self.pace.add(seconds)
        self.sampler.earn(seconds)

    def _make_do_with_less_memory(self) -> None:
        """The step in flight is dropped; nothing of the run is lost."""
        self._step, self._single_steps = None, 0
        self.trainer.model.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        size = self.trainer.runtime.micro_batch_size
        way_out = (
            f"set system.micro_batch_size to {size // 2}, which gives the same steps in more passes"
            if size > 1
            else "lower model.block_size or the model in a new run"
        )
        self._warn(f"the GPU ran out of memory, so training is paused: {way_out}, and resume it")
        self._set_state(State.PAUSED)

    def _after_step(self, seconds: float) -> None:
        self.pace.add(seconds, self.trainer.tokens)
        if self.trainer.device.type == "cpu" or self.pace.should_read(len(self._unread)):
            self._read_results()
        self._update_status()
        self.sampler.earn(seconds)
        config, step = self.trainer.config, self.trainer.step
        if self._single_steps:
            self._single_steps -= 1
            self._read_results()
            self._set_state(self.state)
        if step >= self.trainer.total_steps and not self._adjustments.wanted:
            self._single_steps = 0
            self._tasks.append(self._finishing())  # evaluates and saves
            return
        if _is_due(step, config.eval.interval):
            self._tasks.append(self._evaluation())
        if _is_due(step, config.checkpoint.interval):
            self._tasks.append(self._saving(announce_again=False))

    def _read_results(self) -> None:
        """Fetch losses from the device and record them: the one place that waits for a GPU."""
        if not self._unread:
            return
        results, self._unread = list(self._unread), deque()
        losses = torch.stack([r.loss.float() for r in results]).tolist()
        norms = torch.stack([r.grad_norm.float() for r in results]).tolist()
        for result, loss, norm in zip(results, losses, norms, strict=True):
            self.recorder.record(
                result.step,
                {
                    "train_loss": loss,
                    "grad_norm": norm,
                    "learning_rate": result.learning_rate,
                    "tokens_per_second": self.pace.tokens_per_second,
                    "train_seconds": self.pace.train_seconds,
                },
            )
            self.standing.train_loss = loss
        for result, loss, norm in zip(results, losses, norms, strict=True):
            overflow = math.isfinite(loss) and not math.isfinite(norm)
            self._overflows = self._overflows + 1 if overflow else 0
            expected = self.trainer.loss_scale and self._overflows <= EXPECTED_OVERFLOWS
            if not math.isfinite(loss) or (overflow and not expected):
                self._stop_at_non_finite(result.step, loss)
                break

    def _stop_at_non_finite(self, step: int, loss: float) -> None:
        what = "loss" if not math.isfinite(loss) else "gradient"
        self._warn(
            f"the {what} of step {step} is not a number: the update was left out and training "
            f"paused. Lower optim.learning_rate, then resume it"
        )
        if self.state is State.RUNNING:
            self._set_state(State.PAUSED)

    def _at_boundary(self) -> None:
        """Between two steps: what was asked for, or stands in the journal, takes effect."""
        self._apply_journal()
        wanted = self._adjustments.take_wanted()
        if wanted:
            self._apply(wanted)

    def _apply_journal(self) -> None:
        """What the journal holds for the steps up to here takes effect again."""
        for step, changes in self._adjustments.take_due(self.trainer.step):
            config = self.trainer.config
            # naming max_steps alone would turn max_epochs off
            changes.setdefault("train.max_epochs", config.train.max_epochs)
            config, problems = config.check(changes)
            if problems:
                self._warn(f"a change made at step {step} was left out: {problems[0]}")
            else:
                self.trainer.adjust(config)

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
        if self.state is State.FINISHED and not self._is_complete():
            self._set_state(State.PAUSED)
        self._update_status()
        self.emit(Adjusted(step, told))

    # -- evaluation, samples, checkpoints --------------------------------------------------------

    def _advance_task(self) -> None:
        try:
            next(self._tasks[0])
        except StopIteration:
            self._tasks.popleft()

    def _evaluation(self, whole: bool = False, save_best: bool = True) -> Task:
        yield from self._await_automatic_sample()  # it belongs to the evaluation before
        self._read_results()
        evaluation = yield from self._measuring(whole)
        best = self._note_evaluation(evaluation)
        self._sample_automatically()
        if best and save_best:
            yield from self._saving(announce_again=False)

    def _measuring(
        self, whole: bool, model: LanguageModel | None = None
    ) -> Generator[None, None, Evaluation]:
        """Measure the validation loss; samples stream on meanwhile, as beside training."""
        quanta = self.trainer.evaluate_quanta(whole, model)
        while True:
            started = time.perf_counter()
            try:
                next(quanta)
            except StopIteration as stop:
                evaluation: Evaluation = stop.value
                return evaluation
            self.sampler.earn(time.perf_counter() - started)
            yield

    def _await_automatic_sample(self) -> Task:
        while self.sampler.writes_automatic:
            self.sampler.run_for(SAMPLING_SECONDS, automatic_first=True)
            yield

    def _note_evaluation(self, evaluation: Evaluation) -> bool:
        """Record a validation loss; returns whether it is the best so far."""
        measured = evaluation.in_words(self.trainer.config.train.batch_size)
        best = self.standing.note_evaluation(evaluation, measured)
        self.recorder.record(evaluation.step, {"val_loss": evaluation.loss})
        self._write_journal("evaluated", val_loss=evaluation.loss, measured=measured)
        self._update_status()
        self.emit(Evaluated(evaluation.step, evaluation.loss, measured, best))
        return best

    def _sample_automatically(self) -> None:
        try:
            self.sampler.request(
                self.trainer.evaluated_model, self.trainer.step, self.trainer.config.sample, True
            )
        except InputError as error:
            self._warn(f"no sample: {error}")

    def _keep_sample(self, job: Job) -> None:
        standing = self.standing
        val_loss = standing.val_loss if job.step == standing.evaluated_step else None
        settings = dataclasses.asdict(job.settings)
        self.files.database.add_sample(self.recorder.branch, job.step, val_loss, settings, job.text)

    def _saving(self, announce_again: bool = True) -> Task:
        yield from self._await_saver()
        if not self._is_saved():
            self._begin_save()
        elif announce_again:
            self._announce_save()

    def _is_saved(self) -> bool:
        """Whether the latest checkpoint holds all there is to hold."""
        return self._saved_stand == self._stand(self.trainer.step)

    def _stand(self, step: int) -> str:
        """All that makes a checkpoint worth writing anew: a step, or an evaluation since."""
        return json.dumps([step, self.standing.to_dict()])

    def _await_saver(self) -> Task:
        while self.saver.busy:
            self._collect_save(0.01)
            yield

    def _begin_save(self) -> None:
        self._read_results()
        self.recorder.flush(self.summary())
        state = {
            "config": self.trainer.config.to_dict(),
            "runtime": dataclasses.asdict(self.trainer.runtime),
            "tokenizer": self.files.tokenizer.to_dict(),
            "corpus_sha256": self.files.corpus.sha256,
            "train_seconds": self.pace.train_seconds,
            **self._adjustments.to_dict(),
            "standing": self.standing.to_dict(),
            "branch": self.recorder.branch,
            "versions": versions(),
            "created": time.time(),
        }
        self._saving_stand = self._stand(self.trainer.step)
        snapshot = take_snapshot(self.trainer, state)
        keep = self.trainer.config.checkpoint.keep
        self.saver.write(snapshot, keep, self.standing.best_step)

    def _collect_save(self, seconds: float | None = 0.0) -> None:
        try:
            path = self.saver.collect(seconds)
        except OSError as error:
            self._warn(self._why_not_saved(error))
            if self.state is State.RUNNING:
                self._set_state(State.PAUSED)
            return
        if path:
            step = int(path.name.removeprefix("step-"))
            self._saved_stand = self._saving_stand
            self.status = dataclasses.replace(self.status, saved_step=step)
            self._announce_save()

    def _why_not_saved(self, error: OSError) -> str:
        if not self.files.path.is_dir():
            return (
                f"the run's folder {self.files.path} is gone, so nothing can be saved: "
                f"training is paused"
            )
        return (
            f"the checkpoint could not be written ({error.strerror or error}); the older ones are "
            f"whole. Training is paused: make room, then resume it"
        )

    def _announce_save(self) -> None:
        path = self.files.path / CHECKPOINTS_FOLDER / step_name(self.status.saved_step)
        self._write_journal("saved", saved=self.status.saved_step)
        self.emit(protocol.Saved(self.status.saved_step, str(path)))

    # -- the end ---------------------------------------------------------------------------------

    def _finishing(self) -> Task:
        """Measure the last and the best weights over the whole split, and save."""
        yield from self._await_saver()
        standing, earlier_step, earlier = self.standing, self.standing.best_step, self._best_model()
        yield from self._evaluation(whole=True, save_best=False)
        last_loss = math.nan if standing.val_loss is None else standing.val_loss
        standing.best_step, standing.best_val_loss = self.trainer.step, last_loss
        if earlier:  # it was the best by an estimate; now both are held to the same measure
            best = yield from self._measuring(True, earlier)
            if best.loss < last_loss or not math.isfinite(last_loss):
                standing.best_step, standing.best_val_loss = earlier_step, best.loss
        standing.final_step = self.trainer.step
        self._begin_save()
        yield from self._await_saver()
        yield from self._await_automatic_sample()  # the last text is whole, too
        self._write_journal("finished")
        self._set_state(State.FINISHED)
        self.recorder.flush(self.summary())

    def _best_model(self) -> LanguageModel | None:
        """The best weights before the last ones, if they are on the disk."""
        best_step = self.standing.best_step
        if best_step is None or best_step == self.trainer.step:
            return None
        path = self.files.path / CHECKPOINTS_FOLDER / step_name(best_step)
        if not path.is_dir():
            return None
        try:
            return load_model(self.files.path, str(best_step)).to(self.trainer.device)
        except InputError as error:
            self._warn(f"the best weights so far cannot be measured again: {error}")
            return None

    def _is_complete(self) -> bool:
        """Whether all steps are done and the end was measured."""
        step = self.trainer.step
        return step >= self.trainer.total_steps and step == self.standing.final_step

    # -- telling ---------------------------------------------------------------------------------

    def summary(self) -> dict[str, Any]:
        """The run in one row, for lists and for ``--json``."""
        self._update_status()
        figures = dataclasses.asdict(self.status)
        del figures["message"]
        runtime = self.trainer.runtime
        return figures | {
            "device": runtime.device,
            "precision": runtime.precision,
            "threads": runtime.threads,
            "parameters": self._parameters,
            "corpus": self.files.corpus.name,
            "preset": self.trainer.config.preset,
        }

    def _update_status(self) -> None:
        trainer, standing = self.trainer, self.standing
        self.status = Status(
            state=self.state,
            step=trainer.step,
            total_steps=trainer.total_steps,
            tokens=trainer.tokens,
            epoch=trainer.epoch,
            learning_rate=trainer.learning_rate,
            train_loss=standing.train_loss,
            val_loss=standing.val_loss,
            val_measured=standing.val_measured,
            best_val_loss=standing.best_val_loss,
            best_step=standing.best_step,
            saved_step=self.status.saved_step,
            train_seconds=self.pace.train_seconds,
            tokens_per_second=self.pace.tokens_per_second,
        )

    def _set_state(self, state: State) -> None:
        self.state = state
        self._update_status()
        self.emit(protocol.StateChanged(state, self.trainer.step))

    def _write_journal(self, kind: str, **detail: Any) -> None:
        self.recorder.journal(self.trainer.step, kind, **detail)

    def _warn(self, message: str) -> None:
        self.recorder.journal(getattr(self, "trainer", self.status).step, "warned", message=message)
        self.emit(Warned(message))


def _is_due(step: int, interval: int) -> bool:
    return bool(interval) and step > 0 and step % interval == 0


def _when_words(when: When) -> str:
    if when is When.RESUME:
        return "when the run is opened again (gpt-tui train --resume RUN --set …)"
    return "in a new run"
