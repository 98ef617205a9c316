"""Rank the runs of a queue or a sweep by validation loss."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from engine.runs.folder import CONFIG_FILE
from engine.runs.summary import RunSummary, read_summary
from engine.sweeps.queue import Queue
from engine.sweeps.queue_entry import Entry


@dataclass(frozen=True)
class Place:
    """An entry of the queue, its run if it has begun, and its rank if it has a validation loss."""

    entry: Entry
    run: RunSummary | None
    rank: int | None


def leaderboard(entries: Iterable[Entry], runs_dir: Path) -> list[Place]:
    """Rank entries by the best validation loss of their runs; those without one come last."""
    runs = [(entry, summary_of(entry, runs_dir)) for entry in entries]
    runs.sort(key=lambda pair: _score(pair[1]))  # stable: otherwise the queue's order stays
    return [
        Place(entry, run, rank if math.isfinite(_score(run)) else None)
        for rank, (entry, run) in enumerate(runs, start=1)
    ]


def summary_of(entry: Entry, runs_dir: Path) -> RunSummary | None:
    """Return the run of an entry, even if renamed; None if it has not begun or is deleted."""
    run: Path | None = runs_dir / entry.run
    if entry.run and not (runs_dir / entry.run / CONFIG_FILE).is_file():
        run = Queue(runs_dir).run_of(entry)
    return read_summary(run) if entry.run and run else None


def _score(run: RunSummary | None) -> float:
    best = run.best_val_loss if run else None
    return math.inf if best is None or not math.isfinite(best) else best
