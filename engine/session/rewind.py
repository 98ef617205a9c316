"""Going back in a run: to any step, to the bit, by its nearest checkpoint and training again."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import InputError
from engine.checkpoint.store import LATEST, Snapshot, find_checkpoint, read_checkpoint, read_model
from engine.model import LanguageModel
from engine.protocol import Fork, Rewind, Rewound
from engine.runs.checkpoint_names import list_checkpoints, list_snapshots, step_of
from engine.runs.lineage import Lineage
from engine.sampling.background import Sampler
from engine.session.outlet import Outlet
from engine.session.results import Results
from engine.session.run_state import Losses, RunState
from engine.session.saving import Saving, Task
from engine.training.trainer import Runtime, Trainer


class Rewinder:
    """Brings a run back to a step; what came after it stays as a branch of its own.

    Training again records nothing: it only leads to the weights of a step whose figures are known.

    Args:
        run_state: What goes back.
        outlet: Told when it is there, how far it is, and when the way back is not exact.
        results: Read first.
        sampler: Its texts belong to the stretch that is left; they are kept as far as they are.
        saving: Saves the end of that stretch first, and the place gone back to at last.
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
        self.under_way = False  # and the trainer is where the run is not

    def check(self, step: int) -> None:
        """Refuse a step that cannot be gone back to.

        Raises:
            InputError: It lies ahead, or before the run begins.
        """
        first, now = self._run_state.first_step, self._run_state.step
        if not first <= step < now:
            what = f"from {first:,} to {now - 1:,}" if first < now else "none: nothing is trained"
            raise InputError(f"the run cannot go back to step {step:,}; the steps it can: {what}")

    def task(self, command: Rewind) -> Task:
        """Go back to a step that ``check`` has let through."""
        run_state, left_at, step = self._run_state, self._run_state.step, command.step
        if not (yield from self.visit(step, command)):
            return
        run_state.recorder.leave(step)
        self.under_way = False
        self._outlet.journal("rewound", left_at=left_at)
        self._saving.begin()
        config, branch = run_state.trainer.config.to_dict(), run_state.recorder.branch
        self._outlet.tell(Rewound(step, left_at, branch, config, request_id=command.request_id))
        yield from self._saving.until_written()

    def visit(self, step: int, command: Rewind | Fork) -> Generator[None, None, bool]:
        """Bring the trainer to a step, all before it being saved, until ``abort``.

        Args:
            step: Where to.
            command: What it is for, which is refused if that cannot be.

        Returns:
            Whether it is there; else it was said why not.
        """
        way = self._run_state.lineage(step)
        self._sampler.close()
        self._results.read()
        yield from self._saving.task(announce_again=False)
        yield from self._saving.until_written()
        if not self._saving.is_saved:
            return False  # it said why; what would be left behind could not be kept
        outlet, self.under_way = self._outlet, True
        try:
            yield from lead_to(self._run_state, step, way, outlet.warn, outlet.report)
        except InputError as error:
            self.abort()
            outlet.tell(command.refused(str(error)))
            return False
        finally:
            outlet.report("")
        self._run_state.losses = _losses_at(self._run_state, way, step)
        return True

    def abort(self) -> None:
        """Be again where the run is: it was only left for a look, or is closed on its way back."""
        run_state = self._run_state
        run_state.go_to(read_checkpoint(find_checkpoint(run_state.files.path, LATEST)))
        run_state.adjustments.read_journal(run_state.files.database, run_state.lineage())
        run_state.apply_journal(self._outlet.warn)  # what was changed since that checkpoint
        self.under_way = False


