"""List the runs of a folder, reading again only those whose files have changed."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from data.errors import InputError
from engine.runs.checkpoint_names import CHECKPOINTS_FOLDER
from engine.runs.database import reading
from engine.runs.folder import CONFIG_FILE, DATABASE_FILE, is_locked, list_runs
from engine.runs.notes import NOTES_FILE
from engine.runs.summary import RunSummary, read_summaries, read_summary

WATCHED = (CONFIG_FILE, DATABASE_FILE, f"{DATABASE_FILE}-wal", NOTES_FILE)

Signature = tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True)
class _Entry:
    signature: Signature
    summary: RunSummary


class Catalogue:
    """The summaries of all runs of a folder; not thread-safe."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self._entries: dict[Path, _Entry] = {}
        self._sizes: dict[Path, tuple[Signature, int]] = {}

    def read(self) -> list[RunSummary]:
        """Return the summary of every run, the oldest first."""
        entries: dict[Path, _Entry] = {}
        for path in list_runs(self.runs_dir):
            entry = self._entries.get(path)
            signature = _signature(path, WATCHED)
            if entry is None or self._has_changed(entry, path, signature):
                entry = _Entry(signature, read_summary(path))
            entries[path] = entry
        self._entries = entries
        return sorted(
            (entry.summary for entry in entries.values()), key=lambda run: (run.created, run.name)
        )

    def sizes(self) -> dict[str, int]:
        """Return the size on disk of each run of the latest ``read``, in bytes, by path."""
        sizes: dict[Path, tuple[Signature, int]] = {}
        for path in self._entries:
            signature = _signature(path, (*WATCHED, CHECKPOINTS_FOLDER, "."))
            before = self._sizes.get(path)
            if before is None or before[0] != signature:
                before = (signature, disk_use(path))
            sizes[path] = before
        self._sizes = sizes
        return {entry.summary.path: sizes[path][1] for path, entry in self._entries.items()}

    def _has_changed(self, entry: _Entry, path: Path, signature: Signature) -> bool:
        if signature != entry.signature:
            return True
        return entry.summary.live and not is_locked(path)  # a killed program leaves no other trace


def disk_use(folder: Path) -> int:
    """Return the size of all files in a folder, in bytes; files deleted meanwhile do not count."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(f"{path}/{name}").st_size
    return total


def best_earlier(run: Path) -> tuple[str, float] | None:
    """Find the run beside this one that was made before it and is the best on the same data.

    Losses compare where the text and its tokens are the same.

    Returns:
        Its name and its best validation loss; None without one.
    """
    own, text = read_summary(run), _text_of(run)
    if not text or own.config is None:
        return None
    known = [
        (one.best_val_loss, one)
        for one in read_summaries(run.parent)
        if one.best_val_loss is not None
        and math.isfinite(one.best_val_loss)
        and one.created < own.created
        and one.config is not None
        and one.config.data.tokens == own.config.data.tokens
    ]
    for loss, one in sorted(known, key=lambda pair: pair[0]):
        if _text_of(Path(one.path)) == text:
            return one.name, loss
    return None


def run_before(runs_dir: Path, run: Path | None) -> RunSummary | None:
    """Find the newest run whose settings can be read, or the newest that was made before another.

    Args:
        run: The other one; None finds the newest of all.
    """
    known = [one for one in read_summaries(runs_dir) if one.config is not None]
    if run is not None:
        made = (read_summary(run).created, run.name)
        known = [one for one in known if (one.created, one.name) < made]
    return known[-1] if known else None


def _text_of(run: Path) -> str:
    """Return the hash of a run's text; empty if it is not known."""
    with suppress(InputError, OSError), reading(run) as database:
        return str(database.meta().get("corpus", {}).get("sha256", ""))
    return ""


def find_parent(run: RunSummary, runs: Iterable[RunSummary]) -> RunSummary | None:
    """Find the run that a run was forked from, even if it was renamed since."""
    if not run.parent:
        return None
    older = [one for one in runs if one.created <= run.created and one.path != run.path]
    named = [one for one in older if one.name == run.parent]
    return next(iter(named + [one for one in older if run.parent in one.formerly]), None)


def _signature(path: Path, names: Iterable[str]) -> Signature:
    return tuple(_stamp(f"{path}/{name}") for name in names)


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
