"""Rank the runs of a queue or a sweep by validation loss."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from engine.runs.folder import is_run
from engine.runs.summary import RunSummary, read_summary
from engine.sweeps.queue import Entry, Queue


@dataclass(frozen=True)
class Place:
    """An entry of the queue.

    Attributes:
        run: Its run, if it has begun.
        rank: None without a validation loss.
        by_bytes: Whether the ranks are by the loss per byte, as the runs have different tokens.
    """

    entry: Entry
    run: RunSummary | None
    rank: int | None
    by_bytes: bool = False

    @property
    def pruned(self) -> str:
        """Why the pruning rule of its sweep has stopped the run; empty if it has not."""
        return self.run.pruned if self.run and self.entry.is_over else ""


def leaderboard(
    queue: Queue, entries: Iterable[Entry], before: Iterable[Place] = ()
) -> list[Place]:
    """Rank entries by the best validation loss of their runs; those without one come last.

    It counts per byte of the text where the runs have different tokens.

    Runs of entries that were over in ``before``, an earlier result, are not read again.
    """
    known = {place.entry.id: place for place in before if place.entry.is_over}
    runs = []
    for entry in entries:
        place = known.get(entry.id)
        unchanged = place and place.entry == entry
        runs.append((entry, place.run if place and unchanged else _summary(queue, entry)))
    tokens = {run.config.data.tokens for _, run in runs if run and run.config}
    by_bytes = len(tokens) > 1
    score = _bits_per_byte if by_bytes else _loss
    runs.sort(key=lambda pair: score(pair[1]))  # stable: otherwise the queue's order stays
    return [
        Place(entry, run, rank if math.isfinite(score(run)) else None, by_bytes)
        for rank, (entry, run) in enumerate(runs, start=1)
    ]


def _summary(queue: Queue, entry: Entry) -> RunSummary | None:
    """Return the run of an entry, even if renamed; None if it has not begun or is deleted."""
    run = queue.runs_dir / entry.run
    path = run if entry.run and is_run(run) else queue.run_of(entry)
    return read_summary(path) if path else None


def _loss(run: RunSummary | None) -> float:
    return _finite(run.best_val_loss if run else None)


def _bits_per_byte(run: RunSummary | None) -> float:
    return _finite(run.best_bits_per_byte if run else None)


def _finite(best: float | None) -> float:
    return math.inf if best is None or not math.isfinite(best) else best