def lead_to(
    run_state: RunState,
    step: int,
    way: Lineage,
    warn: Callable[[str], None],
    report: Callable[[str], None],
) -> Generator[None, None, None]:
    """Bring the trainer to a step; the run then still counts as where it was.

    Args:
        run_state: Of the run; nothing is recorded or written.
        step: At or before its latest.
        way: The lineage up to it.
        warn: Takes a sentence when the way is not exact.
        report: Takes a line on how far it is.

    Yields:
        After each micro-batch.
    """
    trainer = run_state.trainer
    start = nearest_snapshot(run_state, step, way, warn)
    again = f"steps {start.step + 1:,} to {step:,} are trained again"
    if start.step < step and Runtime(**start.state["runtime"]) != trainer.runtime:
        warn(f"{again} on other hardware settings than before, so the last bits may differ")
    elif start.step < step and trainer.device.type != "cpu":
        warn(f"{again}: on a GPU that gives the same weights up to rounding, not to the bit")
    branch = run_state.recorder.branch
    run_state.go_to(start)
    run_state.recorder.branch = branch
    run_state.adjustments.read_journal(run_state.files.database, way)
    while trainer.step < step:
        report(f"going back: step {trainer.step:,} of {step:,}")
        run_state.apply_journal(warn)
        for _ in trainer.step_quanta():
            yield
        run_state.throughput.mark_step(trainer.device)
    if start.step < step:
        run_state.throughput.restart(_seconds_at(run_state, way))
    run_state.adjustments.forget_ahead()


def nearest_snapshot(
    run_state: RunState, step: int, way: Lineage, warn: Callable[[str], None]
) -> Snapshot:
    """The last full checkpoint at or before a step, along the way there; else the beginning.

    Damaged ones are named and passed over.
    """
    for path in reversed(list_checkpoints(run_state.files.path)):
        if way.holds_checkpoint(path) and step_of(path) <= step:
            try:
                return read_checkpoint(path)
            except InputError as error:
                warn(f"{error}; an earlier one is taken")
    if run_state.first_step:
        raise InputError(
            f"the checkpoint of step {run_state.first_step:,}, with which this fork began, is "
            f"gone: it cannot go back before its oldest checkpoint"
        )
    return untrained(run_state)


def kept_model(run_state: RunState, step: int) -> LanguageModel:
    """The model as it was at a step before, if its weights are on the disk.

    Raises:
        InputError: They are not, or are damaged.
    """
    return read_model(kept_checkpoint(run_state, step))


def kept_checkpoint(run_state: RunState, step: int) -> Path:
    """The checkpoint of a step on the way to where the run is, light or full.

    Raises:
        InputError: There is none.
    """
    lineage = run_state.lineage()
    kept = [path for path in list_snapshots(run_state.files.path) if lineage.holds_checkpoint(path)]
    for path in reversed(kept):
        if step_of(path) == step:
            return path
    steps = ", ".join(f"{step_of(path):,}" for path in kept[-5:])
    raise InputError(
        f"the weights of step {step:,} are not kept: go back to it, or take one of those that are "
        f"(the newest: {steps})"
    )


def untrained(run_state: RunState) -> Snapshot:
    """The run before its first step."""
    files, runtime = run_state.files, run_state.trainer.runtime
    trainer = Trainer(files.config, runtime, files.split, files.tokenizer.vocab_size)
    return RunState(files, trainer, run_state.recorder).snapshot()


def _seconds_at(run_state: RunState, way: Lineage) -> float:
    """How long the run had trained by the end of a way, as it was recorded."""
    seconds = run_state.files.database.curve("train_seconds", way)[1]
    return float(seconds[-1]) if len(seconds) else run_state.throughput.train_seconds


def _losses_at(run_state: RunState, way: Lineage, step: int) -> Losses:
    """The figures of that moment, as they were recorded."""
    database = run_state.files.database
    figures: dict[str, Any] = {}
    losses, values = database.curve("train_loss", way)
    if len(losses):
        figures["train_loss"] = float(values[-1])
    evaluated, values = database.curve("val_loss", way)
    if len(evaluated):
        # a loss that is no number is never the best one
        best = int(np.where(np.isnan(values), np.inf, values).argmin())
        figures |= {
            "val_loss": float(values[-1]),
            "val_measured": run_state.losses.val_measured,
            "evaluated_step": int(evaluated[-1]),
            "best_val_loss": float(values[best]),
            "best_step": int(evaluated[best]),
        }
    return Losses(**figures)
