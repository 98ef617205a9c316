"""Repair the settings and the database of a run. The damaged files are kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import tomli_w

from data.errors import InputError, reason_of
from data.files import write_atomically
from engine.checkpoint.load import read_good
from engine.checkpoint.restore_database import RESTORED, restore_database
from engine.checkpoint.store import place_aside, tidy_checkpoints
from engine.config.schema import Config, config_from_dict
from engine.runs.checkpoint_names import LATEST, list_checkpoints
from engine.runs.database import Unreadable, reading
from engine.runs.folder import CONFIG_FILE, DATABASE_FILE, RunLock, read_run_config

SETTLED_LATER = ("system.", "data.corpus")  # may change, or be stood in for, as a run is opened

Say = Callable[[str], None]


def repair(run: Path, say: Say) -> None:
    """Restore the database and the settings of a run if they are damaged.

    Raises:
        InputError: Some program trains the run, there is nothing to restore it from, or the folder
            cannot be written.
    """
    try:
        with RunLock(run):
            rescued = tidy_checkpoints(run)
            for path in rescued:
                say(f"{path.name} is whole, and was not in its place yet: it is now")
            damaged = find_damage(run) is not None
            if damaged:
                restore_database(run, say)
            if _needs_config(run):
                _restore_config(run, say)
            elif not damaged and not rescued:
                say(f"{CONFIG_FILE} and {DATABASE_FILE} are intact: nothing is written")
    except OSError as error:
        raise InputError(
            f"the folder {run} cannot be read or written ({reason_of(error)}): make room, or allow "
            f"writing in it"
        ) from None


def find_damage(run: Path) -> Unreadable | None:
    """Return what is wrong with the database of a run; None if it is intact.

    Raises:
        InputError: It is a newer program's, or held by another one.
    """
    try:
        with reading(run) as database:
            problems = database.integrity_problems()
            if problems:
                raise Unreadable(database.path, problems[0])
            database.present_lineage()
            database.check_content()
            if list_checkpoints(run) and "corpus" not in database.meta():
                raise Unreadable(database.path, "its content is gone")
    except Unreadable as error:
        if error.is_shortage:
            raise
        return error
    return None


def config_differences(run: Path, config: Config) -> list[str]:
    """Describe the settings that are not those the run began with; empty if that is not known.

    Raises:
        InputError: No checkpoint is intact, or the database cannot be read.
    """
    first, is_known = first_config(run)
    return [
        f"{key} is {value!r} and was {before!r} when the run began"
        for key, (value, before) in config.differences(first).items()
        if is_known and not key.startswith(SETTLED_LATER)
    ]


def first_config(run: Path) -> tuple[Config, bool]:
    """Return the settings that a run began with, whatever its ``config.toml`` says.

    Returns:
        Them, and whether the journal of their changes is whole, so that they are sure.

    Raises:
        InputError: No checkpoint is intact, or the database cannot be read.
    """
    config = config_from_dict(read_good(run, LATEST, with_optimizer=False).snapshot.state["config"])
    first: dict[str, object] = {}
    with reading(run) as database:
        for entry in database.journal("adjusted"):
            for key, (before, _) in entry["detail"]["changes"].items():
                first.setdefault(key, before)
        is_known = all(one["detail"]["journal_is_whole"] for one in database.journal(RESTORED))
    return config.replace(first), is_known


def _needs_config(run: Path) -> bool:
    """Return whether ``config.toml`` cannot be read, or is not what the run began with."""
    try:
        config = read_run_config(run)
    except InputError:
        return True
    with suppress(InputError):  # there is nothing to compare it with
        return bool(config_differences(run, config))
    return False


def _restore_config(run: Path, say: Say) -> None:
    config, is_known = first_config(run)
    file = run / CONFIG_FILE
    aside = place_aside(file) if os.path.lexists(file) else None
    is_folder = file.is_dir()
    try:
        if aside and is_folder:
            file.rename(aside)
        elif aside:
            shutil.copy2(file, aside)
        write_atomically(file, tomli_w.dumps(config.to_toml()).encode())
    except OSError:
        if aside and is_folder:
            aside.rename(file)
        elif aside:
            aside.unlink(missing_ok=True)
        raise
    kept = f", the old one is kept as {aside.name}" if aside else ""
    say(f"{CONFIG_FILE} is written anew{kept}")
    if not is_known:
        say(
            f"a part of the journal is lost: later changes of settings may be in "
            f"{CONFIG_FILE} as if the run had begun with it"
        )
