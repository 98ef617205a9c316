"""Runs beside each other: the settings in which they differ, and what came of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import InputError
from engine.config.schema import SETTINGS, Config, SampleConfig, read_config
from engine.config.setting import Value
from engine.runs.database import RunDatabase
from engine.runs.folder import CONFIG_FILE
from engine.runs.lineage import Lineage
from engine.runs.summary import (
    DAMAGED,
    RunSummary,
    open_database,
    present_branch,
    read_summary,
)


@dataclass(frozen=True)
class Change:
    """A setting that got another value before a step was done."""

    step: int
    key: str
    value: Value


@dataclass(frozen=True)
class ComparedRun:
    """A run as it is set beside others.

    Attributes:
        path: Of its folder.
        summary: Its figures.
        config: What it began with; what was left to the program is what that settled on.
        changes: Of settings, by step, along the line of history that the run goes on with.
        text: Identifies the text it learns from; empty if that was never read.
    """

    path: Path
    summary: RunSummary
    config: Config
    changes: tuple[Change, ...]
    text: str

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.path.name

    def values(self, key: str) -> tuple[Value, ...]:
        """The values a setting had, one after another."""
        values = [self.config.get(key)]
        values += [one.value for one in self.changes if one.key == key]
        return tuple(v for i, v in enumerate(values) if i == 0 or v != values[i - 1])

    def sampling(self) -> SampleConfig:
        """How it samples now."""
        names = [field.name for field in dataclasses.fields(SampleConfig)]
        latest = {name: self.values(f"sample.{name}")[-1] for name in names}
        return dataclasses.replace(self.config.sample, **latest)  # type: ignore[arg-type]

    def figures(self) -> dict[str, Any]:
        """What came of it: losses in nats a token, the time in seconds of training."""
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


# ------------------------------------------------------------------------------------- reading


def read_compared(path: Path) -> ComparedRun:
    """Everything of a run but its courses.

    Raises:
        InputError: Its folder is gone or damaged.
    """
    path = path.resolve()
    summary = read_summary(path)
    if summary.state == DAMAGED:
        raise InputError(f"the run {path.name!r} cannot be compared: {summary.problem}")
    config = read_config(path / CONFIG_FILE)
    with open_database(path) as database:
        if database is None:
            return ComparedRun(path, summary, config, (), "")
        meta = database.meta()
        changes = _changes(database, database.lineage(present_branch(path)))
    config = _settled(config, meta.get("runtime", {}))
    return ComparedRun(path, summary, config, changes, meta.get("corpus", {}).get("sha256", ""))


def _changes(database: RunDatabase, lineage: Lineage) -> tuple[Change, ...]:
    """What the journal says of settings, along a lineage."""
    found = [
        Change(one.step, key, value)
        for one in lineage.changes(database.journal("adjusted"))
        for key, value in one.values.items()
        if key in SETTINGS
    ]
    return tuple(sorted(found, key=lambda change: change.step))


def _settled(config: Config, runtime: dict[str, dict[str, Any]]) -> Config:
    """Put what the program runs on in the place of what was asked for."""
    known = {**runtime.get("asked", {}), **runtime.get("resolved", {})}
    changes = {f"system.{name}": value for name, value in known.items()}
    return config.check({key: value for key, value in changes.items() if key in SETTINGS})[0]


# ----------------------------------------------------------------------------------- comparing


def differing_settings(runs: Sequence[ComparedRun]) -> dict[str, list[tuple[Value, ...]]]:
    """Settings that are not the same in all runs: key -> the values each had, in order."""
    runs = list(runs)
    all_values = {key: [run.values(key) for run in runs] for key in SETTINGS}
    return {
        key: values for key, values in all_values.items() if any(v != values[0] for v in values)
    }


def described(key: str, values: Sequence[Value]) -> str:
    """The values a setting had: ``0.001→0.0003``."""
    return "→".join(SETTINGS[key].format(value) for value in values)


def cautions(runs: Sequence[ComparedRun]) -> list[str]:
    """Why figures of these runs do not say which is better, one sentence each."""
    found = []
    if len({run.text for run in runs if run.text}) > 1:
        found.append("the runs learn from different texts, so their losses do not compare")
    if len({run.config.data.tokenizer for run in runs}) > 1:
        found.append("their tokenizers differ, so a loss per token is not the same measure")
    measured = {run.summary.val_measured for run in runs if run.summary.val_loss is not None}
    if len(measured) > 1:
        found.append(
            f"the last validation losses were measured differently: {'; '.join(sorted(measured))}"
        )
    return found
