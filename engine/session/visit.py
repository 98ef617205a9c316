"""A run at any of its steps, to look at: nothing is written, and others may be training it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from data.errors import InputError
from engine.checkpoint.store import find_checkpoint
from engine.machine.allocator import keep_freed_memory
from engine.machine.progress import now_and_then
from engine.metrics import MetricStore
from engine.runs.checkpoint_names import branch_of, list_checkpoints, step_of
from engine.runs.curves import name_of_parent
from engine.runs.database import RunDatabase, Unreadable
from engine.runs.folder import DATABASE_FILE
from engine.runs.open import Watcher, look_at_run
from engine.session.recorder import Recorder
from engine.session.rewind import lead_to
from engine.session.run_state import RunState
from engine.training.trainer import Runtime, Trainer


@contextmanager
def visit(path: Path, step: int | None, report: Callable[[str], None]) -> Iterator[RunState]:
    """The run as it was at a step, trained again from its nearest checkpoint where need be.

    Args:
        path: The run's folder.
        step: None takes the latest checkpoint.
        report: Takes lines on what is being done and what is not exact.

    A step that only a line of history reached which the run has left is found there.

    Raises:
        InputError: It was never at that step, or its files are damaged.
    """
    latest = find_checkpoint(path, "latest")
    if step is None:
        step = step_of(latest)
    files = look_at_run(path, Watcher(report, lambda: False))
    try:
        known = files.database.meta().get("runtime")
        if not known:
            raise Unreadable(path / DATABASE_FILE, "its content is gone")
        runtime = Runtime(**known["resolved"])
        keep_freed_memory()
        torch.set_num_threads(runtime.threads)
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
    """The newest line of history that has a step; the present one, if it has."""
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
