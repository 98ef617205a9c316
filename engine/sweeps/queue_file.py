"""``queue.db``: the entries of a queue in SQLite, and a lock for each that is being trained."""

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

QUEUE_FOLDER, QUEUE_FILE = ".queue", "queue.db"  # no run can have a name with a dot in front
SCHEMA_VERSION = 2
BUSY_SECONDS = 10.0  # other programs change the queue in milliseconds

SCHEMA = """
CREATE TABLE entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER NOT NULL, sweep TEXT NOT NULL,
    number INTEGER NOT NULL, settings TEXT NOT NULL, changes TEXT NOT NULL,
    command_line TEXT NOT NULL, state TEXT NOT NULL, run TEXT NOT NULL, problem TEXT NOT NULL,
    created REAL NOT NULL, cleared INTEGER NOT NULL)
"""
# each makes a file of the version before into one of its own
MIGRATIONS = {2: "ALTER TABLE entries ADD COLUMN rule TEXT NOT NULL DEFAULT ''"}


class QueueFile:
    """Opens the file for a moment at a time. It is made when something is changed.

    Args:
        runs_dir: The folder whose queue it is.
    """

    def __init__(self, runs_dir: Path) -> None:
        self.folder = runs_dir / QUEUE_FOLDER
        self.path = self.folder / QUEUE_FILE

    def lock_file(self, id: int) -> Path:
        """What is locked while an entry is trained."""
        return self.folder / f"{id}.lock"

    def select(
        self, db: sqlite3.Connection, sweep: str | None = None, cleared: bool = False
    ) -> list[Entry]:
        """The entries in their order; as ``Queue.entries``."""
        version = _version(db)
        if version == 0:  # the program that made it was killed before it could add anything
            return []
        rule = "rule" if version > 1 else "''"  # a look changes no file of an older version
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
        """One entry.

        Raises:
            InputError: There is none of that id.
        """
        for entry in self.select(db, cleared=True):
            if entry.id == id:
                return entry
        raise InputError(f"there is no entry {id} in the queue: 'gpt-tui queue' lists them")

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """All that is done inside, or nothing of it; other programs wait."""
        with self._told():
            self.folder.mkdir(parents=True, exist_ok=True)
        with self.open() as db:
            with self._told():
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
        """For a look."""
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


def set_values(db: sqlite3.Connection, id: int, **values: object) -> None:
    """Change some columns of an entry."""
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
    """Hold an entry; None if somebody does. Only called while the queue is being changed."""
    file = open(path, "a")  # noqa: SIM115 - held as long as the lock
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def is_locked(path: Path) -> bool:
    """Whether some program trains the entry with this lock."""
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
