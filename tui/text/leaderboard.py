"""The queue and the leaderboard of a sweep, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config.schema import SETTINGS
from engine.config.setting import Value
from engine.runs.fields import short_name
from engine.sweeps.queue import Entry
from tui.text.numbers import format_duration, format_loss
from tui.text.tables import format_table

if TYPE_CHECKING:
    from engine.sweeps.leaderboard import Place


def format_leaderboard(places: Sequence[Place]) -> str:
    """Return a table, the best run first: its figures, and the settings that vary."""
    keys = varying_settings(place.entry for place in places)
    figures = (*loss_names(places), "at step", "step", "time")
    header = ("", "run", "state", *figures, *map(format_key, keys))
    rows = [_row(place, keys) for place in places]
    lines = [format_table(header, rows, right=(0, *range(3, len(header))))]
    lines += [f"{place.run.name}: {place.pruned}" for place in places if place.run and place.pruned]
    failed = [place.entry for place in places if place.entry.problem]
    lines += [f"{one.run}: {one.problem} (gpt-tui queue retry {one.id})" for one in failed]
    return "\n".join(lines)


def _row(place: Place, keys: Sequence[str]) -> tuple[str, ...]:
    run = place.run
    return (
        "" if place.rank is None else str(place.rank),
        (run.name if run else place.entry.run) or "–",
        format_state(place),
        *format_losses(place),
        f"{run.best_step:,}" if run and run.best_step is not None else "–",
        *format_progress(place),
        *(format_value(key, place.entry.value(key)) for key in keys),
    )


def loss_names(places: Sequence[Place]) -> tuple[str, ...]:
    """Return the titles of `format_losses`: first that by which the runs are ranked."""
    return ("bits/byte", "best val") if any(one.by_bytes for one in places) else ("best val",)


def format_losses(place: Place) -> tuple[str, ...]:
    """Return the best losses of a run."""
    run = place.run
    best = format_loss(run.best_val_loss if run else None)
    return (
        (format_loss(run.best_bits_per_byte if run else None), best) if place.by_bytes else (best,)
    )


def format_progress(place: Place) -> tuple[str, str]:
    """Return the steps of a run, taken and planned, and its training time."""
    if not place.run:
        return "–", "–"
    run = place.run
    return f"{run.step:,}/{run.total_steps:,}", format_duration(run.train_seconds)


def format_state(place: Place) -> str:
    """Return the state of an entry; ``stopped early`` if the pruning rule ended its run."""
    return "stopped early" if place.pruned else place.entry.state


def format_queue(entries: Sequence[Entry]) -> str:
    header = ("id", "state", "sweep", "run", "settings")
    rows = [(str(e.id), e.state, e.sweep or "–", e.run or "–", _about(e)) for e in entries]
    return format_table(header, rows, right=(0,), wrap=True)


def format_entry(entry: Entry) -> str:
    """Return its name and its settings in one line."""
    return " · ".join(filter(None, (entry.run or entry.sweep, _about(entry))))


def format_name(entry: Entry, keys: Iterable[str]) -> str:
    """Return what an entry is called before it has a run: its place in its sweep, what it tries.

    Args:
        keys: The settings in which the entries of its sweep differ; none for a short name.
    """
    tried = (
        f"{short_name(key)} {format_value(key, value)}"
        for key in keys
        if (value := entry.value(key)) is not None
    )
    return " ".join((f"{entry.sweep}-{entry.number}", *tried)) if entry.sweep else ""


def _about(entry: Entry) -> str:
    """Return what was changed for an entry; also why it failed, if it did."""
    words = [f"{format_key(key)} {format_value(key, one)}" for key, one in entry.changes.items()]
    about = ", ".join(words) or str(entry.settings.get("preset") or "as they are")
    return f"{about}: {entry.problem}" if entry.problem else about


def varying_settings(entries: Iterable[Entry]) -> list[str]:
    """Return the settings that differ between entries, or those changed for a single one."""
    entries = list(entries)
    keys = list(dict.fromkeys(key for entry in entries for key in entry.changes))
    if len(entries) == 1:
        return keys
    return [key for key in keys if len({entry.value(key) for entry in entries}) > 1]


def format_key(key: str) -> str:
    """Return a setting's name, with its section if another setting has the same name."""
    name = key.split(".")[1]
    return name if sum(one.name == name for one in SETTINGS.values()) == 1 else key


def format_value(key: str, value: Value | None) -> str:
    """Return the value of a setting as the user types it; a dash if there is none."""
    return "–" if value is None else SETTINGS[key].format(value)


def place_facts(place: Place, runs_dir: Path) -> dict[str, Any]:
    """Return a line of the leaderboard for ``--json``."""
    run = place.run
    renamed = {"name": run.name, "run": run.path} if run else {}
    return entry_facts(place.entry, runs_dir) | {
        **renamed,
        "rank": place.rank,
        "steps": run.step if run else None,
        "total_steps": run.total_steps if run else None,
        "outdone": place.pruned or None,
        "best_val_loss": run.best_val_loss if run else None,
        "best_bits_per_byte": run.best_bits_per_byte if run else None,
        "best_step": run.best_step if run else None,
        "val_loss": run.val_loss if run else None,
        "train_seconds": run.train_seconds if run else None,
    }


def entry_facts(entry: Entry, runs_dir: Path) -> dict[str, Any]:
    """Return an entry for ``--json``."""
    return {
        "id": entry.id,
        "sweep": entry.sweep or None,
        "state": entry.state,
        "name": entry.run or None,
        "run": str(runs_dir / entry.run) if entry.run else None,
        "settings": entry.changes,
        "problem": entry.problem,
    }
