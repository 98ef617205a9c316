"""A run at any of its steps, to the bit: the nearest checkpoint, and training again from there.

``Rewinder`` takes an open run back to a step; ``visit`` looks at one without changing the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from data.download import Watcher
from data.errors import InputError
from engine.checkpoint.store import Snapshot, find_checkpoint, read_checkpoint
from engine.machine.memory import keep_freed_memory, refusing_failures
from engine.metrics import MetricStore
from engine.protocol import Fork, GoingBack, Rewind, Rewound
from engine.runs.checkpoint_names import (
    LATEST,
    branch_of,
    list_checkpoints,
    list_snapshots,
    step_of,
)
from engine.runs.curves import name_of_parent
from engine.runs.database import RunDatabase, Unreadable
from engine.runs.folder import DATABASE_FILE
from engine.runs.known_text import NOWHERE_ELSE, Places
from engine.runs.lineage import Lineage
from engine.runs.open import look_at_run
from engine.session.outlet import Outlet, now_and_then
from engine.session.recorder import Recorder
from engine.session.run_state import Losses, RunState
from engine.session.saving import Saving
from engine.training.runtime import no_room, use_threads
from engine.training.trainer import Runtime, Trainer

Say = Callable[[str], None]


class Rewinder:
    """Takes a run back to a step; the later steps remain as an abandoned branch.

    Steps that are trained again are not recorded: their figures are known. Results must be read
    and the sampler closed before.
    """

    def __init__(self, run_state: RunState, outlet: Outlet, saving: Saving) -> None:
        self._run_state, self._outlet, self._saving = run_state, outlet, saving
        self.target: int | None = None  # the step to go to, from the command on until it is done
        self.under_way = False  # the trainer is at another step than the run
        self._is_stopped = False

    def check(self, step: int) -> None:
        """Refuse a step that the run cannot go back to.

        Raises:
            InputError: It lies ahead, or before the run begins.
        """
        first, now = self._run_state.first_step, self._run_state.step
        if not first <= step < now:
            what = f"from {first:,} to {now - 1:,}" if first < now else "none: nothing is trained"
            raise InputError(f"the run cannot go back to step {step:,}; the steps it can: {what}")

    def begin(self, step: int) -> None:
        """Note where the next task goes, and say so."""
        self.target, self._is_stopped = step, False
        self._outlet.report_going_back(GoingBack(step), f"going back to step {step:,}")

    def stop(self) -> None:
        """Have the task that goes back end, with the run where it was."""
        self._is_stopped = True

    def end(self) -> None:
        """Note that nothing goes back any more."""
        if self.under_way:
            self.abort()
        self.target, self._saving.needed = None, ""
        self._outlet.report_going_back(None)

    def task(self, command: Rewind) -> Generator[None, None, bool]:
        """Go back to a step that passed ``check``; return whether the run is there.

        If it is not, it is where it was before.
        """
        run_state, left_at, step = self._run_state, self._run_state.step, command.step
        if not (yield from self.go_to(step, command)):
            return False
        run_state.recorder.leave(step)
        self.under_way = False
        self.end()
        self._outlet.journal("rewound", left_at=left_at)
        self._saving.begin()
        config, branch = run_state.trainer.config.to_dict(), run_state.recorder.branch
        self._outlet.tell(Rewound(step, left_at, branch, config, request_id=command.request_id))
        yield from self._saving.until_written()
        return True

    def go_to(self, step: int, command: Rewind | Fork) -> Generator[None, None, bool]:
        """Save the run, then bring the trainer to a step, until ``end``.

        Returns:
            Whether it is there; if not, this has ended, and the user was told why.
        """
        way, left_at = self._run_state.lineage(step), self._run_state.step
        yield from self._saving.until_written()
        before = next(_checkpoints_before(self._run_state, step, way), None)
        self._saving.needed = (
            before.name if before else ""
        )  # else the next one might take its place
        yield from self._saving.task(announce_again=False)
        yield from self._saving.until_written()
        if not self._saving.is_saved:
            self.end()
            return False  # the later steps would be lost
        self.under_way = True
        try:
            for _ in lead_to(self._run_state, step, way, self._outlet.warn, self._tell_way(step)):
                if self._is_stopped:
                    raise InputError(
                        f"not gone back to step {step:,}: the run is at step {left_at:,}, as before"
                    )
                yield
        except InputError as error:
            self.end()
            self._outlet.tell(command.refused(str(error)))
            return False
        self._run_state.losses = _losses_at(self._run_state, way)
        return True

    def _tell_way(self, step: int) -> Say:
        """Return what is called at each step that is trained again, to estimate the time left."""
        began, first = 0.0, -1

        def tell(line: str) -> None:
            nonlocal began, first
            now, at = time.perf_counter(), self._run_state.step
            if first < 0:
                began, first = now, at
            left = (step - at) * (now - began) / (at - first) if at > first else None
            self._outlet.report_going_back(GoingBack(step, left), line)

        return tell

    def abort(self) -> None:
        """Bring the trainer back to where the run is."""
        run_state = self._run_state
        if run_state.trainer.is_lost:
            self.under_way = False
            return
        run_state.go_to(read_checkpoint(self._saving.path))
        run_state.adjustments.read_journal(run_state.files.database, run_state.lineage())
        run_state.apply_journal(self._outlet.warn)  # changes made since that checkpoint
        self.under_way = False


@contextmanager
def visit(
    path: Path, step: int | None, report: Say, places: Places = NOWHERE_ELSE
) -> Iterator[RunState]:
    """Open a run as it was at a step; nothing is written, and others may be training it.

    Args:
        step: None takes the latest checkpoint; one of an abandoned branch is found there.
        report: Called with lines of progress and warnings.
        places: Where its texts are now, if they are not where they were.

    Raises:
        InputError: It was never at that step, or its files are damaged.
    """
    latest = find_checkpoint(path, LATEST)
    if step is None:
        step = step_of(latest)
    files = look_at_run(path, Watcher(now_and_then(report)), places)
    try:
        known = files.database.meta().get("runtime")
        if not known:
            raise Unreadable(path / DATABASE_FILE, "its content is gone")
        runtime = Runtime(**known["resolved"])
        keep_freed_memory()
        use_threads(runtime.threads)
        with refusing_failures(no_room(runtime.device)):
            trainer = Trainer(files.config, runtime, files.split, files.tokenizer.vocab_size)
            run_state = RunState(files, trainer, Recorder(files.database, MetricStore()))
            run_state.recorder.branch = _branch_that_reached(
                files.database, path, step, run_state.first_step
            )
            way = run_state.lineage(step)
            for _ in lead_to(run_state, step, way, report, now_and_then(report)):
                pass
        yield run_state
    finally:
        files.close()


def _branch_that_reached(database: RunDatabase, path: Path, step: int, first: int) -> int:
    """Return the newest branch that has a step; the current one, if it has."""
    ends = {branch_of(one): step_of(one) for one in list_checkpoints(path)}
    for branch in database.branches():
        steps, _ = database.metric(branch.id, "train_loss")
        last = int(steps[-1]) if len(steps) else branch.step
        ends[branch.id] = max(last, ends.get(branch.id, 0))
    reached = [branch for branch, last in ends.items() if last >= step]
    if 0 <= step < first:
        raise InputError(
            f"step {step:,} is of the run that {path.name!r} was forked from at step {first:,}, "
            f"{name_of_parent(path)}: take it from there"
        )
    if not reached or step < first:
        raise InputError(
            f"the run {path.name!r} has steps {first:,} to {max(ends.values()):,}, and not {step:,}"
        )
    return max(reached)


def lead_to(
    run_state: RunState, step: int, way: Lineage, warn: Say, report: Say
) -> Generator[None, None, None]:
    """Bring the trainer to a step, without recording or writing anything.

    Args:
        run_state: The run; its branch stays.
        step: At or before its latest.
        way: The lineage up to it.
        warn: Called with a sentence if the way is not exact.
        report: Called with lines of progress.

    Yields:
        After each micro-batch.
    """
    trainer = run_state.trainer
    start = _nearest_snapshot(run_state, step, way, warn)
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
        seconds = run_state.files.database.curve("train_seconds", way)[1]
        run_state.throughput.restart(
            float(seconds[-1]) if len(seconds) else run_state.throughput.train_seconds
        )
    run_state.adjustments.forget_ahead()


def _checkpoints_before(run_state: RunState, step: int, way: Lineage) -> Iterator[Path]:
    """Yield the checkpoints that training can go on from to a step, the latest first."""
    for path in reversed(list_checkpoints(run_state.files.path)):
        if way.holds_checkpoint(path) and step_of(path) <= step:
            yield path


def _nearest_snapshot(run_state: RunState, step: int, way: Lineage, warn: Say) -> Snapshot:
    """Return the last intact checkpoint at or before a step, else the run before its first step."""
    for path in _checkpoints_before(run_state, step, way):
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


def untrained(run_state: RunState) -> Snapshot:
    """Return a snapshot of the run before its first step."""
    files, runtime = run_state.files, run_state.trainer.runtime
    if run_state.trainer.sharding:  # there may be no room on the device for a whole one
        runtime = replace(runtime, device="cpu")
    trainer = Trainer(files.config, runtime, files.split, files.tokenizer.vocab_size)
    return RunState(files, trainer, run_state.recorder).snapshot()


def kept_checkpoint(run_state: RunState, step: int) -> Path:
    """Return the checkpoint of an earlier step, light or full.

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


def _losses_at(run_state: RunState, way: Lineage) -> Losses:
    """Return the figures at the end of a way, as they were recorded."""
    database = run_state.files.database
    figures: dict[str, Any] = {}
    losses, values = database.curve("train_loss", way)
    if len(losses):
        figures["train_loss"] = float(values[-1])
    evaluated, values = database.curve("val_loss", way)
    if len(evaluated):
        figures |= {
            "val_loss": float(values[-1]),
            "val_measured": run_state.losses.val_measured,
            "evaluated_step": int(evaluated[-1]),
        }
        # a loss that is not a number is never the best one, nor is one of the run it was forked
        # from, which has the weights
        own = np.where(np.isnan(values) | (evaluated < run_state.first_step), np.inf, values)
        best = int(own.argmin())
        if np.isfinite(own[best]):
            figures |= {"best_val_loss": float(own[best]), "best_step": int(evaluated[best])}
    return Losses(**figures)
