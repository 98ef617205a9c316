"""The losses of a run over steps, tokens or time, for charts that show several runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from data.errors import InputError
from data.paths import real_path
from engine.config.schema import tokens_per_step
from engine.metrics import Column, Steps, Values
from engine.runs.comparison import ComparedRun
from engine.runs.database import Curve, reading
from engine.runs.folder import CONFIG_FILE, list_runs
from engine.runs.notes import read_notes

LOSSES = ("train_loss", "val_loss")
SIZE_OF_STEP = ("train.batch_size", "train.grad_accum_steps")
MILLISECONDS = 1000
FURTHEST = 2**53  # tokens or milliseconds: whole numbers are exact up to there
OF_AN_EPOCH = 1000  # parts of one: places are whole numbers
FAR_STEPS = 1_000_000  # how far tokens are known beyond the last figures of a run in training


class Axis(StrEnum):
    STEPS = "steps"
    TOKENS = "tokens"
    EPOCHS = "epochs"
    SECONDS = "training time"


@dataclass(frozen=True)
class LossCurves:
    losses: dict[str, Curve]  # training and validation loss, or other metrics, by name
    clock: Curve  # seconds of training by step
    tokens: Curve  # knots (step, tokens) between which tokens rise evenly
    epochs_per_token: float = 0.0  # 0 if that is not known

    def along(self, axis: Axis, metric: str) -> tuple[Steps, Values]:
        """Return a loss over steps, tokens, parts of an epoch or milliseconds of training.

        Returns:
            Places (n,), whole numbers that do not fall, and values (n,).
        """
        curve = self.losses[metric]
        if axis is Axis.STEPS:
            return curve.steps, curve.values
        known, unit = (self.clock, MILLISECONDS) if axis is Axis.SECONDS else (self.tokens, 1.0)
        if axis is Axis.EPOCHS:
            unit = OF_AN_EPOCH * self.epochs_per_token
        most = FURTHEST / max(unit, 1.0)
        places = np.interp(curve.steps, known.steps, np.minimum(known.values, most))
        return np.round(unit * places).astype(np.int64), curve.values


@dataclass(frozen=True)
class Recorded:
    """What a run has recorded, along its present branch."""

    names: list[str]  # of its metrics
    references: Mapping[str, float]  # what does not change: ``engine.metric_catalogue``


def read_recorded(run: Path) -> Recorded:
    """Read which metrics a run has recorded.

    Raises:
        InputError: Its database is damaged.
    """
    with reading(run) as database:
        branches = {one.branch for one in database.present_lineage()}
        names = database.metric_names(*branches)
        return Recorded(names, database.meta().get("references", {}))


def read_loss_curves(run: ComparedRun, metrics: Sequence[str] = LOSSES) -> LossCurves:
    """Read the losses of a run, or other metrics, along its present branch.

    Raises:
        InputError: Its database is damaged.
    """
    with reading(run.path) as database:
        lineage = database.present_lineage()
        losses = {name: database.curve(name, lineage) for name in metrics}
        clock = _clock(database.curve("train_seconds", lineage))
    tokens = run.summary.tokens
    return LossCurves(losses, clock, _knots(run), run.summary.epoch / tokens if tokens else 0.0)


@dataclass(frozen=True)
class Parent:
    name: str  # what it is called now, or was then if it is gone
    path: Path | None  # its folder; None if it is gone
    branch: int  # the branch that it was forked from
    step: int  # at which it was forked


def read_parent(run: Path) -> Parent | None:
    """Read which run a run was forked from; None if it is not a fork.

    Raises:
        InputError: The run's database is damaged.
    """
    run = real_path(run)
    with reading(run) as database:
        known = database.meta().get("parent")
    if not known:
        return None
    for folder in (run.parent / known["run"], *_renamed(run.parent, known["run"])):
        if (folder / CONFIG_FILE).is_file():
            return Parent(folder.name, folder, known["branch"], known["step"])
    return Parent(known["run"], None, known["branch"], known["step"])


def name_of_parent(run: Path) -> str:
    """Return the present name of the run that a run was forked from; empty if it is not a fork.

    Raises:
        InputError: The run's database is damaged.
    """
    parent = read_parent(run)
    if parent is None:
        return ""
    return parent.name if parent.path else f"{parent.name} (not here any more)"


def _renamed(runs_dir: Path, name: str) -> Iterator[Path]:
    for folder in list_runs(runs_dir):
        with suppress(InputError):  # a run whose notes are damaged is not known by other names
            if name in (real_path(folder).name, *read_notes(folder).formerly):
                yield folder


def ghost_of_parent(run: Path) -> tuple[str, Column | None]:
    """Read how the parent of a fork went on, for the chart of the fork.

    Returns:
        The name of the parent and its later training loss; nothing where it is not a fork, or the
        parent is gone, damaged or went no further.
    """
    try:
        parent = read_parent(run)
        if parent is None or parent.path is None:
            return "", None
        with reading(parent.path) as database:
            if all(one.id != parent.branch for one in database.branches()):
                return "", None
            steps, values = database.curve("train_loss", database.lineage(parent.branch))
    except InputError:  # the parent has its own screen to say so
        return "", None
    later = steps > parent.step
    if not later.any():
        return "", None
    ghost = Column()
    ghost.extend(steps[later], values[later])
    return parent.name, ghost


def _clock(seconds: Curve) -> Curve:
    """Return seconds that start at 0, never decrease and are finite."""
    sound = np.isfinite(seconds.values)
    rising = np.maximum.accumulate(np.maximum(seconds.values[sound], 0.0))
    return Curve(
        np.concatenate([[0], seconds.steps[sound]]).astype(np.int64),
        np.concatenate([[0.0], rising]),
    )


def _knots(run: ComparedRun) -> Curve:
    """Return tokens by step: linear between changes of the batch size.

    The tokens of a fork's parent are taken to be linear, too.
    """
    began, now = run.summary.parent_step or 0, max(run.summary.step, 0)
    knots, tokens, config = [began], [0.0], run.config
    for change in (one for one in run.changes if one.key in SIZE_OF_STEP):
        _extend(knots, tokens, max(change.step, began), tokens_per_step(config))
        config = config.check({change.key: change.value})[0]
    size = tokens_per_step(config)
    _extend(knots, tokens, max(now, knots[-1]), size)
    before = max(run.summary.tokens - tokens[-1], 0.0) if began else 0.0
    # a run in training has come further than its summary
    far = knots[-1] + FAR_STEPS
    return Curve(
        np.array([0, *knots, far], np.int64),
        np.array([0.0, *(before + t for t in tokens), before + tokens[-1] + FAR_STEPS * size]),
    )


def _extend(knots: list[int], tokens: list[float], step: int, size: int) -> None:
    tokens.append(tokens[-1] + (step - knots[-1]) * size)
    knots.append(step)
