"""What the settings of a run were when it began, from its checkpoints and its journal."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import tomli_w

from data.download import write_atomically
from data.errors import InputError
from engine.checkpoint import LATEST
from engine.config import Config, config_from_dict
from engine.recovery import ASIDE, read_good
from engine.run.database import RunDatabase
from engine.run.folder import CONFIG_FILE, DATABASE_FILE, RunLock

SETTLED_LATER = ("system.", "data.corpus")  # may change, or be stood in for, as a run is opened


def first_config(run: Path) -> Config:
    """The settings that a run began with, whatever its ``config.toml`` says.

    Raises:
        InputError: No checkpoint is whole, or the database cannot be read.
    """
    config = config_from_dict(read_good(run, LATEST, with_optimizer=False).snapshot.state["config"])
    database = RunDatabase(run / DATABASE_FILE, read_only=True)
    try:
        first: dict[str, object] = {}
        for entry in database.journal("adjusted"):
            for key, (before, _) in entry["detail"]["changes"].items():
                first.setdefault(key, before)
    except sqlite3.DatabaseError as error:
        raise InputError(f"{database.path} is damaged: {error}") from None
    finally:
        database.close()
    # naming max_steps alone would turn max_epochs off
    return config.replace({"train.max_epochs": config.train.max_epochs, **first})


def config_differences(run: Path, config: Config) -> list[str]:
    """Where settings are not those that the run began with, in words."""
    told = config.differences(first_config(run))
    return [
        f"{key} is {value!r} and was {first!r} when the run began"
        for key, (value, first) in told.items()
        if not key.startswith(SETTLED_LATER)
    ]


def restore_config(run: Path) -> Path | None:
    """Write a run's ``config.toml`` anew.

    Returns:
        Where the old one is now; None if there was none.

    Raises:
        InputError: Some program trains the run, or there is nothing to restore it from.
    """
    lock = RunLock(run)
    try:
        config, file = first_config(run), run / CONFIG_FILE
        aside = file.with_name(ASIDE + file.name) if file.exists() else None
        if aside:
            write_atomically(aside, file.read_bytes())
        write_atomically(file, tomli_w.dumps(config.to_dict()).encode())
        return aside
    except OSError as error:
        raise InputError(f"the run folder {run} cannot be written ({error.strerror})") from None
    finally:
        lock.release()
