"""Sparklines: a curve reduced to a few dozen values, for the list of runs."""

from __future__ import annotations

from math import isfinite

import numpy as np

from engine.metrics import MetricStore

POINTS = 64


def sparkline(metrics: MetricStore, name: str, points: int = POINTS) -> list[float | None]:
    """Sample the running average of a metric at evenly spaced steps, first and last included.

    Its cost does not depend on the length of the run, as it is called once a second.

    Args:
        metrics: All curves of the run.
        name: The metric.
        points: Maximum number of values; a shorter curve returns all of its own.

    Returns:
        The averages, rounded to five digits; None before the first finite value.
    """
    if name not in metrics.names():
        return []
    steps, _, smoothed = metrics.column(name).snapshot()
    if len(steps) > points:
        wanted = np.linspace(steps[0], steps[-1], points)
        smoothed = smoothed[np.searchsorted(steps, wanted)]
    return [float(f"{value:.5g}") if isfinite(value) else None for value in smoothed.tolist()]
