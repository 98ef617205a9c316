"""What of a run can be made anew: its settings and its database. The damaged ones are kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import tomli_w

from data.download import write_atomically
from data.errors import InputError
from engine.checkpoint.load import place_aside, read_good
from engine.checkpoint.restore_database import RESTORED, restore_database
from engine.checkpoint.store import LATEST
from engine.config.schema import Config, config_from_dict
from engine.runs.checkpoint_names import list_checkpoints
from engine.runs.database import RunDatabase, Unreadable
from engine.runs.folder import CONFIG_FILE, DATABASE_FILE, RunLock
from engine.runs.open import read_run_config

SETTLED_LATER = ("system.", "data.corpus")  # may change, or be stood in for, as a run is opened

Say = Callable[[str], None]


def repair(run: Path, say: Say) -> None:
    """Make anew what of a run's database and settings is damaged; what is whole stays as it is.

    Args:
        run: Its folder.
        say: Takes sentences on what was done and what is lost.

    Raises:
        InputError: Some program trains the run, there is nothing to restore it from, or the folder
            cannot be written.
    """
    lock = RunLock(run)
    try:
        damaged = find_damage(run) is not None
        if damaged:
            restore_database(run, say)
        if _needs_config(run):
            _restore_config(run, say)
        elif not damaged:
            say(f"{CONFIG_FILE} and {DATABASE_FILE} are whole: nothing is written")
    except OSError as error:
        why = error.strerror or error
        raise InputError(f"the folder {run} cannot be read or written ({why})") from None
    finally:
        lock.release()


# -- the database --------------------------------------------------------------------------------


def find_damage(run: Path) -> Unreadable | None:
    """What is wrong with a run's database, if it needs to be rebuilt.

    Raises:
        InputError: It is a newer program's, or held by another one.
    """
    file, is_saved = run / DATABASE_FILE, bool(list_checkpoints(run))
    if not file.exists():
        return Unreadable(file, "it is gone") if is_saved else None
    try:
        database = RunDatabase(file, read_only=True)
        try:
            problems = database.integrity_problems()
            if not problems:
                database.journal()
                database.samples()
            is_told = bool(problems) or "corpus" in database.meta()
        finally:
            database.close()
    except Unreadable as error:
        return error
    except sqlite3.DatabaseError as error:
        return Unreadable(file, str(error))
    if problems:
        return Unreadable(file, problems[0])
    return Unreadable(file, "its content is gone") if is_saved and not is_told else None


# -- the settings --------------------------------------------------------------------------------


def config_differences(run: Path, config: Config) -> list[str]:
    """Where settings are not those that the run began with, in words; none if that is not known.

    Raises:
        InputError: No checkpoint is whole, or the database cannot be read.
    """
    first, is_known = first_config(run)
    return [
        f"{key} is {value!r} and was {before!r} when the run began"
        for key, (value, before) in config.differences(first).items()
        if is_known and not key.startswith(SETTLED_LATER)
    ]


def first_config(run: Path) -> tuple[Config, bool]:
    """The settings that a run began with, whatever its ``config.toml`` says.

    Returns:
        Them, and whether the journal of their changes is whole, so that they are sure.

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
        is_known = all(one["detail"]["journal_is_whole"] for one in database.journal(RESTORED))
    except sqlite3.DatabaseError as error:
        raise Unreadable(database.path, str(error)) from None
    finally:
        database.close()
    return config.replace(first), is_known


def _needs_config(run: Path) -> bool:
    """Whether ``config.toml`` cannot be read, or is not what the run began with."""
    try:
        config = read_run_config(run)
    except InputError:
        return True
    with suppress(InputError):  # there is nothing to hold it to
        return bool(config_differences(run, config))
    return False


def _restore_config(run: Path, say: Say) -> None:
    config, is_known = first_config(run)
    file = run / CONFIG_FILE
    aside = place_aside(file) if file.exists() else None
    if aside:
        write_atomically(aside, file.read_bytes())
    write_atomically(file, tomli_w.dumps(config.to_dict()).encode())
    kept = f", the old one is kept as {aside.name}" if aside else ""
    say(f"{CONFIG_FILE} is written anew{kept}")
    if not is_known:
        say(
            f"a part of the journal is lost: what was changed on the way may stand in "
            f"{CONFIG_FILE} as if the run had begun with it"
        )
