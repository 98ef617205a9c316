"""Reads the runs on a disk, live or not, without writing to them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import InputError
from engine.config import read_config
from engine.protocol import State
from engine.run.database import RunDatabase
from engine.run.folder import CONFIG_FILE, DATABASE_FILE, is_locked, list_runs

INTERRUPTED, DAMAGED = "interrupted", "damaged"  # besides the states of the engine
AT_WORK = (State.PREPARING, State.RUNNING, State.PAUSED)


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
    problem: str = ""  # what is damaged

    @property
    def tokens_per_second(self) -> float:
        """The mean speed of the whole training."""
        return self.tokens / self.train_seconds if self.train_seconds else 0.0


def read_summaries(runs_dir: Path) -> list[RunSummary]:
    """All runs of a folder, the newest last."""
    return sorted(map(read_summary, list_runs(runs_dir)), key=lambda run: (run.created, run.name))


def read_summary(path: Path) -> RunSummary:
    """A run in one row; a damaged one says so and raises nothing."""
    path = path.resolve()
    live = is_locked(path)
    try:
        config = read_config(path / CONFIG_FILE)
        facts = _read_facts(path)
        defaults = {
            "preset": config.preset,
            "corpus": config.data.corpus,
            "total_steps": config.train.max_steps,
        }
        return RunSummary(
            path=str(path),
            name=path.name,
            live=live,
            **{**defaults, **facts, "state": _state(facts.get("state"), live)},
        )
    except (InputError, TypeError, KeyError) as error:
        created = path.stat().st_mtime if path.exists() else 0.0
        return RunSummary(str(path), path.name, DAMAGED, live, created=created, problem=str(error))


def read_samples(path: Path) -> list[dict[str, Any]]:
    """The texts a run has written, oldest first: id, step, val_loss, settings and text.

    Raises:
        InputError: The run's database is damaged.
    """
    with _open_database(path.resolve()) as database:
        return database.samples() if database else []


def _read_facts(path: Path) -> dict[str, Any]:
    """What the run's database knows of the fields of ``RunSummary``."""
    with _open_database(path) as database:
        meta = database.meta() if database else {}
    corpus, created = meta.get("corpus", {}), meta.get("created")
    if created is None:
        created = (path / CONFIG_FILE).stat().st_mtime
    facts = {"created": created, "corpus_note": corpus.get("note", ""), **meta.get("summary", {})}
    if "name" in corpus:
        facts["corpus"] = corpus["name"]
    return {key: value for key, value in facts.items() if key in RunSummary.__dataclass_fields__}


@contextmanager
def _open_database(path: Path) -> Iterator[RunDatabase | None]:
    """A run's database; None if the run ended before it had one."""
    file = path / DATABASE_FILE
    if not file.exists():
        yield None
        return
    try:
        database = RunDatabase(file, read_only=True)
        try:
            yield database
        finally:
            database.close()
    except (sqlite3.Error, ValueError) as error:
        raise InputError(f"{file} is damaged: {error}") from None


def _state(recorded: str | None, live: bool) -> str:
    """The state written down, unless the program that wrote it is gone."""
    if recorded is None:
        recorded = State.PREPARING
    return INTERRUPTED if recorded in AT_WORK and not live else str(recorded)
