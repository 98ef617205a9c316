"""The past of a run, moment by moment: what was measured, written and kept at each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.runs.checkpoint_names import is_full, is_pinned, list_snapshots, step_of
from engine.runs.database import RunDatabase
from engine.runs.folder import DATABASE_FILE
from engine.runs.lineage import Lineage
from engine.runs.summary import open_database


@dataclass(frozen=True)
class Moment:
    """A step at which something was measured, written or kept.

    Attributes:
        step: Steps done.
        val_loss: Measured at this very step; None if it was not.
        weights: Whether the weights are on the disk: ``full`` to go on from, ``light`` to sample
            from, or an empty string.
        samples: The texts written then, as ``RunDatabase.samples`` gives them.
        pinned: Whether the weights are kept for good.
    """

    step: int
    val_loss: float | None
    weights: str
    samples: tuple[dict[str, Any], ...]
    pinned: bool = False


def read_moments(run: Path, branch: int) -> list[Moment]:
    """The moments of a line of history and of what it came from, by step.

    Raises:
        InputError: The run's database is damaged.
    """
    database = RunDatabase(run / DATABASE_FILE, read_only=True)
    try:
        way = database.lineage(branch)
        steps, values = database.curve("val_loss", way)
        losses = dict(zip(steps.tolist(), values.tolist(), strict=True))
        samples: dict[int, list[dict[str, Any]]] = {}
        for one in database.samples():
            if way.holds_moment(one["branch"], one["step"]):
                samples.setdefault(one["step"], []).append(one)
    finally:
        database.close()
    weights = kept_weights(run, way)
    return [
        Moment(
            step,
            losses.get(step),
            "" if step not in weights else "full" if is_full(weights[step]) else "light",
            tuple(samples.get(step, ())),
            step in weights and is_pinned(weights[step]),
        )
        for step in sorted({*losses, *samples, *weights})
    ]


@dataclass(frozen=True)
class Abandoned:
    """A stretch that a run went back from.

    Attributes:
        steps: Those trained on it, (n,) rising.
        losses: Their training losses, (n,).
        moments: Of it and of all that came before it.
    """

    steps: np.ndarray
    losses: np.ndarray
    moments: list[Moment]

    @property
    def last(self) -> int:
        """Its last step; 0 if it has none."""
        return int(self.steps[-1]) if len(self.steps) else 0


def read_abandoned(run: Path, branch: int) -> list[Abandoned]:
    """The stretches that a run went back from, as seen from a line of history, the oldest first.

    Raises:
        InputError: The run's database is damaged.
    """
    database = RunDatabase(run / DATABASE_FILE, read_only=True)
    try:
        stretches = database.lineage(branch).abandoned()
        curves = [database.curve("train_loss", [one]) for one in stretches]
    finally:
        database.close()
    return [
        Abandoned(steps, losses, read_moments(run, one.branch))
        for one, (steps, losses) in zip(stretches, curves, strict=True)
    ]


def read_samples(run: Path, branch: int = 0, last: int | None = None) -> list[dict[str, Any]]:
    """The texts of a line of history and of what it came from, oldest first.

    Args:
        run: The run's folder.
        branch: The line of history.
        last: The id of the newest text to read; all if None.

    Raises:
        InputError: The run's database is damaged.
    """
    with open_database(run.resolve()) as database:
        if database is None:
            return []
        way = database.lineage(branch)
        kept = [one for one in database.samples() if last is None or one["id"] <= last]
        return [one for one in kept if way.holds_moment(one["branch"], one["step"])]


def kept_weights(run: Path, way: Lineage) -> dict[int, Path]:
    """The checkpoints along a lineage, light ones too, by step."""
    return {step_of(path): path for path in list_snapshots(run) if way.holds_checkpoint(path)}


def figures_at(steps: np.ndarray, values: np.ndarray, step: int) -> float | None:
    """The value of a metric at a step, or the last one before it.

    Args:
        steps: (n,) rising.
        values: (n,) of those steps.
        step: Any.
    """
    row = int(np.searchsorted(steps, step, side="right")) - 1
    return float(values[row]) if row >= 0 else None
