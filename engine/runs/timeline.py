"""The timeline of a run: evaluations, samples and checkpoints by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.runs.checkpoint_names import is_full, is_pinned, list_snapshots, step_of
from engine.runs.database import reading
from engine.runs.records import StoredSample


@dataclass(frozen=True)
class Moment:
    """A step with an evaluation, samples or a checkpoint."""

    step: int
    val_loss: float | None  # measured at this very step
    weights: str  # on the disk: "full" to continue from, "light" to sample from, or empty
    samples: tuple[StoredSample, ...]  # the texts generated then, as ``RunDatabase.samples``
    pinned: bool = False  # whether the weights are kept for good


def read_moments(run: Path, branch: int) -> list[Moment]:
    """Read the moments of the lineage of a branch, by step.

    Raises:
        InputError: The run's database is damaged.
    """
    with reading(run) as database:
        lineage = database.lineage(branch)
        steps, values = database.curve("val_loss", lineage)
        samples: dict[int, list[StoredSample]] = {}
        for one in database.samples():
            if lineage.holds_moment(one["branch"], one["step"]):
                samples.setdefault(one["step"], []).append(one)
    losses = dict(zip(steps.tolist(), values.tolist(), strict=True))
    weights: dict[int, list[Path]] = {}  # of several branches, if the run has gone back to a step
    for path in list_snapshots(run):
        if lineage.holds_checkpoint(path):
            weights.setdefault(step_of(path), []).append(path)
    return [
        Moment(
            step,
            losses.get(step),
            _kind_of(weights.get(step, ())),
            tuple(samples.get(step, ())),
            any(map(is_pinned, weights.get(step, ()))),
        )
        for step in sorted({*losses, *samples, *weights})
    ]


def _kind_of(weights: Sequence[Path]) -> str:
    if not weights:
        return ""
    return "full" if any(map(is_full, weights)) else "light"


@dataclass(frozen=True)
class Abandoned:
    """A segment that a run was rewound from."""

    steps: np.ndarray  # those trained on it, (n,) rising
    losses: np.ndarray  # their training losses, (n,)
    moments: list[Moment]  # of it and of all that came before it

    @property
    def last(self) -> int:
        """Its last step; 0 if it has none."""
        return int(self.steps[-1]) if len(self.steps) else 0


def read_abandoned(run: Path, branch: int) -> list[Abandoned]:
    """Read the segments that a run was rewound from, seen from a branch, the oldest first.

    Raises:
        InputError: The run's database is damaged.
    """
    with reading(run) as database:
        segments = database.lineage(branch).abandoned()
        curves = [database.curve("train_loss", [one]) for one in segments]
    return [
        Abandoned(steps, losses, read_moments(run, one.branch))
        for one, (steps, losses) in zip(segments, curves, strict=True)
    ]


def read_samples(run: Path, branch: int = 0, last: int | None = None) -> list[StoredSample]:
    """Read the samples of the lineage of a branch, oldest first.

    Args:
        last: The id of the newest text to read; all if None.

    Raises:
        InputError: The run's database is damaged.
    """
    with reading(run) as database:
        lineage = database.lineage(branch)
        kept = [one for one in database.samples() if last is None or one["id"] <= last]
    return [one for one in kept if lineage.holds_moment(one["branch"], one["step"])]


def figures_at(steps: np.ndarray, values: np.ndarray, step: int) -> float | None:
    """Return the value of a metric at a step, or else the last one before it."""
    row = int(np.searchsorted(steps, step, side="right")) - 1
    return float(values[row]) if row >= 0 else None
