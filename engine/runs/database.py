"""``run.db``: the metrics, samples and journal of one run, in SQLite.

One writer, any number of readers in any process. Per metric, finished stretches of 1,024 steps are
packed into blobs; the newest stretch is a short tail of rows. A journal in WAL mode means readers
and the writer never wait for each other; ``close`` folds it in, so that a stopped run is one file.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import InputError
from engine.program import program
from engine.runs.folder import sync_to_disk, typed_name
from engine.runs.lineage import END, Branch, Lineage, Stretch
from engine.runs.retrying_writer import LOCKED, PASSING, PATIENTLY, RetryingWriter

SCHEMA_VERSION = 3
BLOCK_STEPS = 1024

BRANCHES = """
CREATE TABLE branches (
    id INTEGER PRIMARY KEY, parent INTEGER, step INTEGER NOT NULL, created REAL NOT NULL);
INSERT INTO branches VALUES (0, NULL, 0, CAST(strftime('%s', 'now') AS REAL));
"""

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE metric_tail (
    branch INTEGER NOT NULL, metric TEXT NOT NULL, step INTEGER NOT NULL, value REAL,
    PRIMARY KEY (branch, metric, step)) WITHOUT ROWID;
CREATE TABLE metric_blocks (
    branch INTEGER NOT NULL, metric TEXT NOT NULL, block INTEGER NOT NULL,
    steps BLOB NOT NULL, vals BLOB NOT NULL,
    PRIMARY KEY (branch, metric, block));
CREATE TABLE samples (
    id INTEGER PRIMARY KEY, branch INTEGER NOT NULL, step INTEGER NOT NULL, val_loss REAL,
    settings TEXT NOT NULL, text TEXT NOT NULL, created REAL NOT NULL);
CREATE TABLE journal (
    id INTEGER PRIMARY KEY, branch INTEGER NOT NULL, step INTEGER NOT NULL,
    kind TEXT NOT NULL, detail TEXT NOT NULL, created REAL NOT NULL);
"""

# what brings a database of each older version to the next
MIGRATIONS = {1: BRANCHES, 2: ""}  # from 3 on, steps without a gap are kept as their first


class Unreadable(InputError):
    """A run's database is damaged, or gone; the sentence says what can be done.

    Args:
        path: Of the file.
        why: What is wrong with it.
        may_pass: Whether that may only be the disk, or who may read it, and not the file.
    """

    def __init__(self, path: Path, why: str, may_pass: bool = False) -> None:
        self.why = why = " ".join(why.replace("*** in database main ***", "").split())
        self.may_pass = may_pass
        super().__init__(  # the way out comes first: a list cuts what is long
            f"{path} cannot be read: {program()} verify {typed_name(path.parent)} --repair "
            f"restores it from a checkpoint ({why})"
        )


