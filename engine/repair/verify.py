"""Check the settings, the database and the checkpoints of a run. Nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.errors import InputError
from engine.checkpoint.store import Damaged, copy_of_database, read_checkpoint
from engine.repair.repair import config_differences, find_damage
from engine.runs.checkpoint_names import (
    branch_of,
    is_full,
    list_checkpoints,
    list_snapshots,
    step_of,
)
from engine.runs.database import RunDatabase, reading
from engine.runs.folder import CONFIG_FILE
from engine.runs.lineage import END
from engine.runs.open import read_run_config

EVERY_STEP = "train_loss"  # what is recorded of each step


@dataclass(frozen=True)
class Check:
    part: str  # ``config``, ``database``, ``checkpoint`` or ``replay``
    found: str  # what was checked, and the result
    is_fine: bool = True  # whether it is as it was written


def verify_files(run: Path) -> list[Check]:
    """Check all files of a run; another program may be training it."""
    checkpoints = list_checkpoints(run)  # first: what is saved later may not be recorded yet
    newest = checkpoints[-1] if checkpoints else None
    return [_check_config(run, newest), *_check_database(run, newest), *_check_checkpoints(run)]


def _check_config(run: Path, newest: Path | None) -> Check:
    try:
        config = read_run_config(run)
    except InputError as error:
        return Check("config", str(error), False)
    if newest:
        with suppress(InputError):  # the checkpoint is damaged: another check reports it
            different = config_differences(run, config)
            if different:
                return Check("config", f"{CONFIG_FILE} was changed: {'; '.join(different)}", False)
    return Check("config", "every setting is valid")


def _check_checkpoints(run: Path) -> list[Check]:
    problems, whole = [], 0
    for path in list_snapshots(run):
        try:
            read_checkpoint(path, with_optimizer=is_full(path))
            whole += 1
            copy_of_database(path)
        except InputError as error:
            if path.exists():  # else it was removed meanwhile
                told = error.what if isinstance(error, Damaged) else str(error)
                problems.append(Check("checkpoint", told, False))
    if problems and not whole:
        return [*problems, Check("checkpoint", "none is intact: put one back from a copy", False)]
    return [*problems, Check("checkpoint", f"{whole:,} intact, as their hashes say")]


def _check_database(run: Path, newest: Path | None) -> list[Check]:
    try:
        damage = find_damage(run)
        if damage:
            raise damage
        with reading(run) as database:
            histories = list(_histories(database, newest))
    except InputError as error:
        return [Check("database", str(error), False)]
    problems = [told for one in histories for told in one.problems()]
    if problems:
        return [Check("database", problem, False) for problem in problems]
    steps = sum(len(one.steps) for one in histories)
    return [Check("database", f"{steps:,} steps, none missing and none twice")]


def in_ranges(steps: np.ndarray, most: int = 5) -> str:
    """Format rising steps (n,) int64: ``3 to 7, 12``; ranges beyond ``most`` are counted."""
    runs = np.split(steps, np.flatnonzero(np.diff(steps) > 1) + 1)
    told = [f"{run[0]:,} to {run[-1]:,}" if len(run) > 1 else f"{run[0]:,}" for run in runs]
    more = [f"and {len(told) - most:,} ranges more"] if len(told) > most else []
    return ", ".join(told[:most] + more)


@dataclass(frozen=True)
class _History:
    """The steps recorded on a segment, which should be all from ``first`` to ``last``."""

    branch: int
    first: int
    last: int
    steps: np.ndarray

    def problems(self) -> Iterator[str]:
        where = f" on branch {self.branch}" if self.branch else ""
        if len(np.unique(self.steps)) < len(self.steps):
            yield f"some steps are recorded twice{where}"
        missing = np.setdiff1d(np.arange(self.first, self.last + 1), self.steps)
        if len(missing):
            yield f"{len(missing):,} steps are missing{where}: {in_ranges(missing)}"


def _histories(database: RunDatabase, newest: Path | None) -> Iterator[_History]:
    """Yield the segments of the run, up to its newest checkpoint at least, and those it left."""
    branch, saved = (branch_of(newest), step_of(newest)) if newest else (0, 0)
    lineage = database.lineage(branch)
    for one in (*lineage, *lineage.abandoned()):
        steps, _ = database.curve(EVERY_STEP, [one])
        reached = max([*steps.tolist(), saved if one.branch == branch else 0])
        last = reached if one.up_to == END else one.up_to
        yield _History(one.branch, max(one.after, 0) + 1, last, steps)
