"""``run.db``: the metrics, samples and journal of one run, in SQLite.

One writer, any number of readers in any process. Per metric, complete blocks of 1,024 steps are
packed into blobs; the newest steps are rows. A journal in WAL mode means readers
and the writer never wait for each other; ``close`` folds it in, so that a stopped run is one file.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from data.errors import InputError, shortage_of_files
from data.files import sync_to_disk
from data.paths import check_may_be_read
from data.reading import convert, parse_json
from engine.program import program
from engine.runs.checkpoint_names import branch_of, is_full, list_checkpoints, list_snapshots
from engine.runs.folder import DATABASE_FILE, is_locked, typed_name
from engine.runs.lineage import END, Branch, Lineage, Segment
from engine.runs.own_files import check_own_files
from engine.runs.records import (
    BranchId,
    Facts,
    JournalEntry,
    Loss,
    RowId,
    Seconds,
    Step,
    StoredSample,
    check_detail,
    check_facts,
)
from engine.runs.retrying_writer import LOCKED, LONG_TIMEOUT, PASSING, RetryingWriter
from engine.runs.sqlite import Bounded, check_files, code_of, statements

# numpy is imported where curves are read or written: a list of runs needs none
if TYPE_CHECKING:
    import numpy as np

    from engine.metrics import Steps, Values

SCHEMA_VERSION = 3
BLOCK_STEPS = 1024
WORD = 8  # bytes of a step or a value in a block

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

TABLES = statements(SCHEMA + BRANCHES)

# rows of the tables with ids, as they are stored
ROWS: dict[str, Any] = {
    "branches": tuple[BranchId, BranchId | None, Step, Seconds],
    "samples": tuple[RowId, BranchId, Step, Loss, str, str, Seconds],
    "journal": tuple[RowId, BranchId, Step, str, str, Seconds],
}

# what brings a database of each older version to the next
MIGRATIONS = {1: BRANCHES, 2: ""}  # from 3 on, steps without a gap are kept as their first


class Curve(NamedTuple):
    """A metric by step: steps (n,) rising, values (n,)."""

    steps: Steps
    values: Values


@dataclass(frozen=True)
class Measured:
    loss: float
    on: str


class Unreadable(InputError):
    """A run's database is damaged or gone; the message says what can be done.

    Args:
        may_pass: Whether the disk or the permissions may be at fault, and not the file.

    Attributes:
        is_restorable: Whether opening the run for training restores it from a checkpoint.
    """

    def __init__(self, path: Path, why: str, may_pass: bool = False) -> None:
        self.why = why = " ".join(why.replace("*** in database main ***", "").split())
        self.is_restorable = not may_pass and bool(list_checkpoints(path.parent))
        self._path = path
        if not path.parent.is_dir():  # while it was read
            super().__init__(
                f"the run's folder {path.parent} is gone, as it was moved or deleted: "
                f"{program()} runs lists what there is"
            )
            return
        repair = f"{program()} verify {typed_name(path.parent)} --repair"
        way_out = f"opening the run, or {repair}," if self.is_restorable else repair
        # the way out comes first: a list cuts what is long
        super().__init__(f"{path} cannot be read: {way_out} restores it from a checkpoint ({why})")

    def while_open(self) -> Unreadable:
        """Return what to say where a program has the run open: a repair would be refused.

        A database that was at rest is read without locks; a program may have begun to write it.
        """
        self.is_restorable = False
        if self.is_shortage:
            return self
        self.problems = [
            f"{self._path} cannot be read while a program has the run open: try again, or close "
            f"the run there first ({self.why})"
        ]
        return self


class RunDatabase:
    """The open database of a run.

    Args:
        path: Of ``run.db``; made if it is not there and ``read_only`` is false.

    Raises:
        Unreadable: It is not a run's database, or damaged.
        InputError: It is a newer program's, or held by another one.
    """

    def __init__(self, path: Path, read_only: bool = False) -> None:
        self.path = path
        try:
            check_files(path)
            self._db = _connect(path, read_only)
            self._bounded = Bounded(self._db)
            self._version = self._read_version()
            if not read_only and not self._version:
                ((tables,),) = self._select(tuple[int], "SELECT count(*) FROM sqlite_master")
                if not tables:
                    self._alter(SCHEMA + BRANCHES, SCHEMA_VERSION)
            self._check_version()
            without = {"branches"} if self._version < 2 else set()
            self._bounded.check_tables({k: v for k, v in TABLES.items() if k not in without})
            if not read_only:
                _keep_log(self._db)  # of ours: it changes the file
                # find out now that pages are missing, and not hours into a training
                found = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
                if found != "ok":
                    raise sqlite3.DatabaseError(found)
                for version in range(self._version, SCHEMA_VERSION):
                    self._alter(MIGRATIONS[version], version + 1)
            # now: of samples that are dropped, to be written again, no number is used again
            newest = self.newest_id if not read_only else lambda table: 0
            self._next_ids = {table: newest(table) + 1 for table in ("samples", "journal")}
        except sqlite3.DatabaseError as error:
            if _has_code(error, LOCKED):
                told = f"{path} is held by another program ({error}): close it there, then open it"
                raise InputError(told) from None
            check_may_be_read(path)
            raise Unreadable(path, str(error), _has_code(error, PASSING)) from None
        except ValueError as error:
            raise Unreadable(path, str(error)) from None
        except OSError as error:
            check_own_files(path.parent)  # says what it is, if it is no file
            is_folder = error.errno == errno.EINVAL  # else a matter of permissions
            raise Unreadable(path, str(error.strerror), not is_folder) from None
        self.writer = RetryingWriter(self._db, () if read_only else PASSING)

    def _select(self, row: Any, query: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        """Return the rows of a query.

        Raises:
            Unreadable: A row is not what this program writes.
            sqlite3.Error: The file cannot be read.
        """
        try:
            return self._bounded.select(row, query, parameters)
        except ValueError as error:
            raise Unreadable(self.path, str(error)) from None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A transaction that cannot be deferred, because its result is read at once.

        Raises:
            OSError: The file cannot be written.
        """
        self.writer.settle()
        try:
            with self.writer.long_timeout(), self._db:
                yield
        except sqlite3.OperationalError as error:
            self.writer.note(error)
            raise OSError(f"the run's database cannot be written: {error}") from None

    def _check_version(self) -> None:
        if self._version == 0:
            raise Unreadable(self.path, "its content is gone")
        if not 0 < self._version <= SCHEMA_VERSION:
            raise InputError(
                f"{self.path} has format {self._version}, this gpt-tui reads formats 1 to "
                f"{SCHEMA_VERSION}: open it with the version that wrote it"
            )

    def _read_version(self) -> int:
        ((version,),) = self._select(tuple[int], "PRAGMA user_version")
        return int(version)

    def _alter(self, script: str, version: int) -> None:
        """Change the tables and the version in one transaction."""
        self._db.executescript(f"BEGIN; {script} PRAGMA user_version = {version}; COMMIT;")
        self._version = version

    # -- small facts -----------------------------------------------------------------------------

    def set_meta(self, **facts: Any) -> None:
        """Write key-value pairs about the run, each value as JSON."""
        rows = [(key, json.dumps(value)) for key, value in facts.items()]
        self._soon("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)

    def _soon(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        self.writer.write(lambda: self._db.executemany(statement, rows))

    def meta(self) -> Facts:
        rows = self._select(tuple[str, str], "SELECT key, value FROM meta")
        with self._foreign():
            return check_facts({key: parse_json(text) for key, text in rows})

    @contextmanager
    def _foreign(self) -> Iterator[None]:
        """Name this file in the error about a value that this program did not write."""
        try:
            yield
        except (ValueError, InputError) as error:
            raise Unreadable(self.path, str(error)) from None

    # -- branches --------------------------------------------------------------------------------

    def branches(self) -> list[Branch]:
        """Return all branches, the first one first."""
        if self._version < 2:  # it is only read, and not brought to the present format
            return [Branch(0, None, 0, 0.0)]
        row = tuple[BranchId, BranchId | None, Step, Seconds]
        query = "SELECT id, parent, step, created FROM branches ORDER BY id"
        branches = [Branch(*one) for one in self._select(row, query)]
        known: set[int] = set()
        for one in branches:  # each leaves an earlier one, so that following them ends
            if one.parent not in (known if known else {None}):
                raise Unreadable(self.path, f"its branch {one.id} leaves branch {one.parent}")
            known.add(one.id)
        if 0 not in known:
            raise Unreadable(self.path, "its first branch is gone")
        return branches

    def lineage(self, branch: int, up_to: int = END) -> Lineage:
        """Return the lineage of a branch, up to its last step or to an earlier one."""
        branches = self.branches()
        if branch not in {one.id for one in branches}:
            raise Unreadable(self.path, f"its branch {branch} is gone")
        return Lineage(branches, branch, up_to)

    def add_branch(self, parent: int, step: int) -> int:
        """Begin a branch that leaves another one at a step; return its id."""
        with self._writing():
            cursor = self._db.execute(
                "INSERT INTO branches (parent, step, created) VALUES (?, ?, ?)",
                (parent, step, time.time()),
            )
        return int(cursor.lastrowid or 0)

    def present_lineage(self) -> Lineage:
        """Return the lineage that the run continues with: that of its newest full checkpoint."""
        # from the newest on, as each look opens a file; without a full checkpoint, the run cannot
        # have been rewound
        newest = next(filter(is_full, reversed(list_snapshots(self.path.parent))), None)
        return self.lineage(branch_of(newest) if newest else 0)

    def curve(self, metric: str, segments: Iterable[Segment]) -> Curve:
        import numpy as np

        steps, values = [np.array([], np.int64)], [np.array([], np.float64)]
        for one in segments:
            all_steps, all_values = self.metric(one.branch, metric)
            lived = (all_steps > one.after) & (all_steps <= one.up_to)
            steps.append(all_steps[lived])
            values.append(all_values[lived])
        return Curve(np.concatenate(steps), np.concatenate(values))

    def evaluations(self, lineage: Lineage, up_to: int = END) -> dict[int, Measured]:
        """Return the evaluations at ``eval.interval`` along a lineage, by rising step.

        Those that the user asked for are left out: they must not change the training.
        """
        found: dict[int, Measured] = {}  # of a step that was trained again, the newer one
        for entry in self.journal("evaluated"):
            step, detail = entry["step"], entry["detail"]
            on_way = step <= up_to and lineage.holds_moment(entry["branch"], step)
            if on_way and detail.get("scheduled"):
                found[step] = Measured(detail["val_loss"], detail.get("measured", ""))
        return dict(sorted(found.items()))

    # -- metrics ---------------------------------------------------------------------------------

    def add_metrics(self, branch: int, rows: Iterable[tuple[str, int, float]]) -> None:
        """Append ``(metric, step, value)`` rows; the same step again takes the newer value."""
        added = [(branch, metric, step, value) for metric, step, value in rows]

        def write() -> None:
            self._db.executemany("INSERT OR REPLACE INTO metric_tail VALUES (?, ?, ?, ?)", added)
            self._pack(branch)

        self.writer.write(write)

    def metric(self, branch: int, metric: str, after_step: int = -1) -> Curve:
        """Return a metric of a branch after a step."""
        import numpy as np

        with self.one_moment():
            blocks = self._select(
                tuple[int, bytes, bytes],
                "SELECT block, steps, vals FROM metric_blocks "
                "WHERE branch = ? AND metric = ? AND block >= ? ORDER BY block",
                (branch, metric, (after_step + 1) // BLOCK_STEPS),
            )
            tail = self._tail(branch, metric, after_step)
        with self._foreign():
            curves = [*(_unpack(*block) for block in blocks), tail]
        steps = np.concatenate([one.steps for one in curves])
        values = np.concatenate([one.values for one in curves])
        newer = steps > after_step
        return Curve(steps[newer], values[newer])

    def _tail(self, branch: int, metric: str, after: int, before: int = 2**63 - 1) -> Curve:
        """Return the rows of a metric that are not packed, between two steps."""
        import numpy as np

        rows = self._select(
            tuple[Step, Loss],
            "SELECT step, value FROM metric_tail "
            "WHERE branch = ? AND metric = ? AND step > ? AND step < ? ORDER BY step",
            (branch, metric, after, before),
        )
        # SQLite keeps NaN as NULL
        values = [np.nan if value is None else value for _, value in rows]
        return Curve(np.array([step for step, _ in rows], np.int64), np.array(values, np.float64))

    @contextmanager
    def one_moment(self) -> Iterator[None]:
        """Read several times in one transaction, as a writer may pack rows in between."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")

    def import_metric(
        self, metric: str, steps: np.ndarray, values: np.ndarray, branch: int = 0
    ) -> None:
        """Write many later steps of a metric to a branch that nobody trains here."""
        first_open = int(steps[-1]) // BLOCK_STEPS * BLOCK_STEPS if len(steps) else 0
        done = steps < first_open
        with self._writing():
            self._put_blocks(branch, metric, Curve(steps[done], values[done]))
            self._put_rows(branch, metric, Curve(steps[~done], values[~done]))
            self._pack(branch)

    def _put_rows(self, branch: int, metric: str, curve: Curve) -> None:
        rows = zip(curve.steps.tolist(), curve.values.tolist(), strict=True)
        self._db.executemany(
            "INSERT INTO metric_tail VALUES (?, ?, ?, ?)",
            ((branch, metric, step, value) for step, value in rows),
        )

    def _put_blocks(self, branch: int, metric: str, curve: Curve) -> None:
        """Pack rows of a metric into blocks; newer values of the same steps replace older ones."""
        import numpy as np

        blocks = curve.steps // BLOCK_STEPS
        for block in np.unique(blocks).tolist():
            steps, values = curve.steps[blocks == block], curve.values[blocks == block]
            packed = self._select(
                tuple[int, bytes, bytes],
                "SELECT block, steps, vals FROM metric_blocks "
                "WHERE branch = ? AND metric = ? AND block = ?",
                (branch, metric, block),
            )
            if packed:
                before = _unpack(*packed[0])
                # of the same step, the first one stays
                steps, first = np.unique(np.concatenate([steps, before.steps]), return_index=True)
                values = np.concatenate([values, before.values])[first]
            follow = steps[-1] - steps[0] == len(steps) - 1  # then the first step tells them all
            self._db.execute(
                "INSERT OR REPLACE INTO metric_blocks VALUES (?, ?, ?, ?, ?)",
                (
                    branch,
                    metric,
                    block,
                    (steps[:1] if follow else steps).tobytes(),
                    values.tobytes(),
                ),
            )

    def metric_names(self, *branches: int) -> list[str]:
        query = (
            "SELECT metric FROM metric_tail WHERE branch = ? "
            "UNION SELECT metric FROM metric_blocks WHERE branch = ?"
        )
        rows = (row for one in branches for row in self._select(tuple[str], query, (one, one)))
        return list(dict.fromkeys(name for (name,) in rows))

    def truncate_metrics(self, branch: int, after_step: int) -> None:
        """Delete the metrics and samples after a step, which will be trained again."""
        last_block = after_step // BLOCK_STEPS
        with self._writing():
            for metric in self.metric_names(branch):
                steps, values = self.metric(branch, metric, last_block * BLOCK_STEPS - 1)
                kept = (steps // BLOCK_STEPS == last_block) & (steps <= after_step)
                self._db.execute(
                    "DELETE FROM metric_blocks WHERE branch = ? AND metric = ? AND block >= ?",
                    (branch, metric, last_block),
                )
                self._db.execute(
                    "DELETE FROM metric_tail WHERE branch = ? AND metric = ? AND step >= ?",
                    (branch, metric, last_block * BLOCK_STEPS),
                )
                self._put_rows(branch, metric, Curve(steps[kept], values[kept]))
            self._db.execute(
                "DELETE FROM samples WHERE branch = ? AND step > ?", (branch, after_step)
            )

    def newest_step(self, branch: int) -> int:
        """Return the last step of a branch with a figure; 0 if there is none."""
        query = "SELECT max(step) FROM metric_tail WHERE branch = ?"
        ((newest,),) = self._select(tuple[Step | None], query, (branch,))
        return newest or 0

    def _pack(self, branch: int) -> None:
        first_open = self.newest_step(branch) // BLOCK_STEPS * BLOCK_STEPS
        done = (branch, first_open)
        query = "SELECT DISTINCT metric FROM metric_tail WHERE branch = ? AND step < ?"
        for (metric,) in self._select(tuple[str], query, done):
            self._put_blocks(branch, metric, self._tail(branch, metric, -1, first_open))
        self._db.execute("DELETE FROM metric_tail WHERE branch = ? AND step < ?", done)

    # -- copies ----------------------------------------------------------------------------------

    def stored(self, table: str, after_id: int = -1) -> list[tuple[Any, ...]]:
        """Return rows of ``branches``, ``samples`` or ``journal`` as they are stored, by id."""
        query = f"SELECT * FROM {table} WHERE id > ? ORDER BY id"
        return self._select(ROWS[table], query, (after_id,))

    def store(self, table: str, rows: Iterable[Sequence[Any]]) -> None:
        """Write rows that ``stored`` returned of another database; newer ones replace older."""
        marks = ", ".join("?" * len(get_args(ROWS[table])))
        self._soon(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", [tuple(one) for one in rows])

    # -- samples and journal ---------------------------------------------------------------------

    def add_sample(
        self, branch: int, step: int, val_loss: float | None, settings: dict[str, Any], text: str
    ) -> int:
        """Add a generated text; return its id."""
        return self._add("samples", branch, step, val_loss, json.dumps(settings), text)

    def add_journal(
        self, branch: int, step: int, kind: str, detail: dict[str, Any], after_id: int = 0
    ) -> int:
        """Record something that happened at a step; returns the entry's id, above ``after_id``."""
        return self._add("journal", branch, step, kind, json.dumps(detail), after_id=after_id)

    def _add(self, table: str, *values: Any, after_id: int = 0) -> int:
        """Add a row, whose id is known although it may be written later."""
        number = max(self._next_ids[table], after_id + 1)
        self._next_ids[table] = number + 1
        row = (number, *values, time.time())
        self._soon(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", [row])
        return number

    def newest_id(self, table: str) -> int:
        """Return the id of the newest row of ``samples`` or ``journal``; 0 if there is none."""
        ((number,),) = self._select(tuple[int], f"SELECT coalesce(max(id), 0) FROM {table}")
        return int(number)

    def samples(self, after_id: int = 0) -> list[StoredSample]:
        """Return the generated texts, oldest first."""
        rows = self._select(
            tuple[RowId, BranchId, Step, Loss, str, str],
            "SELECT id, branch, step, val_loss, settings, text FROM samples "
            "WHERE id > ? ORDER BY id",
            (after_id,),
        )
        names = ("id", "branch", "step", "val_loss", "settings", "text")
        with self._foreign():
            samples = [
                dict(zip(names, row, strict=True)) | {"settings": parse_json(row[4])}
                for row in rows
            ]
            return convert(samples, list[StoredSample], "samples")

    def journal(self, kind: str | None = None, after_id: int = 0) -> list[JournalEntry]:
        """Return the journal entries, oldest first."""
        rows = self._select(
            tuple[RowId, BranchId, Step, str, str, Seconds],
            "SELECT id, branch, step, kind, detail, created FROM journal "
            "WHERE id > ? AND (? IS NULL OR kind = ?) ORDER BY id",
            (after_id, kind, kind),
        )
        with self._foreign():
            return [
                JournalEntry(
                    id=i, branch=b, step=s, kind=k, detail=check_detail(k, parse_json(d)), created=c
                )
                for i, b, s, k, d, c in rows
            ]

    def check_content(self) -> None:
        """Check everything that the database holds, but for the values in blocks.

        Raises:
            Unreadable: Something is not what this program writes.
        """
        self.branches(), self.meta(), self.journal(), self.samples()
        tail = tuple[BranchId, str, Step, Loss]
        self._select(tail, "SELECT branch, metric, step, value FROM metric_tail")
        blocks = self._select(  # without the values, which are most of the file
            tuple[BranchId, str, int, bytes, int],
            "SELECT branch, metric, block, steps, CASE typeof(vals) WHEN 'blob' THEN length(vals) "
            "END FROM metric_blocks",
        )
        with self._foreign():
            for _, _, block, steps, size in blocks:
                _check_block(block, steps, size)

    def fold(self) -> None:
        """Checkpoint the write-ahead log into the database file, unless it is locked."""
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError as error:
            self.writer.note(error)

    def sync(self) -> None:
        """Flush what was written to the disk: a checkpoint must not be ahead of its metrics."""
        with suppress(FileNotFoundError):
            sync_to_disk(self.path.with_name(f"{self.path.name}-wal"))

    def integrity_problems(self) -> list[str]:
        found = [row[0] for row in self._db.execute("PRAGMA integrity_check(5)")]
        return [] if found == ["ok"] else found

    def copy_to(self, path: Path) -> None:
        """Copy the database to a new file; others may write to it meanwhile."""
        with closing(sqlite3.connect(path)) as copy:
            self._db.backup(copy)

    def close(self) -> None:
        """Close the connection; the last one to be closed leaves a single file.

        Raises:
            OSError: What was recorded last could not be written.
        """
        try:
            self.writer.close()
        finally:
            self._db.close()


@contextmanager
def reading(run: Path) -> Iterator[RunDatabase]:
    """Open the database of a run to read; an empty one if the run ended before it had one.

    Raises:
        InputError: It is damaged, or was lost, or a program has just begun to write it.
    """
    file = run.absolute() / DATABASE_FILE
    is_there = os.path.lexists(file)
    if not is_there and list_snapshots(run):
        raise Unreadable(file, "it does not exist")
    try:
        database = RunDatabase(file if is_there else Path(":memory:"), read_only=is_there)
        database.path = file
        try:
            yield database
        finally:
            database.close()
    except (sqlite3.Error, UnicodeError, Unreadable) as error:
        damage = error if isinstance(error, Unreadable) else Unreadable(file, str(error))
        raise (damage.while_open() if is_there and is_locked(run) else damage) from None


def back_up(source: Path, target: Path) -> bool:
    """Copy a database to a new file while its writer continues.

    Returns:
        Whether it was done; not where another program holds the database.

    Raises:
        OSError: The database cannot be read now, or the disk is full.
        Unreadable: The database is damaged, and no copy of it is left.
    """
    # a connection of its own, as one held up by this would hold up the training, too; not to
    # create what is gone, nor to open the file by itself, which would give up SQLite's locks on it
    uri = f"{source.absolute().as_uri()}?mode=rw"
    try:
        with (
            closing(sqlite3.connect(uri, uri=True, timeout=LONG_TIMEOUT / 1000)) as db,
            closing(sqlite3.connect(target, isolation_level=None)) as copy,
        ):
            copy.execute("PRAGMA journal_mode = OFF")  # the caller syncs the file
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
            told = f"the run's database cannot be copied: {error}"
            shortage = (errno.EMFILE,) if shortage_of_files(error) else ()
            raise OSError(*shortage, told) from None
        raise Unreadable(source, str(error)) from None
    return True


def _has_code(error: sqlite3.DatabaseError, codes: Sequence[int]) -> bool:
    return code_of(error) & 0xFF in codes


def _connect(path: Path, read_only: bool) -> sqlite3.Connection:
    if read_only:
        return _connect_read_only(path)
    return sqlite3.connect(path, timeout=LONG_TIMEOUT / 1000, check_same_thread=False)


def _keep_log(db: sqlite3.Connection) -> None:
    """Have readers and the writer never wait for each other."""
    mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":  # some network file systems cannot share the log's memory
        db.execute("PRAGMA journal_mode = TRUNCATE")
    db.execute("PRAGMA synchronous = NORMAL")


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
    """Return whether no process can be writing: it is in WAL mode, and there is no log."""
    try:
        with open(path, "rb", buffering=0) as file:
            keeps_log = file.read(20)[18:19] == b"\x02"  # the file format's write version
    except OSError:
        return False  # the connection says what is wrong
    return keeps_log and not os.path.exists(f"{path}-wal")


def _unpack(block: int, steps: bytes, values: bytes) -> Curve:
    """Return the rows of a packed block; of steps without a gap only the first is stored.

    Raises:
        ValueError: They are not rising steps of this block, with a value each.
    """
    import numpy as np

    _check_block(block, steps, len(values))
    all_steps, all_values = np.frombuffer(steps, np.int64), np.frombuffer(values, np.float64)
    if len(all_steps) == 1:
        all_steps = np.arange(all_steps[0], all_steps[0] + len(all_values))
    return Curve(all_steps, all_values)


def _check_block(block: int, steps: bytes, size: int) -> None:
    """Check a packed block whose values have ``size`` bytes; as ``_unpack``."""
    if size % WORD or not size or len(steps) not in (WORD, size):
        raise ValueError("a block of figures has more or fewer values than steps")
    first = last = int.from_bytes(steps[:WORD], sys.byteorder, signed=True)
    if len(steps) == WORD:
        last += size // WORD - 1
    else:
        import numpy as np

        all_steps = np.frombuffer(steps, np.int64)
        last = int(all_steps[-1]) if (np.diff(all_steps) > 0).all() else -1
    if not 0 <= first // BLOCK_STEPS == block == last // BLOCK_STEPS:
        raise ValueError("a block of figures has steps of another one")