class RunDatabase:
    """The open database of a run.

    Args:
        path: Of ``run.db``; made if it is not there and ``read_only`` is false.
        read_only: For looking at a run, live or not.

    Raises:
        Unreadable: It is not a run's database, or damaged.
        InputError: It is a newer program's, or held by another one.
    """

    def __init__(self, path: Path, read_only: bool = False) -> None:
        self.path = path
        try:
            self._db = _connect(path, read_only)
            if not read_only and not self._has_tables():
                self._alter(SCHEMA + BRANCHES, SCHEMA_VERSION)
            self._check_version()
            if not read_only:
                self._check_quickly()
                self._migrate()
            self._next_ids = {table: self.newest_id(table) + 1 for table in ("samples", "journal")}
        except sqlite3.DatabaseError as error:
            if _has_code(error, LOCKED):
                told = f"{path} is held by another program ({error}): close it there, then open it"
                raise InputError(told) from None
            raise Unreadable(path, str(error), _has_code(error, PASSING)) from None
        self.writer = RetryingWriter(self._db, () if read_only else PASSING)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """What cannot be put off: the past is changed, and read again at once.

        Raises:
            OSError: The file takes nothing now.
        """
        self.writer.settle()
        try:
            with self.writer.patience(), self._db:
                yield
        except sqlite3.OperationalError as error:
            self.writer.note(error)
            raise OSError(f"the run's database cannot be written: {error}") from None

    def _has_tables(self) -> bool:
        return bool(self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])

    def _check_version(self) -> None:
        if self._version == 0:
            raise Unreadable(self.path, "its content is gone")
        if not 0 < self._version <= SCHEMA_VERSION:
            raise InputError(
                f"{self.path} has format {self._version}, this gpt-tui reads formats 1 to "
                f"{SCHEMA_VERSION}: open it with the version that wrote it"
            )

    def _check_quickly(self) -> None:
        """Find out now that pages are missing, and not hours into a training."""
        found = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(found)

    def _migrate(self) -> None:
        """Bring an older run to the present format, a version at a time."""
        for version in range(self._version, SCHEMA_VERSION):
            self._alter(MIGRATIONS[version], version + 1)

    @property
    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def _alter(self, script: str, version: int) -> None:
        """Change the tables and the version, all or nothing."""
        self._db.executescript(f"BEGIN; {script} PRAGMA user_version = {version}; COMMIT;")

    # -- small facts -----------------------------------------------------------------------------

    def set_meta(self, **facts: Any) -> None:
        """Write facts about the run, each a JSON value."""
        rows = [(key, json.dumps(value)) for key, value in facts.items()]
        self._soon("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)

    def _soon(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        self.writer.write(lambda: void(self._db.executemany(statement, rows)))

    def meta(self) -> dict[str, Any]:
        """All facts."""
        return {key: self._value(text) for key, text in self._db.execute("SELECT * FROM meta")}

    def _value(self, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            raise Unreadable(self.path, "some of its JSON is none") from None

    # -- branches --------------------------------------------------------------------------------

    def branches(self) -> list[Branch]:
        """All lines of history, the first one first."""
        if self._version < 2:  # it is only read, and not brought to the present format
            return [Branch(0, None, 0, 0.0)]
        rows = self._db.execute("SELECT id, parent, step, created FROM branches ORDER BY id")
        return [Branch(*row) for row in rows]

    def lineage(self, branch: int, up_to: int = END) -> Lineage:
        """How a line of history came to be, up to its last step or to one before."""
        return Lineage(self.branches(), branch, up_to)

    def add_branch(self, parent: int, step: int) -> int:
        """Begin a new line of history that leaves another at a step; returns its id."""
        with self._writing():
            cursor = self._db.execute(
                "INSERT INTO branches (parent, step, created) VALUES (?, ?, ?)",
                (parent, step, time.time()),
            )
        return int(cursor.lastrowid or 0)

    def curve(self, metric: str, stretches: Iterable[Stretch]) -> tuple[np.ndarray, np.ndarray]:
        """A metric along some stretches of history; as ``metric``."""
        steps, values = [np.array([], np.int64)], [np.array([], np.float64)]
        for one in stretches:
            all_steps, all_values = self.metric(one.branch, metric)
            lived = (all_steps > one.after) & (all_steps <= one.up_to)
            steps.append(all_steps[lived])
            values.append(all_values[lived])
        return np.concatenate(steps), np.concatenate(values)

    # -- metrics ---------------------------------------------------------------------------------

    def add_metrics(self, branch: int, rows: Iterable[tuple[str, int, float]]) -> None:
        """Append ``(metric, step, value)`` rows; the same step again takes the newer value."""
        added = [(branch, metric, step, value) for metric, step, value in rows]

        def write() -> None:
            self._db.executemany("INSERT OR REPLACE INTO metric_tail VALUES (?, ?, ?, ?)", added)
            self._pack(branch)

        self.writer.write(write)

    def metric(
        self, branch: int, metric: str, after_step: int = -1
    ) -> tuple[np.ndarray, np.ndarray]:
        """The course of a metric after a step: steps (n,) int64 and values (n,) float64."""
        steps, values = [], []
        with self._one_moment():
            blocks = self._db.execute(
                "SELECT steps, vals FROM metric_blocks "
                "WHERE branch = ? AND metric = ? AND block >= ? ORDER BY block",
                (branch, metric, (after_step + 1) // BLOCK_STEPS),
            ).fetchall()
            tail = self._db.execute(
                "SELECT step, value FROM metric_tail "
                "WHERE branch = ? AND metric = ? AND step > ? ORDER BY step",
                (branch, metric, after_step),
            ).fetchall()
        for s, v in blocks:
            values.append(np.frombuffer(v, np.float64))
            steps.append(unpacked(s, len(values[-1])))
        # SQLite keeps NaN as NULL
        steps.append(np.array([step for step, _ in tail], np.int64))
        values.append(np.array([np.nan if v is None else v for _, v in tail], np.float64))
        all_steps, all_values = np.concatenate(steps), np.concatenate(values)
        newer = all_steps > after_step
        return all_steps[newer], all_values[newer]

    @contextmanager
    def _one_moment(self) -> Iterator[None]:
        """Several reads of one state: a writer may pack stretches in between."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")

    def import_metric(self, metric: str, steps: np.ndarray, values: np.ndarray) -> None:
        """Write the whole past of a metric into the first branch of a new run.

        Args:
            metric: Of which nothing is recorded yet.
            steps: (n,) int64, rising.
            values: (n,) float64.
        """
        blocks = steps // BLOCK_STEPS
        last = int(blocks[-1]) if len(blocks) else 0
        with self._writing():
            for block in np.unique(blocks[blocks < last]).tolist():
                of_it = blocks == block
                self._db.execute(
                    "INSERT INTO metric_blocks VALUES (0, ?, ?, ?, ?)",
                    (metric, block, _packed(steps[of_it]), values[of_it].tobytes()),
                )
            tail = zip(steps[blocks == last].tolist(), values[blocks == last].tolist(), strict=True)
            self._db.executemany(
                "INSERT INTO metric_tail VALUES (0, ?, ?, ?)",
                ((metric, step, value) for step, value in tail),
            )

    def metric_names(self, branch: int) -> list[str]:
        """The metrics recorded."""
        query = (
            "SELECT metric FROM metric_tail WHERE branch = ?1 "
            "UNION SELECT metric FROM metric_blocks WHERE branch = ?1"
        )
        return [name for (name,) in self._db.execute(query, (branch,))]

    def truncate_metrics(self, branch: int, after_step: int) -> None:
        """Forget what was measured after a step, because the run goes back to it."""
        last_block = after_step // BLOCK_STEPS
        with self._writing():
            for metric in self.metric_names(branch):
                steps, values = self.metric(branch, metric, last_block * BLOCK_STEPS - 1)
                kept = (steps // BLOCK_STEPS == last_block) & (steps <= after_step)
                rows = zip(steps[kept].tolist(), values[kept].tolist(), strict=True)
                self._db.execute(
                    "DELETE FROM metric_blocks WHERE branch = ? AND metric = ? AND block >= ?",
                    (branch, metric, last_block),
                )
                self._db.execute(
                    "DELETE FROM metric_tail WHERE branch = ? AND metric = ? AND step >= ?",
                    (branch, metric, last_block * BLOCK_STEPS),
                )
                self._db.executemany(
                    "INSERT INTO metric_tail VALUES (?, ?, ?, ?)",
                    ((branch, metric, step, value) for step, value in rows),
                )
            self._db.execute(
                "DELETE FROM samples WHERE branch = ? AND step > ?", (branch, after_step)
            )

    def _pack(self, branch: int) -> None:
        """Turn stretches that are over into blobs."""
        newest = self._db.execute(
            "SELECT max(step) FROM metric_tail WHERE branch = ?", (branch,)
        ).fetchone()[0]
        first_open = (newest or 0) // BLOCK_STEPS * BLOCK_STEPS
        done = self._db.execute(
            "SELECT metric, step, value FROM metric_tail WHERE branch = ? AND step < ? "
            "ORDER BY metric, step",
            (branch, first_open),
        ).fetchall()
        if not done:
            return
        for (metric, block), steps, values in _stretches(done):
            packed = self._db.execute(
                "SELECT steps, vals FROM metric_blocks "
                "WHERE branch = ? AND metric = ? AND block = ?",
                (branch, metric, block),
            ).fetchone()
            if packed:  # late values for a stretch that was packed before
                steps, values = _merge(packed, steps, values)
            self._db.execute(
                "INSERT OR REPLACE INTO metric_blocks VALUES (?, ?, ?, ?, ?)",
                (branch, metric, block, _packed(steps), values.tobytes()),
            )
        self._db.execute(
            "DELETE FROM metric_tail WHERE branch = ? AND step < ?", (branch, first_open)
        )

    # -- samples and journal ---------------------------------------------------------------------

    def add_sample(
        self, branch: int, step: int, val_loss: float | None, settings: dict[str, Any], text: str
    ) -> int:
        """Keep a generated text; returns its id."""
        number = self._take_id("samples")
        row = (number, branch, step, val_loss, json.dumps(settings), text, time.time())
        self._soon(
            "INSERT INTO samples (id, branch, step, val_loss, settings, text, created) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            [row],
        )
        return number

    def _take_id(self, table: str) -> int:
        """The id of a row that may be written later; there is only one writer."""
        number = self._next_ids[table]
        self._next_ids[table] += 1
        return number

    def newest_id(self, table: str) -> int:
        """The id of the newest row of ``samples`` or ``journal``; 0 if there is none."""
        (number,) = self._db.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()
        return int(number)

    def samples(self, after_id: int = 0) -> list[dict[str, Any]]:
        """The texts kept, oldest first."""
        rows = self._db.execute(
            "SELECT id, branch, step, val_loss, settings, text FROM samples "
            "WHERE id > ? ORDER BY id",
            (after_id,),
        )
        names = ("id", "branch", "step", "val_loss", "settings", "text")
        return [
            dict(zip(names, row, strict=True)) | {"settings": self._value(row[4])} for row in rows
        ]

    def add_journal(self, branch: int, step: int, kind: str, detail: dict[str, Any]) -> int:
        """Record something that happened at a step; returns the entry's id."""
        number = self._take_id("journal")
        row = (number, branch, step, kind, json.dumps(detail), time.time())
        self._soon(
            "INSERT INTO journal (id, branch, step, kind, detail, created) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            [row],
        )
        return number

    def journal(self, kind: str | None = None, after_id: int = 0) -> list[dict[str, Any]]:
        """The entries, oldest first."""
        rows = self._db.execute(
            "SELECT id, branch, step, kind, detail, created FROM journal "
            "WHERE id > ? AND (?2 IS NULL OR kind = ?2) ORDER BY id",
            (after_id, kind),
        )
        return [
            {"id": i, "branch": b, "step": s, "kind": k, "detail": self._value(d), "created": c}
            for i, b, s, k, d, c in rows
        ]

    def fold(self) -> None:
        """Bring all that is in the write-ahead log into the one file, if that can be now."""
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError as error:
            self.writer.note(error)

    def sync(self) -> None:
        """Have what was written on the disk itself: a checkpoint must not outlive its figures."""
        with suppress(FileNotFoundError):
            sync_to_disk(self.path.with_name(f"{self.path.name}-wal"))

    def integrity_problems(self) -> list[str]:
        """What SQLite finds wrong with the file."""
        found = [row[0] for row in self._db.execute("PRAGMA integrity_check(5)")]
        return [] if found == ["ok"] else found

    def copy_to(self, path: Path) -> None:
        """Write all there is at this moment to a new file, while others may go on writing here."""
        with closing(sqlite3.connect(path)) as copy:
            self._db.backup(copy)

    def close(self) -> None:
        """Close; the last one to close leaves a single file.

        Raises:
            OSError: The last that was recorded could not be written.
        """
        try:
            self.writer.close()
        finally:
            self._db.close()


def void(_: object) -> None:
    """Drop a result."""


def back_up(source: Path, target: Path) -> bool:
    """Write what a database holds at this moment to a new file, while its writer goes on.

    Returns:
        Whether it was done; not where another program holds the database.

    Raises:
        OSError: The database cannot be read now, or the disk takes no more.
        Unreadable: The database is damaged, and no copy of it is left.
    """
    # a connection of its own, as one held up by this would hold up the training, too; not to
    # create what is gone, nor to open the file by itself, which would give up SQLite's locks on it
    uri = f"{source.absolute().as_uri()}?mode=rw"
    try:
        with (
            closing(sqlite3.connect(uri, uri=True, timeout=PATIENTLY / 1000)) as db,
            closing(sqlite3.connect(target, isolation_level=None)) as copy,
        ):
            copy.execute("PRAGMA journal_mode = OFF")  # who wants it on the disk syncs it
            db.execute("BEGIN")  # held from here on, so that the copying waits for no lock
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            db.backup(copy)
            found = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(found)
    except sqlite3.DatabaseError as error:
        target.unlink(missing_ok=True)
        if _has_code(error, LOCKED):
            return False
        if _has_code(error, PASSING):
            raise OSError(f"the run's database cannot be copied: {error}") from None
        raise Unreadable(source, str(error)) from None
    return True


def _has_code(error: sqlite3.DatabaseError, codes: Sequence[int]) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF in codes


def _connect(path: Path, read_only: bool) -> sqlite3.Connection:
    if read_only:
        return _connect_read_only(path)
    db = sqlite3.connect(path, timeout=PATIENTLY / 1000, check_same_thread=False)
    mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":  # some network file systems cannot share the log's memory
        db.execute("PRAGMA journal_mode = TRUNCATE")
    db.execute("PRAGMA synchronous = NORMAL")
    return db


def _connect_read_only(path: Path) -> sqlite3.Connection:
    if _is_at_rest(path):  # a plain reader would leave the files of the log behind
        return sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True, check_same_thread=False)
    db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5, check_same_thread=False)
    try:
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        # beside a WAL database a reader needs to write, too; where it may not, it reads a copy
        memory = sqlite3.connect(":memory:", check_same_thread=False)
        immutable = sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)
        immutable.backup(memory)
        immutable.close()
        db.close()
        return memory
    return db


def _is_at_rest(path: Path) -> bool:
    """Whether nobody can be writing: the database keeps a write-ahead log, and there is none."""
    try:
        with path.open("rb") as file:
            keeps_log = file.read(20)[18:19] == b"\x02"  # the file format's write version
    except OSError:
        return False  # the connection says what is wrong
    return keeps_log and not path.with_name(f"{path.name}-wal").exists()


def _packed(steps: np.ndarray) -> bytes:
    """Steps (n,) int64 for a blob; of those without a gap, as most are, the first alone."""
    follow = steps[-1] - steps[0] == len(steps) - 1
    return (steps[:1] if follow else steps).tobytes()


def unpacked(blob: bytes, count: int) -> np.ndarray:
    """The steps (count,) int64 of a blob."""
    steps = np.frombuffer(blob, np.int64)
    return np.arange(steps[0], steps[0] + count) if len(steps) == 1 else steps


def _merge(
    packed: tuple[bytes, bytes], steps: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A packed stretch and newer rows, by step; of the same step the newer value stays."""
    packed_values = np.frombuffer(packed[1], np.float64)
    all_steps = np.concatenate([steps, unpacked(packed[0], len(packed_values))])
    all_values = np.concatenate([values, packed_values])
    merged, first = np.unique(all_steps, return_index=True)
    return merged, all_values[first]


def _stretches(
    rows: list[tuple[str, int, float | None]],
) -> Iterator[tuple[tuple[str, int], np.ndarray, np.ndarray]]:
    """Group sorted ``(metric, step, value)`` rows by metric and block."""
    groups: dict[tuple[str, int], list[tuple[int, float]]] = {}
    for metric, step, value in rows:
        key = (metric, step // BLOCK_STEPS)
        groups.setdefault(key, []).append((step, np.nan if value is None else value))
    for key, pairs in groups.items():
        steps = np.array([step for step, _ in pairs], np.int64)
        yield key, steps, np.array([value for _, value in pairs], np.float64)
