"""The queue of runs to train: one SQLite table in the runs folder, shared by several programs.

The program that trains an entry holds a file lock, which the operating system releases when the
program ends. An entry that was started and is not locked was interrupted; it is resumed before new
ones start.
"""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import InputError, reason_of
from data.files import remove_tree
from data.paths import (
    check_storable,
    describe_os_error,
    quoted_path,
    utf8_text,
)
from data.reading import convert, parse_json
from data.specs import STANDARD_INPUT, anchored, specs_of
from engine.config.schema import SETTINGS, TEXTS, config_from_dict, read_config
from engine.config.setting import Value
from engine.protocol import Open, PruningRule, Start, State
from engine.runs.folder import (
    CONFIG_FILE,
    LOCK_FILE,
    NAME_PATTERN,
    RunIsTaken,
    RunLock,
    check_word,
    is_locked,
    list_runs,
)
from engine.runs.notes import read_notes
from engine.runs.own_files import find_foreign, unlinked, unshare
from engine.runs.sqlite import Bounded, check_files, statements
from engine.sweeps.median_rule import MedianRule

if TYPE_CHECKING:
    from engine.sweeps.grid import Trial

FOLDER, FILE = ".queue", "queue.db"  # the name of a run cannot start with a dot
HELD = "held"  # a file that is there while no run is to start by itself
VERSION = 2  # of the table
BUSY_SECONDS = 10.0  # lock timeout; transactions take milliseconds
SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER NOT NULL, sweep TEXT NOT NULL,
    number INTEGER NOT NULL, settings TEXT NOT NULL, changes TEXT NOT NULL,
    command_line TEXT NOT NULL, state TEXT NOT NULL, run TEXT NOT NULL, problem TEXT NOT NULL,
    created REAL NOT NULL, cleared INTEGER NOT NULL, rule TEXT NOT NULL)
