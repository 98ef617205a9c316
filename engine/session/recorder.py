"""Everything a run leaves behind: metrics, samples, journal, summary."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from engine.config.changes import changes_training
from engine.config.schema import SETTINGS
from engine.metrics import MetricStore
from engine.runs.database import RunDatabase
from engine.runs.lineage import Stretch
from engine.sparkline import sparkline

FLUSH_SECONDS = 1.0
GHOSTS = ("train_loss", "val_loss")  # what is shown of abandoned stretches


class Recorder:
    """Keeps the metric store and writes it to the run's database once a second.

    Args:
        database: Open for writing.
        metrics: What the charts read.
        branch: The line of history that is being written.
    """

    def __init__(self, database: RunDatabase, metrics: MetricStore, branch: int = 0) -> None:
        self.database = database
        self.metrics = metrics
        self.branch = branch
        self._unwritten: list[tuple[str, int, float]] = []
        self._next_flush = 0.0

    def load(self, up_to_step: int) -> None:
        """Read the run's past into the metric store, forgetting what came after a step."""
        self.database.truncate_metrics(self.branch, up_to_step)
        load_metrics(self.database, self.metrics, self.branch)

    def record(self, step: int, values: dict[str, float]) -> None:
        """Note the metrics of a step."""
        for name, value in values.items():
            self.metrics.append(name, step, value)
            self._unwritten.append((name, step, value))

    def journal(self, step: int, kind: str, **detail: Any) -> int:
        """Note, at once and on disk, that something happened."""
        return self.database.add_journal(self.branch, step, kind, detail)

    def leave(self, step: int) -> None:
        """Begin a new line of history at a step before; what comes after it stays as a ghost.

        All that was recorded must have been written.
        """
        assert not self._unwritten
        self.branch = self.database.add_branch(self.branch, step)
        for name in GHOSTS:
            steps, values, _ = self.metrics.column(name).snapshot()
            self.metrics.add_ghost(name, steps[steps > step], values[steps > step])
        self.metrics.truncate(step)

    @property
    def flush_is_due(self) -> bool:
        """Whether a second has passed since the last flush."""
        return time.monotonic() >= self._next_flush

    @property
    def has_unwritten(self) -> bool:
        """Whether there is anything to flush."""
        return bool(self._unwritten)

    def flush(self, summary: dict[str, Any]) -> None:
        """Write what is not written yet."""
        self.database.add_metrics(self.branch, self._unwritten)
        self._unwritten.clear()
        curve = sparkline(self.metrics, "train_loss")
        self.database.set_meta(summary=summary | {"sparkline": curve})
        self._next_flush = time.monotonic() + FLUSH_SECONDS

    def close(self, summary: dict[str, Any]) -> None:
        """Write all and leave a single file."""
        try:
            self.flush(summary)
            self.database.fold()
        finally:
            self.database.close()


def load_metrics(database: RunDatabase, metrics: MetricStore, branch: int = 0) -> None:
    """Fill a metric store from a run's database, marks and abandoned stretches included."""
    lineage = database.lineage(branch)
    for name in metric_names(database, lineage):
        metrics.extend(name, *database.curve(name, lineage))
    if parent := database.meta().get("parent"):
        metrics.add_mark(parent["step"], f"forked from {parent['run']}")
    for change in lineage.changes(database.journal("adjusted")):
        if label := describe_changes(change.changes):
            metrics.add_mark(change.step, label)
    for stretch in lineage.abandoned():
        for name in GHOSTS:
            metrics.add_ghost(name, *database.curve(name, [stretch]))


def metric_names(database: RunDatabase, stretches: Iterable[Stretch]) -> list[str]:
    """The metrics recorded along some stretches of history."""
    names = (name for one in stretches for name in database.metric_names(one.branch))
    return list(dict.fromkeys(names))


def describe_changes(changes: dict[str, list[Any]]) -> str:
    """Changes that matter to the curve, for a mark on the chart: ``learning_rate 0.001→0.0003``."""
    parts = []
    for key, (before, after) in changes.items():
        if changes_training(key):
            one = SETTINGS[key]
            parts.append(f"{one.name} {one.format(before)}→{one.format(after)}")
    return ", ".join(parts)
