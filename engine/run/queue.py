"""The runs that are to come: a durable queue in the runs folder, for any number of programs.

It is a small SQLite file, so that what was added survives whatever happens to the program. Who
trains an entry holds a lock on it that the operating system drops with the process: an entry that
is begun and held by nobody was interrupted, and goes on before new ones begin.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from data.corpus import KNOWN_NAMES
from data.errors import InputError
from engine.config import Config, config_from_dict, read_config
from engine.protocol import Open, Start, State
from engine.run.folder import CONFIG_FILE, NAME_PATTERN, is_locked, list_runs
from engine.run.notes import read_notes
from engine.settings import Value

QUEUE_FOLDER, QUEUE_FILE = ".queue", "queue.db"  # no run can have a name with a dot in front
SCHEMA_VERSION = 1
BUSY_SECONDS = 10.0  # other programs change the queue in milliseconds

SCHEMA = """
CREATE TABLE entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER NOT NULL, sweep TEXT NOT NULL,
    number INTEGER NOT NULL, settings TEXT NOT NULL, changes TEXT NOT NULL,
    command_line TEXT NOT NULL, state TEXT NOT NULL, run TEXT NOT NULL, problem TEXT NOT NULL,
    created REAL NOT NULL, cleared INTEGER NOT NULL)
