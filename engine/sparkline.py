"""A curve in a few dozen numbers, for a row in a list of runs."""

from __future__ import annotations

from math import isfinite

import numpy as np

from engine.metrics import MetricStore

POINTS = 64


def sparkline(metrics: MetricStore, name: str, points: int = POINTS) -> list[float | None]:
    """The running average of a metric at evenly spaced steps, the first and the last among them.

    Reads as many values as it returns, however long the run is: it is taken once a second.

    Args:
        metrics: Of the run.
        name: Of the metric.
        points: How many values at most; a shorter curve gives all it has.

    Returns:
        The averages to five digits, None before the first finite value.
    """
    if name not in metrics.names():
        return []
    steps, _, smoothed = metrics.column(name).snapshot()
    if len(steps) > points:
        wanted = np.linspace(steps[0], steps[-1], points)
        smoothed = smoothed[np.searchsorted(steps, wanted)]
    return [float(f"{value:.5g}") if isfinite(value) else None for value in smoothed.tolist()]
