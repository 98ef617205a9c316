"""Everything a run leaves behind: metrics, samples, journal, summary."""

from __future__ import annotations

import time
from typing import Any

from engine.metrics import MetricStore
from engine.run.database import RunDatabase

FLUSH_SECONDS = 1.0


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
        self.database.set_meta(summary=summary)
        self._next_flush = time.monotonic() + FLUSH_SECONDS

    def close(self, summary: dict[str, Any]) -> None:
        """Write all and leave a single file."""
        try:
            self.flush(summary)
            self.database.fold()
        finally:
            self.database.close()


def load_metrics(database: RunDatabase, metrics: MetricStore, branch: int = 0) -> None:
    """Fill a metric store from a run's database, marks of changed settings included."""
    for name in database.metric_names(branch):
        metrics.extend(name, *database.metric(branch, name))
    for entry in database.journal("adjusted"):
        label = describe_changes(entry["detail"]["changes"])
        if label:
            metrics.add_mark(entry["step"], label)


def describe_changes(changes: dict[str, list[Any]]) -> str:
    """Changes that matter to the curve, for a mark on the chart: ``learning_rate 0.001→0.0003``."""
    from engine.config import SETTINGS

    parts = []
    for key, (before, after) in changes.items():
        if not key.startswith(("sample.", "eval.", "checkpoint.")):
            one = SETTINGS[key]
            parts.append(f"{one.name} {one.format(before)}→{one.format(after)}")
    return ", ".join(parts)
