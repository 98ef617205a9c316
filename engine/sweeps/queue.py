"""A persistent queue of runs in the runs folder, shared by any number of processes.

It is a small SQLite file. The process that trains an entry holds a file lock on it, which the
operating system releases when the process ends: an entry that was started but is not locked was
interrupted, and is resumed before new ones start.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO

from data.errors import InputError
from engine.protocol import Open, PruningRule, Start, State
from engine.runs.folder import CONFIG_FILE, NAME_PATTERN, check_word, is_locked, list_runs
from engine.runs.notes import read_notes
from engine.sweeps.median_rule import MedianRule
from engine.sweeps.queue_entry import OVER, Entry, EntryState, RunRequest, is_run_of, with_path
from engine.sweeps.queue_file import QueueFile, set_values, try_lock


class Queue:
    """The queue of a runs folder; its file is created when something is added.

    Every method raises ``InputError`` if the queue cannot be read or written.
    """

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self.file = QueueFile(runs_dir)

    # -- reading ---------------------------------------------------------------------------------

    def entries(self, sweep: str | None = None, cleared: bool = False) -> list[Entry]:
        """Return the entries in the order of the queue.

        Args:
            sweep: Only the entries of this sweep, cleared or not.
            cleared: Include cleared entries.
        """
        if not self.file.path.exists():
            return []
        with self.file.open() as db:
            return self.file.select(db, sweep, cleared)

    def sweeps(self) -> list[str]:
        """Return the names of all sweeps, the newest last."""
        return list(dict.fromkeys(one.sweep for one in self._by_age() if one.sweep))

    def check_name(self, sweep: str) -> None:
        """Check the name of a new sweep.

        Raises:
            InputError: It is taken or invalid.
        """
        _check_sweep_name(sweep, self.sweeps())

    def run_of(self, entry: Entry) -> Path | None:
        """Return the run of an entry, even if renamed; None if it has not begun or is deleted."""
        if not entry.run:
            return None
        return next((run for run in self._called(entry.run) if is_run_of(run, entry)), None)

    def _called(self, name: str) -> Iterator[Path]:
        """Yield the run folders that have or had a name."""
        yield self.runs_dir / name
        for run in list_runs(self.runs_dir):
            with suppress(InputError):  # a run whose notes are damaged has no other names
                if name in read_notes(run).formerly:
                    yield run

    def _by_age(self) -> list[Entry]:
        return sorted(self.entries(cleared=True), key=lambda entry: entry.id)

    # -- changing --------------------------------------------------------------------------------

    def add(
        self,
        requests: Sequence[RunRequest],
        command_line: str,
        sweep: str | None = None,
        rule: MedianRule | None = None,
    ) -> str:
        """Append runs to the queue, in one transaction.

        Args:
            requests: The runs.
            command_line: The command that adds them, to be recorded.
            sweep: The name of their sweep; empty for the next free number, None for no sweep.
            rule: Prunes runs of the sweep.

        Returns:
            The name of the sweep.

        Raises:
            InputError: The name of the sweep is taken or invalid.
        """
        with self.file.change() as db:
            name = "" if sweep is None else self._sweep_name(db, sweep)
            (last,) = db.execute("SELECT coalesce(max(position), 0) FROM entries").fetchone()
            kept_rule = json.dumps(asdict(rule)) if rule and name else ""
            for number, request in enumerate(requests, start=1):
                config = with_path(request.config).to_dict()
                row = (
                    *(last + number, name, number, json.dumps(config)),
                    *(json.dumps(dict(request.changes)), command_line),
                    *(EntryState.WAITING, "", "", time.time(), 0, kept_rule),
                )
                db.execute(
                    "INSERT INTO entries (position, sweep, number, settings, changes, "
                    "command_line, state, run, problem, created, cleared, rule) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    row,
                )
        return name

    def cancel(self, id: int) -> None:
        """Cancel an entry; its run is kept.

        Raises:
            InputError: There is no such entry, or it is being trained or over.
        """
        with self.file.change() as db:
            entry = self.file.entry(db, id)
            if entry.live:
                raise InputError(
                    f"entry {id} is being trained: stop it in the program that trains it"
                )
            if entry.is_over:
                raise InputError(f"entry {id} is {entry.state} already")
            set_values(db, id, state=EntryState.CANCELLED)

    def retry(self, id: int) -> None:
        """Queue a failed or cancelled entry again; its run is resumed.

        Raises:
            InputError: There is no such entry, or it is neither failed nor cancelled.
        """
        with self.file.change() as db:
            entry = self.file.entry(db, id)
            if entry.state not in (EntryState.FAILED, EntryState.CANCELLED):
                raise InputError(
                    f"entry {id} is {entry.state_name}: only failed and cancelled entries can be "
                    f"retried"
                )
            set_values(db, id, state=EntryState.WAITING, problem="", cleared=0)

    def move(self, id: int, places: int) -> None:
        """Move a waiting entry towards the front (below 0) or the end of the queue.

        Raises:
            InputError: There is no such entry, or it is not waiting.
        """
        with self.file.change() as db:
            entry = self.file.entry(db, id)
            if entry.state is not EntryState.WAITING:
                raise InputError(
                    f"entry {id} is {entry.state_name}: only waiting entries can be moved"
                )
            line = [e for e in self.file.select(db) if e.state is EntryState.WAITING]
            places_taken = [one.position for one in line]
            old = next(i for i, one in enumerate(line) if one.id == id)
            new = min(max(old + places, 0), len(line) - 1)
            line.insert(new, line.pop(old))
            for one, position in zip(line, places_taken, strict=True):
                set_values(db, one.id, position=position)

    def clear(self) -> int:
        """Hide entries that are over, but not from leaderboards; return how many."""
        with self.file.change() as db:
            marks = ", ".join("?" * len(OVER))
            return db.execute(
                f"UPDATE entries SET cleared = 1 WHERE cleared = 0 AND state IN ({marks})", OVER
            ).rowcount

    def take(self, sweep: str | None = None) -> Taken | None:
        """Lock the next entry and return it; None if there is none.

        Interrupted entries come first. An entry whose run was finished outside the queue is marked
        as done.

        Args:
            sweep: Consider only the entries of this sweep.
        """
        with self.file.change() as db:
            entries = [one for one in self.file.select(db, sweep) if not one.is_over]
            for entry in sorted(entries, key=lambda one: one.state is EntryState.WAITING):
                lock = try_lock(self.file.lock_file(entry.id))
                if lock is None:
                    continue
                command = self._command(db, entry)
                if command is not None:
                    return Taken(self, self.file.entry(db, entry.id), command, lock)
                lock.close()
        return None

    # -- taking ----------------------------------------------------------------------------------

    def _command(self, db: sqlite3.Connection, entry: Entry) -> Start | Open | None:
        """Return the command that trains an entry; None if its run is in training or finished."""
        from engine.runs.summary import read_summary  # imports numpy, not needed before training

        run = self.run_of(entry)
        if run is not None:
            if is_locked(run):
                return None
            if read_summary(run).state == State.FINISHED:
                set_values(db, entry.id, state=EntryState.DONE)
                return None
            set_values(db, entry.id, state=EntryState.RUNNING, run=run.name)
            return Open(str(run), running=True, pruning_rule=self._pruning_rule(db, entry))
        name = self._free_name(db, entry)
        set_values(db, entry.id, state=EntryState.RUNNING, run=name)
        like = next(self._siblings(db, entry), "")
        rule = self._pruning_rule(db, entry)
        return Start(entry.settings, str(self.runs_dir), name, entry.command_line, like, rule)

    def _pruning_rule(self, db: sqlite3.Connection, entry: Entry) -> PruningRule | None:
        """Return the pruning rule of an entry, and the finished runs to compare with."""
        if entry.rule is None:
            return None
        rivals = tuple(self._siblings(db, entry, EntryState.DONE))
        return PruningRule(entry.rule.after_runs, entry.rule.after_steps, rivals)

    def _siblings(
        self, db: sqlite3.Connection, entry: Entry, state: EntryState | None = None
    ) -> Iterator[str]:
        """Yield the folders of other runs of the same sweep, optionally of one state only."""
        for one in self.file.select(db, entry.sweep) if entry.sweep else []:
            if one.id != entry.id and state in (None, one.state) and (run := self.run_of(one)):
                yield str(run)

    def _free_name(self, db: sqlite3.Connection, entry: Entry) -> str:
        others = [one for one in self.file.select(db, cleared=True) if one.id != entry.id]
        reserved = {one.run for one in others}
        wanted = entry.sweep or str(entry.settings.get("preset"))
        stem = wanted if NAME_PATTERN.fullmatch(wanted) else "run"
        for number in itertools.count(entry.number):
            name = f"{stem}-{number}"
            if name not in reserved and not (self.runs_dir / name).exists():
                return name
        raise AssertionError("unreachable: the numbers do not end")

    def end(self, id: int, state: EntryState, problem: str = "") -> None:
        """Record the state of an entry; to be called by the process that holds its lock."""
        with self.file.change() as db:
            set_values(db, id, state=state, problem=problem)
            if state is not EntryState.RUNNING:
                self.file.lock_file(id).unlink(missing_ok=True)

    def _sweep_name(self, db: sqlite3.Connection, wanted: str) -> str:
        taken = {one.sweep for one in self.file.select(db, cleared=True)}
        if not wanted:
            names = (f"sweep-{number}" for number in itertools.count(1))
            return next(name for name in names if name not in taken)
        _check_sweep_name(wanted, taken)
        return wanted


def _check_sweep_name(name: str, taken: Collection[str]) -> None:
    check_word(name, "sweep")
    if name in taken:
        raise InputError(
            f"there is already a sweep {name!r}: choose another --name, or resume it: "
            f"gpt-tui sweep --resume {name}"
        )


class Taken:
    """A locked entry, which no other process trains until it is finished, failed or released.

    Attributes:
        entry: Its state when it was taken.
        command: Makes the engine train it.
    """

    def __init__(self, queue: Queue, entry: Entry, command: Start | Open, lock: IO[str]) -> None:
        self.entry, self.command = entry, command
        self._queue, self._lock = queue, lock

    @property
    def run(self) -> Path:
        """The folder of its run, which may not exist yet."""
        return self._queue.runs_dir / self.entry.run

    def finish(self) -> None:
        """Mark the entry as done."""
        self._end(EntryState.DONE)

    def fail(self, problem: str) -> None:
        """Mark the entry as failed."""
        self._end(EntryState.FAILED, problem)

    def release(self) -> None:
        """Return the entry to the queue, to be resumed later."""
        begun = (self.run / CONFIG_FILE).is_file()
        self._end(EntryState.RUNNING if begun else EntryState.WAITING)

    def _end(self, state: EntryState, problem: str = "") -> None:
        try:
            self._queue.end(self.entry.id, state, problem)
        finally:
            self._lock.close()
