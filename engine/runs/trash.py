"""Where deleted runs wait: a hidden folder among the runs, from which they come back whole."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from data.errors import InputError
from engine.program import program
from engine.runs.folder import in_runs_dir
from engine.runs.transfer import free_place, held_still, move

TRASH_FOLDER = ".trash"
STAMP = "%Y%m%d-%H%M%S-%f"
ENTRY_PATTERN = re.compile(r"(.+)-(\d{8}-\d{6}-\d{6})")


@dataclass(frozen=True)
class Trashed:
    """A deleted run.

    Attributes:
        path: Where it is now.
        name: What it was called.
        deleted: When, in seconds since 1970.
    """

    path: Path
    name: str
    deleted: float


def trash_run(run: Path) -> Trashed:
    """Move a run to the trash of its runs folder.

    Raises:
        InputError: Some program is training it, or the folder cannot be written.
    """
    now = datetime.now()
    place = run.parent / TRASH_FOLDER / f"{run.name}-{now.strftime(STAMP)}"
    with held_still(run):
        move(run, place)
    return Trashed(place, run.name, now.timestamp())


def list_trash(runs_dir: Path) -> list[Trashed]:
    """The deleted runs, the latest last."""
    folder = runs_dir / TRASH_FOLDER
    if not folder.is_dir():
        return []
    found = [(path, ENTRY_PATTERN.fullmatch(path.name)) for path in folder.iterdir()]
    trashed = [Trashed(path, match[1], _moment(match[2])) for path, match in found if match]
    return sorted(trashed, key=lambda one: (one.deleted, one.name))


def find_trashed(name: str, runs_dir: Path) -> Trashed:
    """A deleted run by the name it had (the latest of several) or by its name in the trash.

    Raises:
        InputError: There is none.
    """
    trashed = list_trash(runs_dir)
    for one in reversed(trashed):
        if name in (one.name, one.path.name):
            return one
    names = ", ".join(dict.fromkeys(one.name for one in reversed(trashed)))
    hint = f"there are {names}" if names else "it is empty"
    raise InputError(f"there is no run {name!r} in the trash of {runs_dir}: {hint}")


def restore_run(trashed: Trashed, name: str | None = None) -> Path:
    """Bring a deleted run back; returns its folder.

    Args:
        trashed: Which one.
        name: What it will be called; None takes the name it had.

    Raises:
        InputError: The name is taken or unfit, or the folder cannot be written.
    """
    if not trashed.path.is_dir():
        raise InputError(f"the run {trashed.name!r} is no longer in the trash")
    runs_dir = trashed.path.parent.parent
    command = f"{program()} runs restore {trashed.path.name}{in_runs_dir(runs_dir)}"
    way_out = f"give another name: {command} --name NAME"
    place = free_place(runs_dir, name or trashed.name, way_out)
    move(trashed.path, place)
    return place


def empty_trash(runs_dir: Path) -> list[Trashed]:
    """Delete for good what is in the trash; returns what that was.

    Raises:
        InputError: Something could not be deleted.
    """
    trashed = list_trash(runs_dir)
    for one in trashed:
        try:
            shutil.rmtree(one.path)
        except OSError as error:
            raise InputError(
                f"{one.path} cannot be deleted ({error.strerror}): delete it by hand"
            ) from None
    return trashed


def _moment(stamp: str) -> float:
    return datetime.strptime(stamp, STAMP).timestamp()
