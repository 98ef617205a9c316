"""What a preview of a run shows: its curves, thinned, and its latest text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.config.presets import PRESETS, preset_config
from engine.config.schema import SETTINGS, Config
from engine.config.setting import Value
from engine.metrics import MetricStore, Steps, Values
from engine.runs.curves import LOSSES
from engine.runs.database import reading
from engine.runs.records import StoredSample

MOST_ROWS = 8192  # of a curve; of a longer one, the means of as many blocks
SMOOTHING = 0.9
SECTIONS = ("model", "optim", "train", "data", "eval")  # that say how a run was trained


@dataclass(frozen=True)
class Preview:
    """The curves of a run and the text it wrote last."""

    metrics: MetricStore
    sample: StoredSample | None


def read_preview(run: Path) -> Preview:
    """Read the losses of a run along its present lineage, and the last of its texts.

    Raises:
        InputError: Its database is damaged.
    """
    metrics = MetricStore(SMOOTHING)
    with reading(run) as database:
        lineage = database.present_lineage()
        for name in LOSSES:
            metrics.extend(name, *_thinned(*database.curve(name, lineage)))
        samples = database.samples()
    kept = (one for one in reversed(samples) if lineage.holds_moment(one["branch"], one["step"]))
    return Preview(metrics, next(kept, None))


def _thinned(steps: Steps, values: Values) -> tuple[Steps, Values]:
    size = -(-len(steps) // MOST_ROWS)
    if size < 2:
        return steps, values
    starts = np.arange(0, len(steps), size)
    ends = np.append(starts[1:], len(steps)) - 1
    with np.errstate(over="ignore", invalid="ignore"):
        means = np.add.reduceat(values, starts) / (ends + 1 - starts)
    return steps[ends], means


@dataclass(frozen=True)
class Difference:
    """A setting that differs from that of another configuration."""

    key: str
    value: Value
    other: Value


def differences(config: Config, other: Config) -> list[Difference]:
    """Return the settings of training that differ, those of the model first."""
    changed = config.differences(other)
    return [
        Difference(key, *values)
        for section in SECTIONS
        for key, values in changed.items()
        if SETTINGS[key].section == section
    ]


def defaults_of(config: Config) -> tuple[str, Config]:
    """Return what a run's settings began from, and their values there: its preset, or defaults."""
    if config.preset in PRESETS:
        return f"preset {config.preset}", preset_config(config.preset)
    return "the defaults", Config()
