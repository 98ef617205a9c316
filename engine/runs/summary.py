"""Reads the runs on a disk, live or not, without writing to them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import InputError
from engine.metrics import MetricStore
from engine.protocol import PRUNED_KEY, State
from engine.runs.checkpoint_names import branch_of, is_full, list_snapshots
from engine.runs.database import RunDatabase, Unreadable
from engine.runs.folder import (
    CONFIG_FILE,
    DATABASE_FILE,
    is_locked,
    list_runs,
)
from engine.runs.notes import Notes, read_notes
from engine.runs.open import read_run_config
from engine.sparkline import sparkline

INTERRUPTED, DAMAGED = "interrupted", "damaged"  # besides the states of the engine
AT_WORK = (State.PREPARING, State.RUNNING, State.PAUSED)
FROM_CONFIG = ("preset", "corpus", "total_steps")  # until the summary knows them


@dataclass(frozen=True)
class RunSummary:
    """A run in one row, as it was last written down."""

    path: str
    name: str
    state: str
    live: bool = False  # some program has it open now
    preset: str = ""
    parameters: int | None = None
    step: int = 0
    total_steps: int = 0
    tokens: int = 0
    epoch: float = 0.0
    train_loss: float | None = None
    val_loss: float | None = None
    val_measured: str = ""
    best_val_loss: float | None = None
    best_step: int | None = None
    train_seconds: float = 0.0
    device: str | None = None
    precision: str | None = None
    threads: int | None = None
    corpus: str = ""
    corpus_note: str = ""  # not empty if the text is a stand-in
    created: float = 0.0
    tags: tuple[str, ...] = ()
    note: str = ""
    formerly: tuple[str, ...] = ()  # names it had, the oldest first
    parent: str = ""  # the run it was forked from, by the name it had then
    parent_step: int | None = None
    sparkline: tuple[float | None, ...] = ()  # of the training loss, at evenly spaced steps
    pruned: str = ""  # why the rule of its sweep has stopped it
    problem: str = ""  # what is damaged

    @property
    def tokens_per_second(self) -> float:
        """The mean speed of the whole training."""
        return self.tokens / self.train_seconds if self.train_seconds else 0.0


def read_summaries(runs_dir: Path) -> list[RunSummary]:
    """All runs of a folder, the newest last."""
    return sorted(map(read_summary, list_runs(runs_dir)), key=lambda run: (run.created, run.name))


def read_summary(path: Path, check_config: bool = True) -> RunSummary:
    """A run in one row; a damaged one says so and raises nothing.

    Args:
        path: Of its folder.
        check_config: Read ``config.toml`` even if all it could tell is known without: that takes
            most of the time, and finds out whether it is damaged.
    """
    path = path.resolve()
    live = is_locked(path)
    notes, problem = _notes_or_problem(path)
    written: dict[str, Any] = vars(notes)
    try:
        facts = _read_facts(path)
        if check_config or not facts.keys() >= {*FROM_CONFIG}:
            config = read_run_config(path)
            known = (config.preset, config.data.corpus, config.train.max_steps)
            facts = {**dict(zip(FROM_CONFIG, known, strict=True)), **facts}
        state = _state(facts.pop("state", None), live)
        about = {"path": str(path), "name": path.name, "live": live, "problem": problem}
        return RunSummary(**facts | written | about, state=state)
    except (InputError, OSError, TypeError, KeyError, AttributeError) as error:
        damage = "\n".join(one for one in (str(error), problem) if one)
        return RunSummary(
            str(path), path.name, DAMAGED, live, created=_changed(path), problem=damage, **written
        )


def present_branch(run: Path) -> int:
    """The line of history that a run goes on with: that of its newest full checkpoint."""
    newest = next((path for path in reversed(list_snapshots(run)) if is_full(path)), None)
    # nothing is saved yet, so that nothing can have been gone back from
    return branch_of(newest) if newest else 0


def _changed(path: Path) -> float:
    """When something was last put into a folder; 0 if it is gone by now."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _notes_or_problem(path: Path) -> tuple[Notes, str]:
    try:
        return read_notes(path), ""
    except InputError as error:
        return Notes(), str(error)


def _read_facts(path: Path) -> dict[str, Any]:
    """What the run's database knows of the fields of ``RunSummary``."""
    with open_database(path) as database:
        meta = database.meta() if database else {}
        summary = meta.get("summary", {})
        curve = summary.get("sparkline")
        if curve is None and database:  # it was written by an older version, or only just forked
            curve = _read_curve(database)
    corpus, created, parent = meta.get("corpus", {}), meta.get("created"), meta.get("parent")
    if created is None:
        created = (path / CONFIG_FILE).stat().st_mtime
    facts = {"created": created, "corpus_note": corpus.get("note", "")}
    if parent:
        facts |= {"parent": parent["run"], "parent_step": parent["step"]}
        facts |= {"state": State.STOPPED, "step": parent["step"]}  # until it is opened
    pruned = summary.get(PRUNED_KEY, "")
    facts |= {**summary, "pruned": pruned, "sparkline": tuple(curve or ())}
    if "name" in corpus:
        facts["corpus"] = corpus["name"]
    return {key: value for key, value in facts.items() if key in RunSummary.__dataclass_fields__}


def _read_curve(database: RunDatabase) -> list[float | None]:
    metrics = MetricStore()
    metrics.extend("train_loss", *database.metric(0, "train_loss"))
    return sparkline(metrics, "train_loss")


@contextmanager
def open_database(path: Path) -> Iterator[RunDatabase | None]:
    """A run's database to read; None if the run ended before it had one.

    Raises:
        InputError: It is damaged, or was lost.
    """
    file = path / DATABASE_FILE
    if not file.exists():
        if list_snapshots(path):
            raise Unreadable(file, "it is gone")
        yield None
        return
    try:
        database = RunDatabase(file, read_only=True)
        try:
            yield database
        finally:
            database.close()
    except (sqlite3.Error, ValueError) as error:
        raise Unreadable(file, str(error)) from None


def _state(recorded: str | None, live: bool) -> str:
    """The state written down, unless the program that wrote it is gone."""
    if recorded is None:
        recorded = State.PREPARING
    return INTERRUPTED if recorded in AT_WORK and not live else str(recorded)
