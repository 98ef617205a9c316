"""Train a run again from its settings and its journal, and compare it with what it recorded."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from data.download import Watcher
from data.errors import InputError
from engine.checkpoint.store import Snapshot, model_tensors, optimizer_tensors, read_checkpoint
from engine.machine.memory import keep_freed_memory, refusing_failures
from engine.metrics import MetricStore
from engine.runs.checkpoint_names import (
    branch_of,
    is_full,
    list_checkpoints,
    list_snapshots,
    step_of,
)
from engine.runs.known_text import NOWHERE_ELSE, Places
from engine.runs.open import look_at_run
from engine.runs.records import JournalEntry
from engine.session.outlet import now_and_then
from engine.session.recorder import Recorder
from engine.session.rewind import untrained
from engine.session.run_state import RunState
from engine.training.runtime import (
    hardware,
    is_usable,
    no_room,
    use_threads,
    versions,
)
from engine.training.trainer import Runtime, Trainer


@dataclass(frozen=True)
class Replay:
    """The result of training a run again."""

    first_step: int  # that was trained again
    last_step: int
    checkpoints: tuple[int, ...]  # the steps of those whose weights were compared
    differs_at: int | None = None  # the first step at which the bits differ
    difference: str = ""  # what differs there
    caveats: tuple[str, ...] = ()  # why the same bits cannot be promised here, if so

    @property
    def described(self) -> str:
        what = f"steps {self.first_step:,} to {self.last_step:,}"
        if self.differs_at is not None:
            return f"{what}: step {self.differs_at:,} is the first that differs: {self.difference}"
        if self.last_step < self.first_step:
            return "nothing is trained yet"
        several = len(self.checkpoints) > 1
        weights = f" and the weights of {len(self.checkpoints)} checkpoint{'s' * several}"
        return f"{what}{weights if self.checkpoints else ''}: the same bits"


def replay(run: Path, report: Callable[[str], None], places: Places = NOWHERE_ELSE) -> Replay:
    """Train a run again, up to its last recorded step or the first difference.

    A fork begins with its first checkpoint, any other run with its settings alone.

    Args:
        places: Where its texts are now, if they are not where they were.

    Raises:
        InputError: Its settings, database or text cannot be read, or a fork's beginning is gone.
    """
    files = look_at_run(run, Watcher(now_and_then(report)), places)
    try:
        known = files.database.meta().get("runtime")
        if not known:
            raise InputError(f"the run {run.name!r} ended before its first step: nothing to replay")
        runtime = Runtime(**known["resolved"])
        if not is_usable(runtime.device):
            raise InputError(f"the run was trained on {runtime.device}, which is not available")
        keep_freed_memory()
        with refusing_failures(no_room(runtime.device)):
            trainer = Trainer(files.config, runtime, files.split, files.tokenizer.vocab_size)
            run_state = RunState(files, trainer, Recorder(files.database, MetricStore()))
            run_state.recorder.branch = files.database.present_lineage().branch
            return _Replaying(run_state, report).run()
    finally:
        files.close()


class _Replaying:
    def __init__(self, run_state: RunState, report: Callable[[str], None]) -> None:
        self._run_state, self._report = run_state, report
        self._report_progress = now_and_then(report)
        database = run_state.files.database
        self._way = database.lineage(run_state.recorder.branch)
        steps, losses = database.curve("train_loss", self._way)
        self._losses = dict(zip(steps.tolist(), losses.tolist(), strict=True))
        self._runtimes = _runtimes(database.journal("runtime"))
        there = list_snapshots(run_state.files.path)
        on_way = [path for path in there if self._way.holds_checkpoint(path)]
        # of a step that the run was rewound to, the checkpoint of the parent branch, which is first
        self._saved = {step_of(path): path for path in reversed(on_way)}
        self._compared: list[int] = []

    def run(self) -> Replay:
        run_state, trainer = self._run_state, self._run_state.trainer
        self._begin()
        first, last = trainer.step + 1, max(self._losses, default=trainer.step)
        result = Replay(first, last, (), caveats=tuple(self._caveats()))
        difference = ""
        while trainer.step < last and not difference:
            self._report_progress(f"trained again: step {run_state.step:,} of {last:,}")
            self._compute_as_it_did()
            run_state.apply_journal(self._report)
            loss = float(trainer.train_step().loss)
            difference = self._difference(loss)
        return dataclasses.replace(
            result,
            checkpoints=tuple(self._compared),
            differs_at=trainer.step if difference else None,
            difference=difference,
        )

    def _begin(self) -> None:
        run_state, branch = self._run_state, self._run_state.recorder.branch
        run_state.go_to(_beginning(run_state))
        run_state.recorder.branch = branch
        self._runtimes.setdefault(run_state.step, run_state.trainer.runtime)
        run_state.adjustments.read_journal(run_state.files.database, self._way)

    def _compute_as_it_did(self) -> None:
        """Use what the run computed with at this step; it may change when a run is opened."""
        runtime = self._runtimes.pop(self._run_state.step, None)
        if runtime:
            use_threads(runtime.threads)
            self._run_state.trainer.compute_with(runtime)
            if runtime.compile:
                self._run_state.trainer.compile()

    def _difference(self, loss: float) -> str:
        """Describe how this step differs from the recorded one; empty if it does not."""
        step = self._run_state.step
        recorded = self._losses.get(step)
        if recorded is None:
            return "it was not recorded"
        if loss != recorded and not (math.isnan(loss) and math.isnan(recorded)):
            return f"its loss is {loss!r} and was {recorded!r}"
        saved = self._saved_at(step)
        if not saved:
            return ""
        self._compared.append(step)
        return _checkpoint_difference(self._run_state.trainer, saved)

    def _saved_at(self, step: int) -> Snapshot | None:
        """Return the checkpoint of a step, if there is one and it is intact."""
        path = self._saved.get(step)
        try:
            return read_checkpoint(path, with_optimizer=is_full(path)) if path else None
        except InputError:
            return None  # verify reports damaged checkpoints

    def _caveats(self) -> Iterator[str]:
        """Yield reasons why different bits would not be an error."""
        known = self._run_state.files.database.meta()
        device = self._run_state.trainer.runtime.device
        if device != "cpu":
            yield f"it was trained on {device}, whose sums do not always come in the same order"
        parts = [one.processes for one in self._runtimes.values() if one.shard]
        if any(number > 1 for number in parts):
            yield f"its model was divided among {max(parts)} processes, which sum in another order"
        for before, now in (
            (known.get("versions", {}), versions()),
            (known.get("hardware", {}), hardware(device)),
        ):
            yield from (
                f"{name} was {before[name]} and is {value}"
                for name, value in now.items()
                if name in before and before[name] != value
            )


def _beginning(run_state: RunState) -> Snapshot:
    first = run_state.first_step
    if not run_state.files.database.meta().get("parent"):
        return untrained(run_state)
    for path in list_checkpoints(run_state.files.path):
        if (branch_of(path), step_of(path)) == (0, first):
            return read_checkpoint(path)
    raise InputError(
        f"the checkpoint of step {first:,}, with which this fork began, is gone: it cannot be "
        f"trained again"
    )


def _runtimes(journal: list[JournalEntry]) -> dict[int, Runtime]:
    """Return the runtime by the step from which it was used; newer entries override older ones."""
    found: dict[int, Runtime] = {}
    for entry in journal:
        found = {step: one for step, one in found.items() if step < entry["step"]}
        found[entry["step"]] = Runtime(**entry["detail"])
    return found


def _checkpoint_difference(trainer: Trainer, saved: Snapshot) -> str:
    """Describe how a checkpoint differs from the trainer; empty if it does not."""
    ours, theirs = model_tensors(trainer.evaluated_model), saved.model
    if saved.optimizer is not None:
        ours, theirs = ours | optimizer_tensors(trainer), theirs | saved.optimizer
    different = [name for name in theirs if not _same_bits(ours.get(name), theirs[name])]
    more = f" and {len(different) - 1} more" if len(different) > 1 else ""
    return f"{different[0]}{more} in its checkpoint" if different else ""


def _same_bits(ours: Tensor | None, theirs: Tensor) -> bool:
    """Compare bits, so that equal NaNs are equal."""
    if ours is None or ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return False
    one, other = (t.detach().cpu().contiguous().view(-1) for t in (ours, theirs))
    return torch.equal(one.view(torch.uint8), other.view(torch.uint8))
