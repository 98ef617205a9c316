"""Compare runs: the settings in which they differ, and their results."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import InputError
from data.paths import real_path
from engine.config.schema import SETTINGS, Config, SampleConfig, read_config
from engine.config.setting import Value
from engine.runs.database import Curve, reading
from engine.runs.folder import CONFIG_FILE
from engine.runs.records import RuntimeFacts
from engine.runs.summary import RunSummary, read_summary
from engine.states import DAMAGED

SEED = "train.seed"
NOT_OF_TRAINING = ("sample", "system", "checkpoint", "eval")  # sections that no loss depends on


@dataclass(frozen=True)
class Change:
    """A setting that was changed after a step."""

    step: int
    key: str
    value: Value


@dataclass(frozen=True)
class ComparedRun:
    path: Path
    summary: RunSummary
    config: Config  # what it began with; where the program chose, what it chose
    changes: tuple[Change, ...]  # by step, along its present lineage
    text: str  # the hash of its text; empty if that was never read

    @property
    def name(self) -> str:
        return self.path.name

    def values(self, key: str) -> tuple[Value, ...]:
        """Return the values a setting had, in order."""
        values = [self.config.get(key)]
        values += [one.value for one in self.changes if one.key == key]
        return tuple(v for i, v in enumerate(values) if i == 0 or v != values[i - 1])

    def sampling(self) -> SampleConfig:
        """Return the sampling settings in force now."""
        names = [field.name for field in dataclasses.fields(SampleConfig)]
        latest = {name: self.values(f"sample.{name}")[-1] for name in names}
        return dataclasses.replace(self.config.sample, **latest)  # type: ignore[arg-type]

    def figures(self) -> dict[str, Any]:
        """Return the results: losses in nats per token, time in seconds of training."""
        run = self.summary
        return {
            "best_val_loss": run.best_val_loss,
            "best_step": run.best_step,
            "val_loss": run.val_loss,
            "val_measured": run.val_measured,
            "train_loss": run.train_loss,
            "steps": run.step,
            "tokens": run.tokens,
            "train_seconds": run.train_seconds,
            "tokens_per_second": run.tokens_per_second,
            "parameters": run.parameters,
            "parent": run.parent or None,
            "parent_step": run.parent_step,
        }


def read_compared(path: Path) -> ComparedRun:
    """Read a run, except its curves.

    Raises:
        InputError: Its folder is gone or damaged.
    """
    path = real_path(path)
    summary = read_summary(path)
    if summary.state == DAMAGED:
        raise InputError(f"the run {path.name!r} cannot be compared: {summary.problem}")
    config = read_config(path / CONFIG_FILE)
    with reading(path) as database:
        meta = database.meta()
        adjusted = database.present_lineage().changes(database.journal("adjusted"))
        changes = [
            Change(one.step, key, value)
            for one in adjusted
            for key, value in one.values.items()
            if key in SETTINGS and not one.clock
        ]
    config = _settled(config, meta.get("runtime"))
    in_order = tuple(sorted(changes, key=lambda change: change.step))
    text = meta.get("corpus", {}).get("sha256", "")
    return ComparedRun(path, summary, config, in_order, text)


def _settled(config: Config, runtime: RuntimeFacts | None) -> Config:
    """Replace each `auto` in the system settings by what it was resolved to."""
    known = {}
    if runtime:  # what older runs do not record has one value
        known = {**runtime["asked"], "reduce": "exact", **runtime["resolved"]}
    changes = {f"system.{name}": value for name, value in known.items()}
    return config.check({key: value for key, value in changes.items() if key in SETTINGS})[0]


def differing_settings(runs: Sequence[ComparedRun]) -> dict[str, list[tuple[Value, ...]]]:
    """Return the settings that differ between runs: key -> the values each run had, in order."""
    runs = list(runs)
    all_values = {key: [run.values(key) for run in runs] for key in SETTINGS}
    return {
        key: values for key, values in all_values.items() if any(v != values[0] for v in values)
    }


def described(key: str, values: Sequence[Value]) -> str:
    """Format the values a setting had: ``0.001→0.0003``."""
    return "→".join(SETTINGS[key].format(value) for value in values)


def tokens_differ(runs: Sequence[ComparedRun]) -> bool:
    """Return whether a loss per token is not the same measure for all of these runs."""
    return len({run.config.data.tokens for run in runs}) > 1


def cautions(runs: Sequence[ComparedRun]) -> list[str]:
    """Return the reasons why the losses of these runs are not comparable, one sentence each."""
    found = []
    if len({run.text for run in runs if run.text}) > 1:
        found.append("the runs learn from different texts, so their losses do not compare")
    if tokens_differ(runs):
        found.append("their tokenizers differ: compare bits per byte, not the loss per token")
    measured = {run.summary.val_measured for run in runs if run.summary.val_loss is not None}
    if len(measured) > 1:
        found.append(
            f"the last validation losses were measured differently: {'; '.join(sorted(measured))}"
        )
    return found


def seed_groups(runs: Sequence[ComparedRun]) -> list[list[int]]:
    """Return the indices of runs that differ in the seed alone, for each set of two or more.

    What was generated, and on how many threads, is no difference.
    """
    groups: dict[object, list[int]] = {}
    for i, run in enumerate(runs):
        alike = tuple(
            (key, run.values(key))
            for key, setting in SETTINGS.items()
            if key != SEED and setting.section not in NOT_OF_TRAINING
        )
        groups.setdefault((alike, run.text), []).append(i)
    return [group for group in groups.values() if len(group) > 1]


def band_of(curves: Sequence[Curve]) -> tuple[Curve, Curve, Curve]:
    """Return mean, minimum and maximum of several curves, up to the last step that all have.

    Between its steps a curve is linear; where one is not finite, so is the mean.
    """
    known = [curve for curve in curves if len(curve.steps)]
    if not known:
        nothing = Curve(np.array([], np.int64), np.array([], np.float64))
        return nothing, nothing, nothing
    first = max(int(curve.steps[0]) for curve in known)
    last = min(int(curve.steps[-1]) for curve in known)
    steps = np.unique(np.concatenate([curve.steps for curve in known]))
    steps = steps[(first <= steps) & (steps <= last)]
    values = np.stack([np.interp(steps, curve.steps, curve.values) for curve in known])
    return (
        Curve(steps, values.mean(axis=0)),
        Curve(steps, values.min(axis=0)),
        Curve(steps, values.max(axis=0)),
    )
