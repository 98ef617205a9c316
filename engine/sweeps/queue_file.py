"""``queue.db``: the entries of a queue in SQLite, and a lock file for each that is in training."""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from data.errors import InputError
from engine.sweeps.median_rule import MedianRule
from engine.sweeps.queue_entry import Entry, EntryState

QUEUE_FOLDER, QUEUE_FILE = ".queue", "queue.db"  # the name of a run cannot start with a dot
SCHEMA_VERSION = 2
BUSY_SECONDS = 10.0  # lock timeout; transactions take milliseconds

SCHEMA = """
CREATE TABLE entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER NOT NULL, sweep TEXT NOT NULL,
    number INTEGER NOT NULL, settings TEXT NOT NULL, changes TEXT NOT NULL,
    command_line TEXT NOT NULL, state TEXT NOT NULL, run TEXT NOT NULL, problem TEXT NOT NULL,
    created REAL NOT NULL, cleared INTEGER NOT NULL)
"""
# from the previous version to the key's
MIGRATIONS = {2: "ALTER TABLE entries ADD COLUMN rule TEXT NOT NULL DEFAULT ''"}


class QueueFile:
    """The SQLite file of a queue, opened for each operation and created by the first change."""

    def __init__(self, runs_dir: Path) -> None:
        self.folder = runs_dir / QUEUE_FOLDER
        self.path = self.folder / QUEUE_FILE

    def lock_file(self, id: int) -> Path:
        """Return the file that is locked while an entry is trained."""
        return self.folder / f"{id}.lock"

    def select(
        self, db: sqlite3.Connection, sweep: str | None = None, cleared: bool = False
    ) -> list[Entry]:
        """Return the entries in order; see ``Queue.entries``."""
        version = _version(db)
        if version == 0:  # the process was killed before it could create the table
            return []
        rule = "rule" if version > 1 else "''"  # reading does not migrate an older file
        rows = db.execute(
            "SELECT id, position, sweep, number, settings, changes, command_line, state, run, "
            f"problem, created, {rule} FROM entries "
            "WHERE (?1 IS NULL AND cleared <= ?2) OR sweep = ?1 ORDER BY position, id",
            (sweep, int(cleared)),
        )
        return [self._read(row) for row in rows]

    def _read(self, row: tuple[Any, ...]) -> Entry:
        id, position, sweep, number, settings, changes, typed, state, run, *rest = row
        problem, created, rule = rest
        held = state == EntryState.RUNNING and is_locked(self.lock_file(id))
        return Entry(
            *(id, position, sweep, number, json.loads(settings), json.loads(changes)),
            *(typed, EntryState(state), run, problem, created, held),
            MedianRule(**json.loads(rule)) if rule else None,
        )

    def entry(self, db: sqlite3.Connection, id: int) -> Entry:
        """Return one entry.

        Raises:
            InputError: There is none with that id.
        """
        for entry in self.select(db, cleared=True):
            if entry.id == id:
                return entry
        raise InputError(f"there is no entry {id} in the queue: 'gpt-tui queue' lists them")

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction, which blocks other writers."""
        with self._as_input_error():
            self.folder.mkdir(parents=True, exist_ok=True)
        with self.open() as db:
            with self._as_input_error():
                db.execute("BEGIN IMMEDIATE")
            try:
                _bring_up_to_date(db)
                yield db
                db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """Open the file for reading."""
        with self._as_input_error():
            db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
            try:
                if _version(db) > SCHEMA_VERSION:
                    raise InputError(
                        f"{self.path} was written by a newer gpt-tui: use that version"
                    )
                yield db
            finally:
                db.close()

    @contextmanager
    def _as_input_error(self) -> Iterator[None]:
        """Turn errors of the disk or SQLite into ``InputError``."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            what = getattr(error, "strerror", None) or str(error)
            raise InputError(
                f"the queue {self.path} cannot be used ({what}): check that the folder is writable "
                f"and has space left; a damaged file can be moved away, the runs are not affected"
            ) from None


def set_values(db: sqlite3.Connection, id: int, **values: object) -> None:
    """Update columns of an entry."""
    assignments = ", ".join(f"{name} = ?" for name in values)
    db.execute(f"UPDATE entries SET {assignments} WHERE id = ?", (*values.values(), id))


def _bring_up_to_date(db: sqlite3.Connection) -> None:
    version = _version(db)
    if version == SCHEMA_VERSION:
        return
    if version == 0:
        db.execute(SCHEMA)
    for later in range(max(version, 1) + 1, SCHEMA_VERSION + 1):
        db.execute(MIGRATIONS[later])
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def try_lock(path: Path) -> IO[str] | None:
    """Lock an entry; return None if it is locked. Call it inside ``QueueFile.change`` only."""
    file = open(path, "a")  # noqa: SIM115 - open as long as the lock is held
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock of an entry."""
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
