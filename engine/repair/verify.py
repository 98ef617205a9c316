"""Check the settings, the database and the checkpoints of a run. Nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.errors import InputError, reason_of
from data.paths import describe_os_error
from engine.checkpoint.store import Damaged, copy_of_database, read_checkpoint
from engine.metrics import Steps
from engine.repair.repair import config_differences, find_damage
from engine.runs.checkpoint_names import (
    CHECKPOINTS_FOLDER,
    branch_of,
    is_full,
    list_checkpoints,
    list_snapshots,
    step_of,
)
from engine.runs.database import RunDatabase, Unreadable, reading
from engine.runs.folder import CONFIG_FILE, DATABASE_FILE, read_run_config
from engine.runs.lineage import END
from engine.runs.own_files import find_foreign

EVERY_STEP = "train_loss"  # what is recorded of each step
MOST_BRANCHES = 10_000  # each of them is read


@dataclass(frozen=True)
class Check:
    part: str  # ``config``, ``database``, ``checkpoint`` or ``replay``
    found: str  # what was checked, and the result
    is_fine: bool = True  # whether it is as it was written


def verify_files(run: Path) -> list[Check]:
    """Check all files of a run; another program may be training it."""
    checkpoints = list_checkpoints(run)  # first: what is saved later may not be recorded yet
    newest = checkpoints[-1] if checkpoints else None
    config, database = _check_config(run, newest), _check_database(run, newest)
    return [*_check_kinds(run), config, *database, *_check_checkpoints(run)]


def _check_kinds(run: Path) -> list[Check]:
    """Report what is in the folder and no file of the run, such as a link."""
    path, told = find_foreign(run)
    if not told:
        return []
    parts = {CHECKPOINTS_FOLDER: "checkpoint", CONFIG_FILE: "config"}
    part = parts.get(path.relative_to(run).parts[0], "database") if path != run else "config"
    return [Check(part, told, False)]


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
        except (InputError, OSError) as error:
            if path.exists():  # else it was removed meanwhile
                told = error.what if isinstance(error, Damaged) else str(error)
                told = describe_os_error(error) if isinstance(error, OSError) else told
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
    except OSError as error:
        told = f"{run / DATABASE_FILE} cannot be read ({reason_of(error)})"
        return [Check("database", told, False)]
    problems = [told for one in histories for told in one.problems()]
    if problems:
        return [Check("database", problem, False) for problem in problems]
    steps = sum(len(one.steps) for one in histories)
    return [Check("database", f"{steps:,} steps, each recorded once")]


def in_ranges(ranges: Sequence[tuple[int, int]], most: int = 5) -> str:
    """Format ranges, their ends included: ``3 to 7, 12``; those beyond ``most`` are counted."""
    told = [f"{one:,} to {last:,}" if last > one else f"{one:,}" for one, last in ranges[:most]]
    more = [f"and {len(ranges) - most:,} ranges more"] if len(ranges) > most else []
    return ", ".join(told + more)


@dataclass(frozen=True)
class _History:
    """The steps recorded on a segment, which should be all from ``first`` to ``last``."""

    branch: int
    first: int
    last: int
    steps: Steps

    def problems(self) -> Iterator[str]:
        where = f" on branch {self.branch}" if self.branch else ""
        there = np.unique(self.steps)
        if len(there) < len(self.steps):
            yield f"some steps are recorded twice{where}"
        gaps = _gaps(there[(there >= self.first) & (there <= self.last)], self.first, self.last)
        if gaps:
            missing = sum(last - one + 1 for one, last in gaps)
            yield f"{missing:,} steps are missing{where}: {in_ranges(gaps)}"


def _gaps(steps: Steps, first: int, last: int) -> list[tuple[int, int]]:
    """Return the ranges from ``first`` to ``last`` that are not among rising steps (n,)."""
    edges = np.concatenate([[first - 1], steps, [last + 1]]).astype(np.int64)
    before = np.flatnonzero(np.diff(edges) > 1)
    return [(int(edges[i]) + 1, int(edges[i + 1]) - 1) for i in before]


def _histories(database: RunDatabase, newest: Path | None) -> Iterator[_History]:
    """Yield the segments of the run, up to its newest checkpoint at least, and those it left."""
    branch, saved = (branch_of(newest), step_of(newest)) if newest else (0, 0)
    lineage = database.lineage(branch)
    if len(database.branches()) > MOST_BRANCHES:
        raise Unreadable(database.path, f"it has more than {MOST_BRANCHES:,} branches")
    for one in (*lineage, *lineage.abandoned()):
        steps, _ = database.curve(EVERY_STEP, [one])
        reached = max(int(steps.max(initial=0)), saved if one.branch == branch else 0)
        last = reached if one.up_to == END else one.up_to
        yield _History(one.branch, max(one.after, 0) + 1, last, steps)
