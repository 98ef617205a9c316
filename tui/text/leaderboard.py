"""The queue and the leaderboard of a sweep, as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config.schema import SETTINGS
from engine.config.setting import Value
from engine.sweeps.queue_entry import Entry, varying
from tui.text.numbers import duration, loss
from tui.text.tables import table

if TYPE_CHECKING:
    from engine.sweeps.leaderboard import Place


def leaderboard_table(places: Sequence[Place]) -> str:
    """The best first: rank, run, state, best validation loss, and the settings that vary."""
    keys = varying(place.entry for place in places)
    header = ("", "run", "state", "best val", "at step", "step", "time", *map(short, keys))
    rows = [_row(place, keys) for place in places]
    lines = [table(header, rows, right=(0, 3, 4, 5, 6, *range(7, len(header))))]
    lines += [f"{one.run.name}: {why}" for one in places if one.run and (why := pruned(one))]
    failed = [place.entry for place in places if place.entry.problem]
    lines += [f"{one.run}: {one.problem} (gpt-tui queue retry {one.id})" for one in failed]
    return "\n".join(lines)


def pruned(place: Place) -> str:
    """Why the rule of its sweep has stopped a run; empty if it has not."""
    return place.run.pruned if place.run and place.entry.is_over else ""


def format_state(place: Place) -> str:
    """What has become of a run: ``done``, or ``stopped early`` by the rule of its sweep."""
    return "stopped early" if pruned(place) else place.entry.state_name


def _row(place: Place, keys: Sequence[str]) -> tuple[str, ...]:
    entry, run = place.entry, place.run
    return (
        "" if place.rank is None else str(place.rank),
        (run.name if run else entry.run) or "–",
        format_state(place),
        loss(run.best_val_loss if run else None),
        f"{run.best_step:,}" if run and run.best_step is not None else "–",
        f"{run.step:,}/{run.total_steps:,}" if run else "–",
        duration(run.train_seconds if run else None),
        *(shown(key, entry.value(key)) for key in keys),
    )


def queue_table(entries: Sequence[Entry]) -> str:
    """What is to come, in its order."""
    header = ("id", "state", "sweep", "run", "settings")
    rows = [
        (str(e.id), e.state_name, e.sweep or "–", e.run or "–", format_settings(e)) for e in entries
    ]
    return table(header, rows, right=(0,), wrap=True)


def format_settings(entry: Entry) -> str:
    """What the entry is about; why it failed, if it did."""
    words = [f"{short(key)} {shown(key, value)}" for key, value in entry.changes.items()]
    about = ", ".join(words) or str(entry.settings.get("preset") or "as they are")
    return f"{about}: {entry.problem}" if entry.problem else about


def short(key: str) -> str:
    """A setting's own name; with its section where another one has the same."""
    name = key.split(".")[1]
    return name if sum(one.name == name for one in SETTINGS.values()) == 1 else key


def shown(key: str, value: Value | None) -> str:
    """A value as a person writes it."""
    return "–" if value is None else SETTINGS[key].format(value)


def place_facts(place: Place, runs_dir: Path) -> dict[str, Any]:
    """A line of the leaderboard for ``--json``."""
    run = place.run
    renamed = {"name": run.name, "run": run.path} if run else {}
    return entry_facts(place.entry, runs_dir) | {
        **renamed,
        "rank": place.rank,
        "steps": run.step if run else None,
        "total_steps": run.total_steps if run else None,
        "outdone": pruned(place) or None,
        "best_val_loss": run.best_val_loss if run else None,
        "best_step": run.best_step if run else None,
        "val_loss": run.val_loss if run else None,
        "train_seconds": run.train_seconds if run else None,
    }


def entry_facts(entry: Entry, runs_dir: Path) -> dict[str, Any]:
    """An entry for ``--json``."""
    return {
        "id": entry.id,
        "sweep": entry.sweep or None,
        "state": entry.state_name,
        "name": entry.run or None,
        "run": str(runs_dir / entry.run) if entry.run else None,
        "settings": entry.changes,
        "problem": entry.problem,
    }
