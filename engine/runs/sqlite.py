"""SQLite files whose content may be damaged or hostile: checked before they are used, and bounded.

A file has the tables that we made and nothing else: no view, trigger or virtual table in their
place. Rows are converted to the types that the caller names, and no query takes longer than
``QUERY_SECONDS`` of processor time, as it does in a file whose pages refer to each other in a
circle.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from data.reading import check_regular, convert

BESIDE = ("-wal", "-shm", "-journal")  # what SQLite keeps beside a database
QUERY_SECONDS = 3.0
PROGRESS_STEPS = 100_000  # of SQLite's virtual machine, about a millisecond
MOST_BYTES = 2**26  # of one text or blob


def check_files(path: Path) -> None:
    """Check that a database, and what SQLite keeps beside it, are regular files or missing.

    Raises:
        OSError: One is a link, a pipe, a folder …
    """
    for suffix in ("", *BESIDE):
        with suppress(FileNotFoundError):
            mode = os.lstat(f"{path}{suffix}").st_mode  # without a Path: it is done often
            if not stat.S_ISREG(mode):
                check_regular(path.with_name(path.name + suffix))


class Bounded:
    """A connection whose reading queries are typed and bounded in time."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._is_bounded = False
        self._deadline: float | None = None
        db.execute("PRAGMA trusted_schema = OFF")
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)
        db.set_progress_handler(self._is_late, PROGRESS_STEPS)

    def select(self, row: Any, query: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        """Return all rows of a query.

        Args:
            row: What each row is, such as ``tuple[int, str]``.

        Raises:
            ValueError: A row is of another type, or the query takes too long.
            sqlite3.Error: The file cannot be read.
        """
        with self.in_time():
            rows = self._db.execute(query, parameters).fetchall()
        return convert(rows, list[row], "row")

    @contextmanager
    def in_time(self) -> Iterator[None]:
        """Bound the time of the queries in the block.

        Raises:
            ValueError: One takes too long, or finds text that is not UTF-8.
            sqlite3.Error: The file cannot be read.
        """
        is_outer, self._is_bounded = not self._is_bounded, True
        try:
            yield
        except sqlite3.OperationalError as error:
            if code_of(error) == sqlite3.SQLITE_INTERRUPT:
                raise ValueError("it takes too long to read") from None
            if not code_of(error):  # Python's own: it could not decode a text
                raise ValueError("it holds text that is not UTF-8") from None
            raise
        finally:
            if is_outer:
                self._is_bounded, self._deadline = False, None

    def check_tables(self, expected: Mapping[str, str]) -> None:
        """Check that the file has these tables and no others.

        Args:
            expected: The statement that created each table.

        Raises:
            ValueError: It holds something else.
        """
        schema = tuple[str, str, str | None]
        rows = set(self.select(schema, "SELECT type, name, sql FROM sqlite_master"))
        as_made = {("table", name, sql) for name, sql in expected.items()}
        missing = {name for _, name, _ in as_made - rows}
        for kind, name, sql in rows - as_made:
            if kind == "index" and sql is None:  # of a primary key
                continue
            if kind == "table" and name.startswith("sqlite_"):  # of ANALYZE, of AUTOINCREMENT
                continue
            is_plain = kind == "table" and (sql or "").startswith("CREATE TABLE")
            if not is_plain or name not in expected:
                raise ValueError(f"it holds the {kind} {name!r}, which gpt-tui did not make")
            if not self._has_columns(name, expected[name]):
                raise ValueError(f"its table {name!r} is not as gpt-tui makes it")
            missing.discard(name)
        if missing:
            raise ValueError(f"its table {min(missing)!r} is gone")

    def _has_columns(self, name: str, statement: str) -> bool:
        """Return whether a table has the columns of a statement and stores all of them.

        One that an older version extended has another text.
        """
        with closing(sqlite3.connect(":memory:")) as model:
            model.execute(statement)
            wanted = model.execute(f"SELECT name, 0 FROM pragma_table_xinfo({name!r})").fetchall()
        query = f"SELECT name, hidden FROM pragma_table_xinfo({name!r})"
        return sorted(self.select(tuple[str, int], query)) == sorted(wanted)

    def _is_late(self) -> bool:
        if not self._is_bounded:
            return False
        # of this thread alone: waiting for a lock or a slow disk does not count
        now = time.thread_time()
        if self._deadline is None:  # the first millisecond is over; most queries never ask
            self._deadline = now + QUERY_SECONDS
        return now > self._deadline


def code_of(error: sqlite3.Error) -> int:
    """Return SQLite's extended code of an error; 0 if it is Python's own."""
    return getattr(error, "sqlite_errorcode", 0)


def statements(script: str) -> dict[str, str]:
    """Return the ``CREATE TABLE`` statements of a script by the name of the table."""
    found = (part.strip() for part in script.split(";"))
    tables = [one for one in found if one.startswith("CREATE TABLE")]
    return {one.partition("(")[0].split()[-1]: one.replace("IF NOT EXISTS ", "") for one in tables}
