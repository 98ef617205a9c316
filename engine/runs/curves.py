"""The losses of a run over steps, tokens or time, for charts that show several runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import InputError
from engine.config.schema import tokens_per_step
from engine.metrics import Column, Steps, Values
from engine.runs.comparison import ComparedRun
from engine.runs.folder import CONFIG_FILE, list_runs
from engine.runs.notes import read_notes
from engine.runs.summary import open_database, present_branch

LOSSES = ("train_loss", "val_loss")
SIZE_OF_STEP = ("train.batch_size", "train.grad_accum_steps")
MILLISECONDS = 1000
FAR_STEPS = 1_000_000  # how far tokens are known beyond the last figures of a run in training


class Axis(StrEnum):
    """What a course is drawn over."""

    STEPS = "steps"
    TOKENS = "tokens"
    SECONDS = "training time"


@dataclass(frozen=True)
class Curve:
    """A metric of a run by step: ``steps`` (n,) rising, ``values`` (n,)."""

    steps: Steps
    values: Values


NOTHING = Curve(np.array([], np.int64), np.array([], np.float64))


@dataclass(frozen=True)
class LossCurves:
    """The losses of a run, and how many tokens and how much time they had taken.

    Attributes:
        losses: Training and validation loss by name.
        clock: Seconds of training by step.
        tokens: Knots (step, tokens) between which tokens rise evenly.
    """

    losses: dict[str, Curve]
    clock: Curve
    tokens: Curve

    def along(self, axis: Axis, metric: str) -> tuple[Steps, Values]:
        """A loss over steps, tokens or milliseconds of training.

        Returns:
            Places (n,), whole numbers that do not fall, and values (n,).
        """
        curve = self.losses[metric]
        if axis is Axis.STEPS:
            return curve.steps, curve.values
        if axis is Axis.TOKENS:
            places = np.interp(curve.steps, self.tokens.steps, self.tokens.values)
        else:
            places = MILLISECONDS * np.interp(curve.steps, self.clock.steps, self.clock.values)
        return np.round(places).astype(np.int64), curve.values


def read_loss_curves(run: ComparedRun) -> LossCurves:
    """The losses of a run along the line of history that it goes on with.

    Raises:
        InputError: Its database is damaged.
    """
    with open_database(run.path) as database:
        if database is None:
            return LossCurves(dict.fromkeys(LOSSES, NOTHING), _clock(NOTHING), _knots(run))
        way = database.lineage(present_branch(run.path))
        losses = {name: Curve(*database.curve(name, way)) for name in LOSSES}
        clock = _clock(Curve(*database.curve("train_seconds", way)))
    return LossCurves(losses, clock, _knots(run))


@dataclass(frozen=True)
class Origin:
    """Where a fork comes from: a step on a line of history of another run."""

    path: Path
    branch: int
    step: int


def find_origin(path: Path) -> Origin | None:
    """Where a run was forked off, if it was and that run is still there beside it.

    Raises:
        InputError: The run's database is damaged.
    """
    with open_database(path.resolve()) as database:
        parent = database.meta().get("parent") if database else None
    if not parent:
        return None
    for folder in (path.resolve().parent / parent["run"], *_renamed(path.resolve().parent, parent)):
        if (folder / CONFIG_FILE).is_file():
            return Origin(folder, parent["branch"], parent["step"])
    return None


def name_of_parent(path: Path) -> str:
    """What the run that a run was forked from is called now; nothing if it is no fork.

    Raises:
        InputError: The run's database is damaged.
    """
    origin = find_origin(path)
    if origin:
        return origin.path.name
    with open_database(path.resolve()) as database:
        parent = database.meta().get("parent") if database else None
    return f"{parent['run']} (not here any more)" if parent else ""


def _renamed(runs_dir: Path, parent: dict[str, Any]) -> Iterator[Path]:
    for folder in list_runs(runs_dir):
        with suppress(InputError):  # a run whose notes are damaged is not known by other names
            if parent["run"] in read_notes(folder).formerly:
                yield folder


def read_later_curve(origin: Origin, metric: str = "train_loss") -> Curve:
    """How a metric of the run that was forked went on, on the same line of history.

    Raises:
        InputError: That run's database is damaged.
    """
    with open_database(origin.path) as database:
        if database is None or all(one.id != origin.branch for one in database.branches()):
            return NOTHING
        way = database.lineage(origin.branch)
        steps, values = database.curve(metric, way)
    later = steps > origin.step
    return Curve(steps[later], values[later])


def ghost_of_parent(run: Path) -> tuple[str, Column | None]:
    """How the run that another one was forked off went on, for that one's chart.

    Returns:
        The name of the parent and its later training loss; nothing where it is not a fork, or the
        parent is gone, damaged or went no further.
    """
    try:
        origin = find_origin(run)
        later = read_later_curve(origin) if origin else NOTHING
    except InputError:  # the parent has its own screen to say so
        return "", None
    if origin is None or not len(later.steps):
        return "", None
    ghost = Column()
    ghost.extend(later.steps, later.values)
    return origin.path.name, ghost


def _clock(seconds: Curve) -> Curve:
    """Seconds that never fall and are always numbers, from 0 on."""
    sound = np.isfinite(seconds.values)
    rising = np.maximum.accumulate(np.maximum(seconds.values[sound], 0.0))
    return Curve(
        np.concatenate([[0], seconds.steps[sound]]).astype(np.int64),
        np.concatenate([[0.0], rising]),
    )


def _knots(run: ComparedRun) -> Curve:
    """Tokens by step: between changes of the batch they rise evenly.

    How a fork's parent came to its tokens is not known here: evenly, it is taken to be.
    """
    began, now = run.summary.parent_step or 0, max(run.summary.step, 0)
    knots, tokens, config = [began], [0.0], run.config
    for change in (one for one in run.changes if one.key in SIZE_OF_STEP):
        _go_on(knots, tokens, max(change.step, began), tokens_per_step(config))
        config = config.check({change.key: change.value})[0]
    size = tokens_per_step(config)
    _go_on(knots, tokens, max(now, knots[-1]), size)
    before = max(run.summary.tokens - tokens[-1], 0.0) if began else 0.0
    # a run in training has come further than its summary
    far = knots[-1] + FAR_STEPS
    return Curve(
        np.array([0, *knots, far], np.int64),
        np.array([0.0, *(before + t for t in tokens), before + tokens[-1] + FAR_STEPS * size]),
    )


def _go_on(knots: list[int], tokens: list[float], step: int, size: int) -> None:
    tokens.append(tokens[-1] + (step - knots[-1]) * size)
    knots.append(step)
