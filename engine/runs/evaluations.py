"""The evaluations at ``eval.interval`` that a run's journal holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data.errors import InputError
from engine.runs.database import RunDatabase
from engine.runs.lineage import END, Lineage
from engine.runs.summary import open_database, present_branch


@dataclass(frozen=True)
class Measured:
    """A validation loss, and what it was measured on, in words."""

    loss: float
    on: str


def scheduled_evaluations(
    database: RunDatabase, lineage: Lineage, up_to: int = END
) -> dict[int, Measured]:
    """What was measured along a lineage, by rising step.

    Those a person asked for are left out: that somebody looks must change nothing.
    """
    found: dict[int, Measured] = {}  # a step that was trained again has the newer word
    for entry in database.journal("evaluated"):
        step, detail = entry["step"], entry["detail"]
        on_way = step <= up_to and lineage.holds_moment(entry["branch"], step)
        if on_way and detail.get("scheduled"):
            found[step] = Measured(detail["val_loss"], detail.get("measured", ""))
    return dict(sorted(found.items()))


def read_evaluations(run: Path) -> dict[int, Measured]:
    """What was measured of a run, live or not; nothing if it is gone or cannot be read."""
    try:
        with open_database(run) as database:
            if database is None:
                return {}
            return scheduled_evaluations(database, database.lineage(present_branch(run)))
    except (InputError, OSError, KeyError, TypeError):  # damaged: its own screens say so
        return {}