"""


STORED = (
    *("id", "sweep", "number", "settings", "changes", "command_line", "state", "run", "problem"),
    "rule",
)


class EntryState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    INTERRUPTED = "interrupted"  # stored as running, but no program holds the lock
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


OVER = (EntryState.DONE, EntryState.FAILED, EntryState.CANCELLED)
PENDING = (EntryState.INTERRUPTED, EntryState.WAITING)  # in the order in which they are taken


@dataclass(frozen=True)
class Entry:
    id: int
    sweep: str  # empty for a single run
    number: int  # within the sweep, from 1
    settings: dict[str, str | dict[str, Value]]  # all of them, as in config.toml
    changes: dict[str, Value]  # the settings that were changed for it
    command_line: str  # the command that added it
    state: EntryState
    run: str  # the name of its run; empty before it begins
    problem: str  # why it failed
    rule: MedianRule | None

    @property
    def is_over(self) -> bool:
        return self.state in OVER

    @property
    def is_damaged(self) -> bool:
        """Whether its row in the file could not be read: ``problem`` says why."""
        return not self.settings

    @property
    def is_pending(self) -> bool:
        """Whether it is to be trained and no program trains it now."""
        return self.state in PENDING

    def value(self, key: str) -> Value | None:
        """Return the value of a setting; None if another version added it without that setting."""
        section, name = key.split(".")
        settings = self.settings.get(section)
        return settings.get(name) if isinstance(settings, dict) else None


class Queue:
    """The queue of a runs folder; its file is created when something is added.

    Every method raises ``InputError`` if the file cannot be read or written, if there is no such
    entry, or if its state does not allow the change.
    """

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self.path = runs_dir / FOLDER / FILE
        self._locks: dict[int, RunLock] = {}  # of the entries that were taken here

    # -- reading ---------------------------------------------------------------------------------

    def entries(self, sweep: str | None = None, cleared: bool = False) -> list[Entry]:
        """Return the entries in the order of the queue; of a sweep, also the cleared ones."""
        if not self.path.exists():
            return []
        with self._open() as db:
            return self._select(db, sweep, cleared)

    def pending(self, sweep: str | None = None) -> list[Entry]:
        """Return the entries to train, in the order in which they are taken."""
        entries = [entry for entry in self.entries(sweep) if entry.is_pending]
        return sorted(entries, key=lambda entry: PENDING.index(entry.state))

    def sweeps(self) -> list[str]:
        """Return the names of all sweeps, the newest last."""
        by_age = sorted(self.entries(cleared=True), key=lambda entry: entry.id)
        return list(dict.fromkeys(entry.sweep for entry in by_age if entry.sweep))

    def check_name(self, sweep: str) -> None:
        """Raise ``InputError`` if the name of a new sweep is taken or invalid."""
        check_word(sweep, "sweep")
        if sweep in self.sweeps():
            raise InputError(
                f"there is already a sweep {sweep!r}: choose another --name, or resume it: "
                f"gpt-tui sweep --resume {sweep}"
            )

    def run_of(self, entry: Entry) -> Path | None:
        """Return the run of an entry, even if renamed; None if it has not begun or is deleted."""
        for run in self._called(entry.run) if entry.run else ():
            with suppress(InputError):
                asked, made = config_from_dict(entry.settings), read_config(run / CONFIG_FILE)
                # another program may have taken the name first; paths of texts may be resolved
                if not asked.differences(made).keys() - set(TEXTS):
                    return run
        return None

    def _called(self, name: str) -> Iterator[Path]:
        """Yield the run folders that have or had a name."""
        yield self.runs_dir / name
        for run in list_runs(self.runs_dir):
            with suppress(InputError):  # a run whose notes are damaged has no other names
                if name in read_notes(run).formerly:
                    yield run

    # -- changing --------------------------------------------------------------------------------

    def add(
        self,
        trials: Sequence[Trial],
        command_line: str,
        sweep: str | None = None,
        rule: MedianRule | None = None,
    ) -> str:
        """Append runs, all or none of them; return the name of their sweep.

        An empty name for the sweep takes the next free number; None is for single runs. The rule
        prunes runs of the sweep.
        """
        from data.corpora.catalogue import KNOWN_NAMES  # not for the first paint

        with self._open(write=True) as db:
            name = sweep or ""
            if name:
                self.check_name(name)
            elif sweep is not None:
                taken, numbers = self.sweeps(), itertools.count(1)
                name = next(one for n in numbers if (one := f"sweep-{n}") not in taken)
            last = len(_number(db, _in_order(db)))
            kept_rule = json.dumps(asdict(rule)) if rule and name else ""
            for number, trial in enumerate(trials, start=1):
                config = trial.config
                for key in filter(config.get, TEXTS):
                    text = str(config.get(key))
                    if STANDARD_INPUT in specs_of(text):
                        raise InputError(
                            "standard input cannot wait in the queue: save it to a file, and name "
                            "that"
                        )
                    text = anchored(text, KNOWN_NAMES)  # to be found from any folder
                    check_storable(*specs_of(text))
                    config = config.replace({key: text})
                row = (
                    *(last + number, name, number, json.dumps(config.to_dict())),
                    *(json.dumps(dict(trial.changes)), command_line, time.time(), kept_rule),
                )
                db.execute(
                    "INSERT INTO entries (position, sweep, number, settings, changes, "
                    "command_line, state, run, problem, created, cleared, rule) "
                    "VALUES (?, ?, ?, ?, ?, ?, 'waiting', '', '', ?, 0, ?)",
                    row,
                )
        return name

    def cancel(self, id: int) -> None:
        """Cancel an entry; its run is kept."""
        with self._open(write=True) as db:
            self._entry(db, id, PENDING, "cancelled")
            _update(db, id, state=EntryState.CANCELLED)

    def retry(self, id: int) -> None:
        """Queue a failed or cancelled entry again; its run is resumed."""
        with self._open(write=True) as db:
            entry = self._entry(db, id, (EntryState.FAILED, EntryState.CANCELLED), "retried")
            if entry.is_damaged:
                raise InputError(f"entry {id} cannot be retried: {entry.problem}")
            _update(db, id, state=EntryState.WAITING, problem="", cleared=0)

    def move(self, id: int, places: int) -> None:
        """Move a waiting entry towards the front (below 0) or the end of the queue."""
        with self._open(write=True) as db:
            self._entry(db, id, (EntryState.WAITING,), "moved")
            entries = self._select(db, cleared=True)
            waiting = [one.id for one in entries if one.state is EntryState.WAITING]
            new = min(max(waiting.index(id) + places, 0), len(waiting) - 1)
            waiting.remove(id)
            waiting.insert(new, id)
            moved, these = iter(waiting), set(waiting)
            _number(db, [next(moved) if one in these else one for one in _in_order(db)])

    def clear(self) -> None:
        """Hide the entries that are over, but not from leaderboards."""
        with self._open(write=True) as db:
            for entry in self._select(db):
                if entry.is_over:  # also one whose row is damaged
                    _update(db, entry.id, cleared=1)

    @property
    def is_held(self) -> bool:
        """Whether no run is to start by itself, also after the app is started again."""
        return os.path.lexists(self.path.with_name(HELD))

    def hold(self, held: bool) -> None:
        """Let no run start by itself, or again."""
        sign = self.path.with_name(HELD)
        try:
            if held:
                sign.parent.mkdir(parents=True, exist_ok=True)
                sign.touch()
            else:
                sign.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(describe_os_error(error)) from None

    # -- training --------------------------------------------------------------------------------

    def take(self, sweep: str | None = None) -> tuple[Entry, Start | Open] | None:
        """Lock the next entry, so that no other program trains it until ``end``.

        Also return the command that makes the engine train it. An entry whose run was finished
        outside the queue is marked as done. One that cannot be locked is passed over; it is told
        when no other is left.
        """
        taken, problem = None, None
        with self._open(write=True) as db:
            for entry in self.pending(sweep):
                try:
                    lock = self._lock(entry.id)
                except RunIsTaken:
                    continue
                except InputError as error:
                    problem = problem or error
                    continue
                command = self._command(db, entry)
                if command:
                    taken = self._entry(db, entry.id), command
                    break
                lock.release()
        if taken:  # and written
            self._locks[taken[0].id] = lock
        elif problem:
            raise problem
        return taken

    def end(self, id: int, state: EntryState, problem: str = "") -> None:
        """Record that an entry is done, failed, or interrupted to be resumed, and unlock it."""
        lock = self._locks.pop(id)
        try:
            with self._open(write=True) as db:
                if state is EntryState.INTERRUPTED:
                    begun = (self.runs_dir / self._entry(db, id).run / CONFIG_FILE).is_file()
                    state = EntryState.RUNNING if begun else EntryState.WAITING
                _update(db, id, state=state, problem=utf8_text(problem))
                remove_tree(self._lock_folder(id))
        finally:
            lock.release()

    def _command(self, db: sqlite3.Connection, entry: Entry) -> Start | Open | None:
        """Return the command that trains an entry; None if its run is in training or finished."""
        from engine.runs.summary import read_summary  # imports numpy, not needed before training

        run = self.run_of(entry)
        if run and is_locked(run):
            return None
        if run and read_summary(run).state == State.FINISHED:
            _update(db, entry.id, state=EntryState.DONE)
            return None
        sweep = self._select(db, entry.sweep) if entry.sweep else []
        others = [one for one in sweep if one.id != entry.id]
        rule = None
        if entry.rule:
            done = (self.run_of(one) for one in others if one.state is EntryState.DONE)
            rivals = tuple(str(path) for path in done if path)
            rule = PruningRule(entry.rule.after_runs, entry.rule.after_steps, rivals)
        name = run.name if run else self._free_name(db, entry)
        _update(db, entry.id, state=EntryState.RUNNING, run=name)
        if run:
            return Open(str(run), running=True, pruning_rule=rule)
        like = next((str(path) for path in map(self.run_of, others) if path), "")
        return Start(entry.settings, str(self.runs_dir), name, entry.command_line, like, rule)

    def _free_name(self, db: sqlite3.Connection, entry: Entry) -> str:
        """Return a name for the run of an entry that no folder and no other entry has."""
        taken = {one.run for one in self._select(db, cleared=True) if one.id != entry.id}
        stem = entry.sweep or str(entry.settings.get("preset"))
        stem = stem if NAME_PATTERN.fullmatch(stem) else "run"
        names = (f"{stem}-{number}" for number in itertools.count(entry.number))
        return next(n for n in names if n not in taken and not (self.runs_dir / n).exists())

    # -- the file --------------------------------------------------------------------------------

    @contextmanager
    def _open(self, write: bool = False) -> Iterator[sqlite3.Connection]:
        """Open the file; to write, in a transaction that blocks other writers."""
        with self._refusing(sqlite3.Error, OSError):
            unlinked(self.path.parent, "the queue")
            if write:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            check_files(self.path)
            if write:
                unshare(self.path)
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
            with closing(connection) as db, db:  # commits, or rolls back after an error
                db.text_factory = lambda text: text.decode(errors="replace")  # of one entry alone
                (version,) = db.execute("PRAGMA user_version").fetchone()
                if version not in (0, VERSION):
                    raise InputError(
                        f"{self.path} was written by another gpt-tui: use that one, or move the "
                        f"file away, the runs are not affected"
                    )
                if version == 0:  # it is new; another program may do the same at this moment
                    db.execute(SCHEMA)
                    db.execute(f"PRAGMA user_version = {VERSION}")
                with self._refusing(ValueError):
                    Bounded(db).check_tables(statements(SCHEMA))
                if write:
                    db.execute("BEGIN IMMEDIATE")
                yield db

    @contextmanager
    def _refusing(self, *errors: type[Exception]) -> Iterator[None]:
        """Raise ``InputError`` for errors of the file."""
        try:
            yield
        except errors as error:
            raise InputError(
                f"the queue {self.path} cannot be used ({reason_of(error)}): check that the folder "
                f"is writable and has space left; a damaged file can be moved away, the runs are "
                f"not affected"
            ) from None

    def _select(
        self, db: sqlite3.Connection, sweep: str | None = None, cleared: bool = False
    ) -> list[Entry]:
        with self._refusing(ValueError), Bounded(db).in_time():
            rows = db.execute(
                f"SELECT {', '.join(STORED)} "
                "FROM entries WHERE (:sweep IS NULL AND (:cleared OR cleared IS NOT 1)) "
                "OR sweep = :sweep ORDER BY position, id",
                {"sweep": sweep, "cleared": cleared},
            ).fetchall()
        return [self._read(dict(zip(STORED, row, strict=True))) for row in rows]

    def _read(self, row: dict[str, Any]) -> Entry:
        try:
            entry = _entry_of(row)
        except ValueError as error:
            why = f"its row in {self.path} cannot be read ({error}): queue what it was once more"
            return Entry(row["id"], "", 0, {}, {}, "", EntryState.FAILED, "", why, None)
        if entry.state is EntryState.RUNNING and not is_locked(self._lock_folder(entry.id)):
            return replace(entry, state=EntryState.INTERRUPTED)
        return entry

    def _entry(
        self,
        db: sqlite3.Connection,
        id: int,
        states: Collection[EntryState] = tuple(EntryState),
        change: str = "",
    ) -> Entry:
        """Return an entry, which has to be in one of these states to be changed."""
        entry = next((one for one in self._select(db, cleared=True) if one.id == id), None)
        if entry is None:
            raise InputError(f"there is no entry {id} in the queue: 'gpt-tui queue' lists them")
        if entry.state not in states:
            only = " and ".join(states)
            raise InputError(f"entry {id} is {entry.state}: only {only} entries can be {change}")
        return entry

    def _lock(self, id: int) -> RunLock:
        """Lock an entry.

        Raises:
            RunIsTaken: Another program trains it.
            InputError: Its folder cannot be written, or is something else.
        """
        folder = self._lock_folder(id)
        with suppress(FileExistsError):
            folder.mkdir()
        foreign, told = find_foreign(folder)
        if told or (foreign := folder / LOCK_FILE).is_dir():
            raise InputError(
                f"entry {id} cannot be trained ({foreign} is not what the queue puts there): "
                f"remove it: rm -r {quoted_path(foreign)}"
            )
        return RunLock(folder)

    def _lock_folder(self, id: int) -> Path:
        """Return the folder whose lock file is held by the program that trains an entry."""
        return self.path.with_name(f"{id}.training")


def _entry_of(row: dict[str, Any]) -> Entry:
    """Check the row of an entry.

    Raises:
        ValueError: It is not one that this program wrote.
    """
    parsed = {name: parse_json(row[name] or "null") for name in ("settings", "changes", "rule")}
    entry = convert(row | parsed, Entry, "entry")
    for key, value in entry.changes.items():
        if key not in SETTINGS:
            raise ValueError(f"there is no setting {key!r}")
        SETTINGS[key].check(value)
    if entry.run and not NAME_PATTERN.fullmatch(entry.run):
        raise ValueError(f"{entry.run!r} cannot name a run")
    if not entry.settings:
        raise ValueError("it has no settings")
    return entry


def _update(db: sqlite3.Connection, id: int, **values: object) -> None:
    assignments = ", ".join(f"{name} = ?" for name in values)
    db.execute(f"UPDATE entries SET {assignments} WHERE id = ?", (*values.values(), id))


def _in_order(db: sqlite3.Connection) -> list[int]:
    """Return the ids of all entries in the order of the queue."""
    return [id for (id,) in db.execute("SELECT id FROM entries ORDER BY position, id")]


def _number(db: sqlite3.Connection, ids: list[int]) -> list[int]:
    """Give entries the positions 1, 2 …, whatever theirs were; return the ids."""
    db.executemany("UPDATE entries SET position = ? WHERE id = ?", enumerate(ids, start=1))
    return ids
