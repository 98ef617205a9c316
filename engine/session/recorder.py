"""The metrics of a run: in the metric store for the charts, and in the run's database."""

from __future__ import annotations

import time
from collections.abc import Mapping
from math import inf
from typing import Any

from engine.config.changes import changes_training
from engine.config.schema import SETTINGS
from engine.metrics import BEST_SO_FAR, MetricStore, sparkline
from engine.runs.database import RunDatabase

FLUSH_SECONDS = 1.0
GHOSTS = ("train_loss", "val_loss")  # what charts show of abandoned branches


class Recorder:
    """Records metrics, which are written to the run's database once a second."""

    def __init__(self, database: RunDatabase, metrics: MetricStore) -> None:
        self.database, self.metrics = database, metrics
        self.branch = 0  # that is being recorded
        self._unwritten: list[tuple[str, int, float]] = []
        self._next_flush = 0.0

    def load(self, up_to_step: int) -> None:
        """Load what was recorded up to a step; forget later steps, which are trained again."""
        self.database.truncate_metrics(self.branch, up_to_step)
        load_metrics(self.database, self.metrics, self.branch)

    def record(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.metrics.append(name, step, value)
            self._unwritten.append((name, step, value))

    def journal(self, step: int, kind: str, **detail: Any) -> int:
        """Write an entry of the journal at once; return its id."""
        mark_entry(self.metrics, step, kind, detail)
        return self.database.add_journal(self.branch, step, kind, detail)

    def leave(self, step: int) -> None:
        """Begin a branch at an earlier step; the later ones remain as a ghost curve.

        Everything recorded must have been written.
        """
        assert not self._unwritten
        self.branch = self.database.add_branch(self.branch, step)
        for name in GHOSTS:
            steps, values, _ = self.metrics.column(name).snapshot()
            self.metrics.add_ghost(name, steps[steps > step], values[steps > step])
        self.metrics.truncate(step)

    @property
    def flush_is_due(self) -> bool:
        return time.monotonic() >= self._next_flush

    @property
    def has_unwritten(self) -> bool:
        return bool(self._unwritten)

    def flush(self, summary: dict[str, Any]) -> None:
        self.database.add_metrics(self.branch, self._unwritten)
        self._unwritten.clear()
        curve = sparkline(self.metrics, "train_loss")
        self.database.set_meta(summary=summary | {"sparkline": curve})
        self._next_flush = time.monotonic() + FLUSH_SECONDS

    def close(self, summary: dict[str, Any]) -> None:
        """Write everything and leave a single file."""
        try:
            self.flush(summary)
            self.database.fold()
        finally:
            self.database.close()


def load_metrics(database: RunDatabase, metrics: MetricStore, branch: int = 0) -> None:
    """Fill a metric store from a run's database, with marks and ghost curves."""
    lineage = database.lineage(branch)
    metrics.references = {**database.meta().get("references", {})}
    for name in database.metric_names(*(one.branch for one in lineage)):
        metrics.extend(name, *database.curve(name, lineage))
    if parent := database.meta().get("parent"):
        metrics.add_mark(parent["step"], f"forked from {parent['run']}")
    for entry in database.journal():
        if lineage.holds_moment(entry["branch"], entry["step"]):
            mark_entry(metrics, entry["step"], entry["kind"], entry["detail"])
    for change in lineage.changes(database.journal("adjusted")):
        if not change.clock and (label := describe_changes(change.changes)):
            metrics.add_mark(change.step, label)
    for stretch in lineage.abandoned():
        for name in GHOSTS:
            metrics.add_ghost(name, *database.curve(name, [stretch]))


def mark_entry(metrics: MetricStore, step: int, kind: str, detail: Mapping[str, Any]) -> None:
    """Mark an entry of the journal in the charts; settings that were changed have marks already."""
    if kind == "evaluated":
        loss = float(detail["val_loss"])
        best = metrics.bests[-1].value if metrics.bests else inf
        told, sort = (BEST_SO_FAR, "best") if loss < best else ("", "evaluation")
        metrics.add_event(step, f"validation loss {loss:.4f}{told}", sort, loss)
    elif kind == "saved":
        metrics.add_event(step, "a checkpoint was written", "checkpoint")
    elif kind in MARKED:
        told = str(detail.get("message") or detail.get("why") or detail.get("run") or "")
        metrics.add_event(step, f"{kind}: {told}" if told else kind, kind)
    if kind == "finished" and detail.get("best_step") is not None:
        loss = float(detail["best_val_loss"])
        told = f"validation loss {loss:.4f} · the best, over the whole split"
        metrics.settle_best(int(detail["best_step"]), loss, told)


MARKED = (
    "started", "opened", "closed", "paused", "resumed", "finished", "rewound", "forked", "pinned",
    "advised", "warned", "pruned", "sampled",
)  # fmt: skip
"""Entries of the journal that are told where the cursor of a chart is."""


def describe_changes(changes: dict[str, list[Any]]) -> str:
    """Format changes that affect the curve, as a mark: ``learning_rate 0.001→0.0003``."""
    parts = []
    for key, (before, after) in changes.items():
        if changes_training(key):
            one = SETTINGS[key]
            parts.append(f"{one.name} {one.format(before)}→{one.format(after)}")
    return ", ".join(parts)