"""


class EntryState(StrEnum):
    """What has become of an entry."""

    WAITING = "waiting"
    RUNNING = "running"  # or interrupted: see ``Entry.live``
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


OVER = (EntryState.DONE, EntryState.FAILED, EntryState.CANCELLED)


@dataclass(frozen=True)
class Wish:
    """A run to be queued: its settings, and those it is about."""

    config: Config
    changes: Mapping[str, Value]


@dataclass(frozen=True)
class Entry:
    """A run in the queue.

    Attributes:
        id: What the person calls it by.
        position: Its place; the smallest is trained first.
        sweep: What it is part of; empty for a run of its own.
        number: Within the sweep, from 1.
        settings: All of them, as in ``config.toml``.
        changes: Those it is about.
        command_line: What added it.
        state: What has become of it.
        run: The name of its run; empty before it begins.
        problem: Why it failed.
        created: Seconds since 1970.
        live: Some program trains it now.
    """

    id: int
    position: int
    sweep: str
    number: int
    settings: dict[str, Any]
    changes: dict[str, Value]
    command_line: str
    state: EntryState
    run: str
    problem: str
    created: float
    live: bool

    @property
    def state_in_words(self) -> str:
        """Its state; ``interrupted`` if it was begun and nobody trains it."""
        lies = self.state is EntryState.RUNNING and not self.live
        return "interrupted" if lies else str(self.state)

    @property
    def is_over(self) -> bool:
        """Whether it will not be trained unless asked for."""
        return self.state in OVER

    def value(self, key: str) -> Value | None:
        """The value of a setting; None if the program that added it did not know it."""
        section, name = key.split(".")
        value: Value | None = self.settings.get(section, {}).get(name)
        return value


class Queue:
    """The queue of a runs folder. It is made when something is added.

    Every method raises ``InputError`` if the queue cannot be read or written.

    Args:
        runs_dir: The folder.
    """

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self.folder = runs_dir / QUEUE_FOLDER
        self.path = self.folder / QUEUE_FILE

    # -- looking ---------------------------------------------------------------------------------

    def entries(self, sweep: str | None = None, cleared: bool = False) -> list[Entry]:
        """What is in the queue, in its order.

        Args:
            sweep: Only what belongs to it, cleared or not.
            cleared: Also what was cleared away.
        """
        if not self.path.exists():
            return []
        with self._open() as db:
            return self._select(db, sweep, cleared)

    def sweeps(self) -> list[str]:
        """The names of all sweeps, the newest last."""
        return list(dict.fromkeys(one.sweep for one in self._by_age() if one.sweep))

    def run_of(self, entry: Entry) -> Path | None:
        """The run of an entry, also if it was renamed; None before it begins, or if it is gone."""
        if not entry.run:
            return None
        return next((run for run in self._called(entry.run) if _is_run_of(run, entry)), None)

    def _called(self, name: str) -> Iterator[Path]:
        """The folders that have or had a name."""
        yield self.runs_dir / name
        for run in list_runs(self.runs_dir):
            with suppress(InputError):  # a run whose notes are damaged has no other names
                if name in read_notes(run).formerly:
                    yield run

    def _by_age(self) -> list[Entry]:
        return sorted(self.entries(cleared=True), key=lambda entry: entry.id)

    # -- changing --------------------------------------------------------------------------------

    def add(self, wishes: Sequence[Wish], command_line: str, sweep: str | None = None) -> str:
        """Put runs at the end, all of them or none.

        Args:
            wishes: The runs.
            command_line: What the person typed.
            sweep: A new name for them as a whole; empty takes the next number, None makes them
                runs of their own.

        Returns:
            The name of the sweep.

        Raises:
            InputError: The sweep's name is taken or unfit.
        """
        with self._change() as db:
            name = "" if sweep is None else self._sweep_name(db, sweep)
            (last,) = db.execute("SELECT coalesce(max(position), 0) FROM entries").fetchone()
            for number, wish in enumerate(wishes, start=1):
                config = _with_path(wish.config).to_dict()
                row = (
                    *(last + number, name, number, json.dumps(config)),
                    *(json.dumps(dict(wish.changes)), command_line),
                    *(EntryState.WAITING, "", "", time.time(), 0),
                )
                db.execute(
                    "INSERT INTO entries (position, sweep, number, settings, changes, "
                    "command_line, state, run, problem, created, cleared) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    row,
                )
        return name

    def cancel(self, id: int) -> None:
        """Take an entry out of turn; what it has trained is kept.

        Raises:
            InputError: There is no such entry, or it is being trained or over.
        """
        with self._change() as db:
            entry = self._entry(db, id)
            if entry.live:
                raise InputError(f"entry {id} is being trained: stop it where it is trained")
            if entry.is_over:
                raise InputError(f"entry {id} is {entry.state} already")
            _set(db, id, state=EntryState.CANCELLED)

    def retry(self, id: int) -> None:
        """Have a failed or cancelled entry trained after all; it goes on where it was.

        Raises:
            InputError: There is no such entry, or it is neither.
        """
        with self._change() as db:
            entry = self._entry(db, id)
            if entry.state not in (EntryState.FAILED, EntryState.CANCELLED):
                raise InputError(
                    f"entry {id} is {entry.state_in_words}: only what failed or was cancelled "
                    f"can be tried again"
                )
            _set(db, id, state=EntryState.WAITING, problem="", cleared=0)

    def move(self, id: int, places: int) -> None:
        """Let an entry wait for less (below 0) or more places.

        Raises:
            InputError: There is no such entry, or it does not wait.
        """
        with self._change() as db:
            entry = self._entry(db, id)
            if entry.state is not EntryState.WAITING:
                raise InputError(f"entry {id} is {entry.state_in_words}: only what waits can move")
            line = [e for e in self._select(db) if e.state is EntryState.WAITING]
            places_taken = [one.position for one in line]
            old = next(i for i, one in enumerate(line) if one.id == id)
            new = min(max(old + places, 0), len(line) - 1)
            line.insert(new, line.pop(old))
            for one, position in zip(line, places_taken, strict=True):
                _set(db, one.id, position=position)

    def clear(self) -> int:
        """Take out of sight what is over; leaderboards and runs keep it. Returns how many."""
        with self._change() as db:
            marks = ", ".join("?" * len(OVER))
            return db.execute(
                f"UPDATE entries SET cleared = 1 WHERE cleared = 0 AND state IN ({marks})", OVER
            ).rowcount

    def take(self, sweep: str | None = None) -> Taken | None:
        """The right to train the entry whose turn it is; None if there is none.

        What was interrupted comes first. An entry whose run was finished by hand is done.

        Args:
            sweep: Only take what belongs to it.
        """
        with self._change() as db:
            entries = [one for one in self._select(db, sweep) if not one.is_over]
            for entry in sorted(entries, key=lambda one: one.state is EntryState.WAITING):
                lock = _lock(self._lock_file(entry.id))
                if lock is None:
                    continue
                command = self._command(db, entry)
                if command is not None:
                    return Taken(self, self._entry(db, entry.id), command, lock)
                lock.close()
        return None

    # -- taking ----------------------------------------------------------------------------------

    def _command(self, db: sqlite3.Connection, entry: Entry) -> Start | Open | None:
        """What has the entry trained; None if somebody does or did it by hand."""
        from engine.run.reader import read_summary  # numpy waits until there is training to do

        run = self.run_of(entry)
        if run is not None:
            if is_locked(run):
                return None
            if read_summary(run).state == State.FINISHED:
                _set(db, entry.id, state=EntryState.DONE)
                return None
            _set(db, entry.id, state=EntryState.RUNNING, run=run.name)
            return Open(str(run), running=True)
        name = self._free_name(db, entry)
        _set(db, entry.id, state=EntryState.RUNNING, run=name)
        return Start(entry.settings, str(self.runs_dir), name, entry.command_line)

    def _free_name(self, db: sqlite3.Connection, entry: Entry) -> str:
        others = [one for one in self._select(db, cleared=True) if one.id != entry.id]
        reserved = {one.run for one in others}
        wanted = entry.sweep or str(entry.settings.get("preset"))
        stem = wanted if NAME_PATTERN.fullmatch(wanted) else "run"
        for number in itertools.count(entry.number):
            name = f"{stem}-{number}"
            if name not in reserved and not (self.runs_dir / name).exists():
                return name
        raise AssertionError("unreachable: the numbers do not end")

    def end(self, id: int, state: EntryState, problem: str = "") -> None:
        """Note what has become of an entry; for who has taken it."""
        with self._change() as db:
            _set(db, id, state=state, problem=problem)
            if state is not EntryState.RUNNING:
                self._lock_file(id).unlink(missing_ok=True)

    def _lock_file(self, id: int) -> Path:
        return self.folder / f"{id}.lock"

    # -- the file --------------------------------------------------------------------------------

    def _select(
        self, db: sqlite3.Connection, sweep: str | None = None, cleared: bool = False
    ) -> list[Entry]:
        if _version(db) == 0:  # the program that made it was killed before it could add anything
            return []
        rows = db.execute(
            "SELECT id, position, sweep, number, settings, changes, command_line, state, run, "
            "problem, created FROM entries "
            "WHERE (?1 IS NULL AND cleared <= ?2) OR sweep = ?1 ORDER BY position, id",
            (sweep, int(cleared)),
        )
        return [self._read(row) for row in rows]

    def _read(self, row: tuple[Any, ...]) -> Entry:
        id, position, sweep, number, settings, changes, typed, state, run, problem, created = row
        held = state == EntryState.RUNNING and _is_held(self._lock_file(id))
        return Entry(
            *(id, position, sweep, number, json.loads(settings), json.loads(changes)),
            *(typed, EntryState(state), run, problem, created, held),
        )

    def _entry(self, db: sqlite3.Connection, id: int) -> Entry:
        for entry in self._select(db, cleared=True):
            if entry.id == id:
                return entry
        raise InputError(f"there is no entry {id} in the queue: 'gpt-tui queue' lists them")

    def _sweep_name(self, db: sqlite3.Connection, wanted: str) -> str:
        taken = {one.sweep for one in self._select(db, cleared=True)}
        if not wanted:
            names = (f"sweep-{number}" for number in itertools.count(1))
            return next(name for name in names if name not in taken)
        if not NAME_PATTERN.fullmatch(wanted):
            raise InputError(
                f"{wanted!r} cannot name a sweep: use letters, digits, '.', '_' and '-'"
            )
        if wanted in taken:
            raise InputError(
                f"there is already a sweep {wanted!r}: choose another --name, or go on with it: "
                f"gpt-tui sweep --resume {wanted}"
            )
        return wanted

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """All that is done inside, or nothing of it; other programs wait."""
        with self._told():
            self.folder.mkdir(parents=True, exist_ok=True)
        with self._open() as db:
            with self._told():
                db.execute("BEGIN IMMEDIATE")
            try:
                if _version(db) == 0:
                    db.execute(SCHEMA)
                    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                yield db
                db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self._told():
            db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
            try:
                if _version(db) > SCHEMA_VERSION:
                    raise InputError(
                        f"{self.path} is a newer gpt-tui's: change the queue with that one"
                    )
                yield db
            finally:
                db.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the disk or SQLite complains of, in a sentence."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            what = getattr(error, "strerror", None) or str(error)
            raise InputError(
                f"the queue {self.path} cannot be used ({what}): see that the folder can be "
                f"written and has room; a damaged file can be moved away, the runs stay"
            ) from None


class Taken:
    """An entry in hand: nobody else trains it until it is finished, failed or released.

    Attributes:
        entry: As it was taken.
        command: What has the engine train it.
    """

    def __init__(self, queue: Queue, entry: Entry, command: Start | Open, lock: IO[str]) -> None:
        self.entry, self.command = entry, command
        self._queue, self._lock = queue, lock

    @property
    def run(self) -> Path:
        """Its run, which may be still to begin."""
        return self._queue.runs_dir / self.entry.run

    def finish(self) -> None:
        """It is trained."""
        self._end(EntryState.DONE)

    def fail(self, problem: str) -> None:
        """It cannot be trained."""
        self._end(EntryState.FAILED, problem)

    def release(self) -> None:
        """Leave it for later, when it goes on where it is."""
        begun = (self.run / CONFIG_FILE).is_file()
        self._end(EntryState.RUNNING if begun else EntryState.WAITING)

    def _end(self, state: EntryState, problem: str = "") -> None:
        try:
            self._queue.end(self.entry.id, state, problem)
        finally:
            self._lock.close()


def _set(db: sqlite3.Connection, id: int, **values: object) -> None:
    assignments = ", ".join(f"{name} = ?" for name in values)
    db.execute(f"UPDATE entries SET {assignments} WHERE id = ?", (*values.values(), id))


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _lock(path: Path) -> IO[str] | None:
    """Hold an entry; None if somebody does. Only called while the queue is being changed."""
    file = open(path, "a")  # noqa: SIM115 - held as long as the lock
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _is_held(path: Path) -> bool:
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _is_run_of(run: Path, entry: Entry) -> bool:
    """Whether a run folder was made for an entry.

    Its program may have been killed before it could note so. The settings decide: a run with the
    very same ones is the same run, whoever began it.
    """
    try:
        asked = config_from_dict(entry.settings)
        made = read_config(run / CONFIG_FILE)
    except InputError:
        return False
    return not asked.differences(made).keys() - {"data.corpus"}  # a link may have been followed


def _with_path(config: Config) -> Config:
    """A file of text is found from any folder."""
    corpus = config.data.corpus
    if corpus in KNOWN_NAMES:
        return config
    return config.replace({"data.corpus": str(Path(corpus).expanduser().absolute())})


def varying(entries: Iterable[Entry]) -> list[str]:
    """The settings in which entries differ, or which the only one is about."""
    entries = list(entries)
    keys = list(dict.fromkeys(key for entry in entries for key in entry.changes))
    if len(entries) == 1:
        return keys
    return [key for key in keys if len({entry.value(key) for entry in entries}) > 1]
