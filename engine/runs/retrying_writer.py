"""Deferred writes to a database that is locked, or on a disk that is full."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from engine.runs.sqlite import code_of

RETRY_SECONDS = 1.0
SHORT_TIMEOUT, LONG_TIMEOUT = 200, 5_000  # of another program's lock, in milliseconds
LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
PASSING = (
    *LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
)


class RetryingWriter:
    """Runs writes in a transaction; those that fail now are kept and retried, in order.

    Args:
        db: Where it is written to; nobody else in this process writes to it.
        passing: SQLite's codes of the failures that may pass; any other is raised.

    Attributes:
        trouble: Why the last attempt failed, in the database's words; empty if it did not.
        is_locked: Whether that was only because another program holds the database.
    """

    def __init__(self, db: sqlite3.Connection, passing: Sequence[int] = PASSING) -> None:
        self.trouble, self.is_locked = "", False
        self._db, self._passing = db, passing
        self._waiting: list[Callable[[], object]] = []
        self._next_try = 0.0

    def write(self, work: Callable[[], object]) -> None:
        """Run a write after all earlier ones, now or, if that fails, later."""
        self._waiting.append(work)
        if not self.is_locked or time.monotonic() >= self._next_try:  # each try waits for the lock
            self._try()

    def settle(self) -> None:
        """Run all pending writes.

        Raises:
            OSError: They still fail after the long timeout.
        """
        if self._waiting:
            with self.long_timeout():
                self._try()
            if self.trouble:
                raise OSError(f"the run's database cannot be written: {self.trouble}")

    def close(self) -> None:
        """Run all pending writes, for the last time.

        Raises:
            OSError: They fail and are lost.
        """
        try:
            self.settle()
        finally:
            self._waiting.clear()

    @contextmanager
    def long_timeout(self) -> Iterator[None]:
        """Wait longer for other programs' locks within the block."""
        self._set_lock_timeout(LONG_TIMEOUT)
        try:
            yield
        finally:
            self._set_lock_timeout(SHORT_TIMEOUT)

    def _set_lock_timeout(self, milliseconds: int) -> None:
        self._db.execute(f"PRAGMA busy_timeout = {milliseconds}")

    def _try(self) -> None:
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                for work in self._waiting:
                    work()
        except sqlite3.OperationalError as error:
            self.note(error)
        else:
            self._waiting.clear()
            self.trouble, self.is_locked = "", False

    def note(self, error: sqlite3.OperationalError) -> None:
        """Record a failure that may pass; any other is raised again."""
        code = code_of(error) & 0xFF
        if code not in self._passing:
            self._waiting.clear()  # it would fail again and again
            raise error
        self.trouble, self.is_locked = str(error), code in LOCKED
        self._next_try = time.monotonic() + RETRY_SECONDS
