"""Evaluations of a run in training, and its end: tasks of many quanta."""

from __future__ import annotations

import math
import time
from collections.abc import Generator

from data.errors import InputError
from engine.checkpoint.store import read_model
from engine.model import LanguageModel
from engine.protocol import Evaluated
from engine.runs.folder import CHECKPOINTS_FOLDER
from engine.sampling.background import Sampler
from engine.session.outlet import Outlet
from engine.session.results import Results
from engine.session.run_state import RunState
from engine.session.saving import Saving, Task
from engine.training.trainer import Evaluation

SAMPLING_SECONDS = 0.02  # how long text is written before the inbox is looked at again


class Evaluator:
    """Measures validation losses, has a sample written after each, and holds the end's reckoning.

    Args:
        run_state: What is measured.
        outlet: Told what came out.
        results: Read before an evaluation, so that the metrics are in order.
        sampler: Writes the automatic samples.
        saving: Keeps the best weights.
    """

    def __init__(
        self,
        run_state: RunState,
        outlet: Outlet,
        results: Results,
        sampler: Sampler,
        saving: Saving,
    ) -> None:
        self._run_state, self._outlet, self._results = run_state, outlet, results
        self._sampler, self._saving = sampler, saving

    def evaluation(
        self,
        whole: bool = False,
        at_end: bool = False,
        scheduled: bool = False,
        request_id: int = 0,
    ) -> Task:
        """Measure the validation loss of the weights as they are now.

        Args:
            whole: Over the whole validation split.
            at_end: Whoever asks saves the run afterwards.
            scheduled: It is one of those at ``eval.interval``, which early stopping counts.
            request_id: Of the command that it answers.
        """
        yield from self._await_automatic_sample()  # it belongs to the evaluation before
        self._results.read()
        evaluation = yield from self._measured(whole)
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
        if earlier:  # it was the best by an estimate; now both are held to the same measure
            best = yield from self._measured(True, earlier)
            if best.loss < last_loss or not math.isfinite(last_loss):
                losses.best_step, losses.best_val_loss = earlier_step, best.loss
        losses.final_step = run_state.step
        self._saving.begin()
        yield from self._saving.until_written()
        yield from self._await_automatic_sample()  # the last text is whole, too
        self._outlet.journal("finished")

    def sample_automatically(self) -> None:
        """Have a text written from the weights that are evaluated."""
        trainer = self._run_state.trainer
        try:
            self._sampler.request(
                trainer.evaluated_model, trainer.step, trainer.config.sample, True
            )
        except InputError as error:
            self._outlet.warn(f"no sample: {error}")

    def _measured(
        self, whole: bool, model: LanguageModel | None = None
    ) -> Generator[None, None, Evaluation]:
        """Measure the validation loss; samples stream on meanwhile, as beside training."""
        quanta = self._run_state.trainer.evaluate_quanta(whole, model)
        while True:
            started = time.perf_counter()
            try:
                next(quanta)
            except StopIteration as stop:
                evaluation: Evaluation = stop.value
                return evaluation
            self._sampler.earn(time.perf_counter() - started)
            yield

    def _await_automatic_sample(self) -> Task:
        while self._sampler.writes_automatic:
            self._sampler.run_for(SAMPLING_SECONDS, automatic_first=True)
            yield

    def _note(self, evaluation: Evaluation, scheduled: bool, request_id: int) -> bool:
        """Record a validation loss; returns whether it is the best so far."""
        run_state = self._run_state
        measured = evaluation.measured_on(run_state.trainer.config.train.batch_size)
        best = run_state.losses.note_evaluation(evaluation, measured)
        run_state.recorder.record(evaluation.step, {"val_loss": evaluation.loss})
        facts = {"val_loss": evaluation.loss, "measured": measured, "scheduled": scheduled}
        self._outlet.journal("evaluated", **facts)
        self._outlet.tell(
            Evaluated(evaluation.step, evaluation.loss, measured, best, request_id=request_id)
        )
        return best

    def _best_model(self) -> LanguageModel | None:
        """The best weights before the last ones, if they are on the disk."""
        run_state = self._run_state
        name = run_state.best_checkpoint
        if name is None or run_state.losses.best_step == run_state.step:
            return None
        path = run_state.files.path / CHECKPOINTS_FOLDER / name
        if not path.is_dir():
            return None
        try:
            return read_model(path).to(run_state.trainer.device)
        except InputError as error:
            self._outlet.warn(f"the best weights so far cannot be measured again: {error}")
            return None
