"""What a run in training measures: the losses of its steps, and its evaluations.

Results of steps are fetched from the device now and then: the one place that waits for a GPU.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from data.errors import InputError
from engine.checkpoint.store import read_model
from engine.metric_catalogue import VAL_ACCURACY
from engine.model import LanguageModel
from engine.protocol import Evaluated
from engine.runs.checkpoint_names import CHECKPOINTS_FOLDER
from engine.sampling.background import Sampler
from engine.session.advisor import Advisor
from engine.session.health import Health
from engine.session.monitor import Monitor
from engine.session.outlet import Outlet
from engine.session.run_state import RunState
from engine.session.saving import Saving, Task
from engine.session.toy_accuracy import ToyAccuracy
from engine.training.trainer import Evaluation, StepResult

T = TypeVar("T")

EXPECTED_OVERFLOWS = 20  # in a row, while fp16's loss scale finds its place
SAMPLING_SECONDS = 0.02  # of a quantum that only generates text


@dataclass(frozen=True)
class _Unread:
    """A step whose loss is still on the device, and the throughput when it was done."""

    result: StepResult
    train_seconds: float
    tokens_per_second: float
    health: Health


class Results:
    """Records the results of steps and evaluations.

    It pauses at a loss that is not finite, with advice, and after each evaluation requests a sample
    and saves the best weights.
    """

    def __init__(
        self,
        run_state: RunState,
        outlet: Outlet,
        saving: Saving,
        advisor: Advisor,
        sampler: Sampler,
        monitor: Monitor,
    ) -> None:
        self._run_state, self._outlet = run_state, outlet
        self._saving, self._advisor, self._sampler = saving, advisor, sampler
        self._monitor = monitor
        self._unread: deque[_Unread] = deque()
        self._overflows = 0  # steps in a row
        self._toy = ToyAccuracy.of(run_state.files)

    def __len__(self) -> int:
        return len(self._unread)

    def add(self, result: StepResult, health: Health = ()) -> None:
        """Keep a step's result without waiting for the device."""
        throughput = self._run_state.throughput
        seconds, speed = throughput.train_seconds, throughput.tokens_per_second
        self._unread.append(_Unread(result, seconds, speed, health))

    def read(self) -> None:
        """Fetch all losses and gradient norms and record them."""
        if not self._unread:
            return
        steps, self._unread = list(self._unread), deque()
        on_device = [(one.result.loss.float(), one.result.grad_norm.float()) for one in steps]
        throughput, started = self._run_state.throughput, time.perf_counter()
        phases = self._run_state.phases
        phase = phases.enter("training")
        # one copy for all of them, and so one wait
        figures = torch.stack([figure for pair in on_device for figure in pair]).view(-1, 2)
        losses_and_norms = figures.tolist()
        phases.enter(phase)
        waited = 0.0
        if figures.device.type != "cpu":  # for steps that were queued, and count as training
            waited = time.perf_counter() - started
            throughput.add(waited)
        ends = throughput.ends_of(len(steps), steps[-1].train_seconds + waited)
        for one, end, (loss, norm) in zip(steps, ends, losses_and_norms, strict=True):
            self._record(one, end, loss, norm)
        for one, (loss, norm) in zip(steps, losses_and_norms, strict=True):
            if self._is_broken(loss, norm):
                self._stop(one.result.step, "gradient" if math.isfinite(loss) else "loss")
                return

    def _record(self, one: _Unread, train_seconds: float, loss: float, norm: float) -> None:
        run_state, result = self._run_state, one.result
        figures = {
            "train_loss": loss,
            "grad_norm": norm,
            "learning_rate": result.learning_rate,
            "train_seconds": train_seconds,
        }
        if one.tokens_per_second:  # unknown until two steps are done
            figures["tokens_per_second"] = one.tokens_per_second
        for measured in one.health:
            figures |= measured.figures()
        run_state.recorder.record(result.step, figures)
        self._monitor.note(norm)
        run_state.losses.train_loss = loss

    def _stop(self, step: int, what: str) -> None:
        """Pause: the step's update was skipped, and the user decides whether to continue."""
        self._saving.collect(None)  # a checkpoint being written is one to go back to
        self._advisor.tell_non_finite(step, what)
        self._outlet.pause()

    def _is_broken(self, loss: float, norm: float) -> bool:
        overflow = math.isfinite(loss) and not math.isfinite(norm)
        self._overflows = self._overflows + 1 if overflow else 0
        expected = self._run_state.trainer.loss_scale and self._overflows <= EXPECTED_OVERFLOWS
        return not math.isfinite(loss) or (overflow and not expected)

    # -- evaluations -----------------------------------------------------------------------------

    def evaluation(
        self,
        whole: bool = False,
        at_end: bool = False,
        scheduled: bool = False,
        request_id: int = 0,
    ) -> Task:
        """Measure the validation loss of the current weights.

        Args:
            whole: Over the whole validation split.
            at_end: The run is saved afterwards in any case.
            scheduled: One of those at ``eval.interval``, which early stopping counts.
            request_id: Of the command that it answers.
        """
        yield from self._finish_automatic_sample()  # it belongs to the evaluation before
        self.read()
        evaluation = yield from self._measure(whole)
        yield from self._measure_accuracy()
        best = self._note(evaluation, scheduled, request_id)
        self.sample_automatically()
        if not at_end:
            keep = self._saving.task(announce_again=False) if best else self._saving.history_task()
            yield from keep

    def finish(self) -> Task:
        """Measure the last and the best weights over the whole split, and save."""
        yield from self._saving.until_written()
        run_state = self._run_state
        earlier_step, earlier = run_state.losses.best_step, self._best_model()
        yield from self.evaluation(whole=True, at_end=True)
        losses = run_state.losses
        last_loss = math.nan if losses.val_loss is None else losses.val_loss
        losses.best_step, losses.best_val_loss = run_state.step, last_loss
        if earlier:  # the best by an estimate; now both are measured on the same
            again = yield from self._measure(True, earlier)
            if again.loss < last_loss or not math.isfinite(last_loss):
                losses.best_step, losses.best_val_loss = earlier_step, again.loss
        losses.final_step = run_state.step
        self._saving.begin()
        yield from self._saving.until_written()
        yield from self._finish_automatic_sample()
        best, measured = losses.best_val_loss, {}
        if best is not None and math.isfinite(best):
            measured = {"best_step": losses.best_step, "best_val_loss": best}
        self._outlet.journal("finished", **measured)

    def sample_automatically(self) -> None:
        """Request samples from the weights that are evaluated: of the prompt, and of the probes."""
        trainer = self._run_state.trainer
        model, settings = trainer.evaluated_model, trainer.config.sample
        prompts = (settings.prompt, *settings.probe_prompts)
        asked = [replace(settings, prompt=prompt, probes="") for prompt in prompts]
        try:
            self._sampler.request(model, trainer.step, asked, True)
        except InputError as error:
            self._outlet.warn(f"no sample: {error}")

    def _measure(
        self, whole: bool, model: LanguageModel | None = None
    ) -> Generator[None, None, Evaluation]:
        """Measure the validation loss."""
        return (yield from self._timed(self._run_state.trainer.evaluate_quanta(whole, model)))

    def _measure_accuracy(self) -> Task:
        """Measure how many problems the current weights solve, if the text is a toy task."""
        run_state, trainer = self._run_state, self._run_state.trainer
        if self._toy is None:
            return
        batch_size = 2 * trainer.config.train.batch_size
        quanta = self._toy.quanta(trainer.evaluated_model, batch_size)
        accuracy = yield from self._timed(quanta)
        run_state.losses.val_accuracy = accuracy
        run_state.recorder.record(trainer.step, {VAL_ACCURACY: accuracy})

    def _timed(self, quanta: Generator[None, None, T]) -> Generator[None, None, T]:
        """Measure something; samples stream on meanwhile, as during training."""
        phases = self._run_state.phases
        while True:
            started = time.perf_counter()
            phases.enter("evaluation")
            try:
                next(quanta)
            except StopIteration as stop:
                found: T = stop.value
                return found
            finally:
                phases.enter("other")
            self._sampler.earn(time.perf_counter() - started)
            yield

    def _finish_automatic_sample(self) -> Task:
        while self._sampler.writes_automatic:
            self._sampler.run_for(SAMPLING_SECONDS, automatic_first=True)
            yield

    def _note(self, evaluation: Evaluation, scheduled: bool, request_id: int) -> bool:
        """Record a validation loss; return whether it is the best so far."""
        run_state = self._run_state
        step, loss = evaluation.step, evaluation.loss
        measured = evaluation.measured_on(run_state.trainer.config.train.batch_size)
        best = run_state.losses.note_evaluation(evaluation, measured)
        run_state.recorder.record(step, {"val_loss": loss})
        self._outlet.journal("evaluated", val_loss=loss, measured=measured, scheduled=scheduled)
        self._outlet.tell(Evaluated(step, loss, measured, best, request_id=request_id))
        return best

    def _best_model(self) -> LanguageModel | None:
        """Return the best weights before the last ones, if they are on the disk."""
        run_state = self._run_state
        name = run_state.best_checkpoint
        if name is None or run_state.losses.best_step == run_state.step:
            return None
        path = run_state.files.path / CHECKPOINTS_FOLDER / name
        if not path.is_dir():
            return None
        try:
            return read_model(path).to(run_state.trainer.whole_device)
        except InputError as error:
            self._outlet.warn(f"the best weights so far cannot be measured again: {error}")
            return None
