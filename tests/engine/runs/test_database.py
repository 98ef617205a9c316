"""``run.db``: what is written comes back, to whoever reads, whenever they read."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InputError
from engine.metrics import MetricStore
from engine.runs.database import BLOCK_STEPS, RunDatabase, Unreadable, reading
from engine.runs.folder import RunLock, read_run_config
from engine.runs.retrying_writer import LONG_TIMEOUT
from engine.session.recorder import Recorder, load_metrics
from tests.engine.run_folders import write_run

nan = float("nan")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.db"


@pytest.fixture
def database(path: Path) -> Iterator[RunDatabase]:
    database = RunDatabase(path)
    yield database
    database.close()


def curve(first: int, last: int, every: int = 1) -> list[tuple[str, int, float]]:
    """Rows of a metric; every 100th is not a number."""
    return [
        ("loss", step, nan if step % 100 == 0 else 1 / step)
        for step in range(first, last + 1, every)
    ]


def assert_holds(
    database: RunDatabase, rows: list[tuple[str, int, float]], branch: int = 0
) -> None:
    for name in {name for name, _, _ in rows}:
        steps, values = database.metric(branch, name)
        expected = [(step, value) for metric, step, value in rows if metric == name]
        np.testing.assert_array_equal(steps, [step for step, _ in expected])
        np.testing.assert_array_equal(values, [value for _, value in expected])


# Metrics


@pytest.mark.parametrize("chunk", [1, 7, 1000, 5000])
def test_a_metric_comes_back_across_the_borders_of_blocks(
    database: RunDatabase, chunk: int
) -> None:
    rows = curve(1, 60 if chunk == 1 else 3 * BLOCK_STEPS + 10)
    for i in range(0, len(rows), chunk):
        database.add_metrics(0, rows[i : i + chunk])
    assert_holds(database, rows)


def test_finished_stretches_are_packed_and_the_newest_is_not(
    database: RunDatabase, path: Path
) -> None:
    database.add_metrics(0, curve(1, 2 * BLOCK_STEPS + 5))
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT block FROM metric_blocks").fetchall() == [(0,), (1,)]
        assert raw.execute("SELECT count(*) FROM metric_tail").fetchone() == (6,)


def test_a_late_value_joins_a_stretch_that_was_packed_before(database: RunDatabase) -> None:
    rows = curve(1, BLOCK_STEPS + 5)
    late = rows.pop(500)
    database.add_metrics(0, rows)
    database.add_metrics(0, [late, ("loss", 7, 7.0)])
    rows.insert(500, late)
    rows[6] = ("loss", 7, 7.0)
    assert_holds(database, rows)


def test_infinities_and_the_newest_value_of_a_step_are_kept(database: RunDatabase) -> None:
    database.add_metrics(0, [("a", 1, float("inf")), ("a", 2, 1.0), ("a", 3, -float("inf"))])
    database.add_metrics(0, [("a", 2, 5.0)])
    assert_holds(database, [("a", 1, float("inf")), ("a", 2, 5.0), ("a", 3, -float("inf"))])


@settings(max_examples=15, deadline=None)
@given(
    last=st.integers(1, 3 * BLOCK_STEPS),
    every=st.sampled_from([1, 3, 250]),
    kept=st.sampled_from([0, 1, 1023, 1024, 1025, 2047, 2048]) | st.integers(0, 3 * BLOCK_STEPS),
    more=st.integers(0, 1500),
)
def test_going_back_and_on_again_leaves_what_a_straight_run_leaves(
    tmp_path_factory: pytest.TempPathFactory, last: int, every: int, kept: int, more: int
) -> None:
    database = RunDatabase(tmp_path_factory.mktemp("db") / "run.db")
    database.add_metrics(
        0, [*curve(1, last), *(("val", s, v) for _, s, v in curve(1, last, every))]
    )
    database.add_metrics(1, curve(1, last))
    database.truncate_metrics(0, kept)
    end = min(last, kept)
    assert_holds(database, [row for row in curve(1, last) if row[1] <= kept])
    database.add_metrics(0, curve(end + 1, end + more))
    assert_holds(database, curve(1, end + more))
    assert_holds(database, [("val", s, v) for _, s, v in curve(1, last, every) if s <= kept])
    assert_holds(database, curve(1, last), branch=1)
    database.close()


def test_a_store_loaded_from_the_file_is_the_store_that_was_written(
    database: RunDatabase,
) -> None:
    written, loaded = MetricStore(), MetricStore()
    recorder = Recorder(database, written)
    for _, step, value in curve(1, 2500):
        recorder.record(step, {"loss": value, "rate": step / 2})
    recorder.journal(7, "adjusted", changes={"optim.learning_rate": [0.1, 0.2]})
    recorder.journal(8, "adjusted", changes={"sample.seed": [1, 2]})
    recorder.flush({})
    before = loaded.version
    load_metrics(database, loaded)
    assert loaded.version > before
    assert sorted(loaded.names()) == sorted(written.names())
    for name in written.names():
        ours, theirs = loaded.column(name).snapshot(), written.column(name).snapshot()
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])
        np.testing.assert_allclose(ours[2], theirs[2], rtol=1e-9)
    assert [mark.label for mark in loaded.marks] == ["learning_rate 0.1→0.2"]


# Journal, samples, facts


def test_the_journal_keeps_its_order_and_can_be_read_from_a_place_on(
    database: RunDatabase,
) -> None:
    ids = [database.add_journal(0, step, kind, {"n": step}) for step, kind in
           ((5, "resumed"), (3, "paused"), (4, "resumed"))]  # fmt: skip
    assert ids == sorted(ids)
    assert [entry["step"] for entry in database.journal()] == [5, 3, 4]
    assert [entry["detail"] for entry in database.journal("resumed")] == [{"n": 5}, {"n": 4}]
    assert [entry["step"] for entry in database.journal("resumed", after_id=ids[0])] == [4]


def test_samples_of_an_abandoned_stretch_go_with_it(database: RunDatabase) -> None:
    for step in (1, 2, 3):
        database.add_sample(0, step, None, {"seed": 1}, f"text\0{step} ☃")
    database.truncate_metrics(0, 2)
    assert [(s["step"], s["text"]) for s in database.samples()] == [
        (1, "text\x001 ☃"),
        (2, "text\x002 ☃"),
    ]


# Other readers, other places


def test_a_reader_beside_a_live_writer_sees_what_is_committed_and_stops_nobody(
    database: RunDatabase, path: Path
) -> None:
    database.add_metrics(0, curve(1, 10))
    reader = RunDatabase(path, read_only=True)
    assert_holds(reader, curve(1, 10))
    start = time.perf_counter()
    database.add_metrics(0, curve(11, 20))
    assert time.perf_counter() - start < LONG_TIMEOUT / 1000  # seconds that a lock is waited for
    assert_holds(reader, curve(1, 20))
    reader.close()


def test_a_reader_cannot_write(database: RunDatabase, path: Path) -> None:
    database.add_journal(0, 1, "paused", {})
    reader = RunDatabase(path, read_only=True)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.add_journal(0, 1, "paused", {})
    reader.close()


def test_a_closed_run_is_one_file_and_reading_it_leaves_one(path: Path) -> None:
    database = RunDatabase(path)
    database.add_metrics(0, curve(1, 50))
    assert path.with_name("run.db-wal").exists()
    database.fold()
    database.close()
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    for one in (path, copy):
        reader = RunDatabase(one, read_only=True)
        assert_holds(reader, curve(1, 50))
        reader.close()
    assert sorted(one.name for one in path.parent.iterdir()) == ["copy.db", "run.db"]


def test_what_a_killed_writer_had_committed_is_there(path: Path, tmp_path: Path) -> None:
    database = RunDatabase(path)
    database.add_metrics(0, curve(1, 50))
    crashed = tmp_path / "crashed"  # as a kill leaves it: the log beside the file, not folded in
    crashed.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", crashed / f"run.db{suffix}")
    database.close()
    assert_holds(RunDatabase(crashed / "run.db", read_only=True), curve(1, 50))
    again = RunDatabase(crashed / "run.db")
    assert_holds(again, curve(1, 50))
    again.close()


@pytest.mark.parametrize("live", [False, True])
def test_a_run_in_a_folder_that_cannot_be_written_can_be_read(live: bool) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        database = RunDatabase(folder / "run.db")
        database.add_metrics(0, curve(1, 50))
        database.fold()
        if not live:
            database.close()
        for one in folder.iterdir():
            one.chmod(0o444)
        folder.chmod(0o555)
        assert _as_nobody(lambda: assert_holds(RunDatabase(folder / "run.db", True), curve(1, 50)))
        database.close()
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_what_fails_while_a_program_writes_is_no_damage_that_a_repair_mends(
    runs_dir: Path,
) -> None:
    run = write_run(runs_dir, "live")
    lock = RunLock(run)
    with (
        pytest.raises(InputError, match="while a program has the run open: try again"),
        reading(run),
    ):
        raise sqlite3.DatabaseError("database disk image is malformed")
    lock.release()
    with pytest.raises(Unreadable, match="verify"), reading(run):
        raise sqlite3.DatabaseError("database disk image is malformed")


def test_files_of_another_user_are_no_damage_that_a_repair_mends() -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        run = write_run(folder, "theirs")
        for one in (run / "run.db", run / "config.toml"):
            one.chmod(0)
        folder.chmod(0o755)

        def refused() -> None:
            told = r"cannot be used \(Permission denied\): allow it, or choose another$"
            with pytest.raises(InputError, match=rf"run\.db {told}"):
                RunDatabase(run / "run.db", read_only=True)
            with pytest.raises(InputError, match=rf"config\.toml {told}"):
                read_run_config(run)

        assert _as_nobody(refused)
    finally:
        shutil.rmtree(folder)


def _as_nobody(check: object) -> bool:
    """Run a check in a process without special rights; True if it passed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if os.getuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            check()  # type: ignore[operator]
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


# What is no run


@pytest.mark.parametrize(
    "content", [b"not a database, and long enough for a header" * 9, b"\0" * 5000]
)
def test_a_file_that_is_no_database_is_one_sentence(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    for read_only in (False, True):
        with pytest.raises(InputError, match="cannot be read"):
            RunDatabase(path, read_only)


def test_a_file_that_is_not_there_is_one_sentence_and_is_not_made(path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        RunDatabase(path, read_only=True)
    assert not path.exists()


def test_a_newer_programs_database_is_left_alone(path: Path) -> None:
    RunDatabase(path).close()
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA user_version = 4")
    with pytest.raises(InputError, match="has format 4, this gpt-tui reads formats 1 to 3"):
        RunDatabase(path)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DELETE FROM branches", "its first branch is gone"),
        ("INSERT INTO branches VALUES (8, 8, 1, 0)", "its branch 8 leaves branch 8"),
        ("INSERT INTO branches VALUES (8, 9, 1, 0), (9, 8, 1, 0)", "its branch 8 leaves branch 9"),
        ("UPDATE meta SET value = '\"soon\"'", "meta.created: expected float, got str"),
        ("UPDATE meta SET value = '-1'", "meta.created: expected float >= 0"),
        ("UPDATE meta SET value = 'NaN'", "meta.created: expected float"),
        ("UPDATE meta SET value = '{'", "line 1 column 2 is not JSON"),
        ("UPDATE meta SET value = CAST(x'ff' AS TEXT)", "it holds text that is not UTF-8"),
        ("UPDATE journal SET detail = '{}'", "adjusted: object missing required field changes"),
        (
            'UPDATE journal SET detail = \'{"changes": {"optim.learning_rate": [1, -1]}}\'',
            "optim.learning_rate must be above 0",
        ),
        ("UPDATE journal SET step = 4611686018427387904", "expected int <= 1000000000"),
        ("UPDATE samples SET text = x'00'", "expected str, got bytes"),
        ("INSERT INTO metric_tail VALUES (0, 'loss', -1, 0)", "expected int >= 0"),
        ("INSERT INTO metric_tail VALUES (0, 'loss', 1, 'low')", "expected float | null, got str"),
        ("INSERT INTO metric_blocks VALUES (0, 'loss', 0, x'', x'')", "more or fewer values"),
        (
            "INSERT INTO metric_blocks VALUES (0, 'loss', 9, zeroblob(8), zeroblob(8))",
            "steps of another one",
        ),
        (
            "INSERT INTO metric_blocks VALUES (0, 'loss', 0, zeroblob(16), zeroblob(16))",
            "steps of another one",
        ),
        ("DROP TABLE samples", "its table 'samples' is gone"),
        ("ALTER TABLE meta ADD COLUMN third", "its table 'meta' is not as gpt-tui makes it"),
    ],
)
def test_what_this_program_does_not_write_is_named(path: Path, statement: str, told: str) -> None:
    database = RunDatabase(path)
    database.set_meta(created=1.0)
    database.add_journal(0, 1, "adjusted", {"changes": {}})
    database.add_sample(0, 1, None, {}, "text")
    database.check_content()
    database.close()
    with sqlite3.connect(path) as raw:
        raw.executescript(statement)
    with pytest.raises(Unreadable) as caught, reading(path.parent) as database:
        database.check_content()
    assert told in caught.value.why


@pytest.mark.parametrize(("first", "last"), [(1, 1024), (3, 5)])
def test_packed_steps_are_read_back(path: Path, first: int, last: int) -> None:
    database = RunDatabase(path)
    steps = np.array([first, last, 1100])
    database.import_metric("loss", steps, steps / 2)
    database.check_content()
    assert database.metric(0, "loss").steps.tolist() == steps.tolist()
    database.close()


def test_a_long_record_takes_little_more_than_its_values(path: Path) -> None:
    database = RunDatabase(path)
    for first in range(1, 20_001, 500):
        rows = [(f"metric {m}", s, s / 7) for s in range(first, first + 500) for m in range(10)]
        database.add_metrics(0, rows)
    database.close()
    assert path.stat().st_size < 1.5 * 10 * 20_000 * 8


# Older formats


def make_older(path: Path) -> None:
    """A database as the first version left it: without branches, and every step written out."""
    database = RunDatabase(path)
    database.add_metrics(0, [("train_loss", step, 1.0 / step) for step in range(1, 2000)])
    database.add_journal(0, 7, "adjusted", {"changes": {}})
    database.close()
    with sqlite3.connect(path) as raw:
        steps = np.arange(1, 1024).tobytes()
        raw.execute("UPDATE metric_blocks SET steps = ?", (steps,))
        raw.executescript("DROP TABLE branches; PRAGMA user_version = 1;")


def test_an_older_programs_database_is_brought_up_to_date_with_all_it_holds(path: Path) -> None:
    make_older(path)
    database = RunDatabase(path)
    assert [(one.id, one.parent, one.step) for one in database.branches()] == [(0, None, 0)]
    assert database.metric(0, "train_loss")[0].tolist() == list(range(1, 2000))
    assert [entry["step"] for entry in database.journal()] == [7]
    assert database.add_branch(0, 5) == 1
    database.close()
    assert len(RunDatabase(path).branches()) == 2


def test_an_older_programs_database_can_be_read_as_it_is(path: Path) -> None:
    make_older(path)
    before = path.read_bytes()
    database = RunDatabase(path, read_only=True)
    assert [one.id for one in database.branches()] == [0]
    assert len(database.metric(0, "train_loss")[0]) == 1999
    database.close()
    assert path.read_bytes() == before


# Courses along several branches


def test_a_course_follows_the_lineage_of_a_branch(path: Path) -> None:
    database = RunDatabase(path)
    database.add_metrics(0, [("loss", step, float(step)) for step in range(1, 11)])
    one = database.add_branch(0, 6)
    database.add_metrics(one, [("loss", step, 100.0 + step) for step in range(7, 13)])
    two = database.add_branch(one, 9)
    database.add_metrics(two, [("loss", 10, 210.0)])
    three = database.add_branch(0, 4)
    lineage = database.lineage(two)
    steps, values = database.curve("loss", lineage)
    assert steps.tolist() == [*range(1, 7), 7, 8, 9, 10]
    assert values.tolist() == [1, 2, 3, 4, 5, 6, 107, 108, 109, 210]
    assert database.curve("loss", database.lineage(two, 8))[0].tolist() == list(range(1, 9))
    assert database.curve("loss", database.lineage(two, 3))[1].tolist() == [1, 2, 3]
    assert database.curve("loss", database.lineage(three))[0].tolist() == [1, 2, 3, 4]
    ghosts = [database.curve("loss", [one])[0].tolist() for one in lineage.abandoned()]
    assert ghosts == [[7, 8, 9, 10], [10, 11, 12], []]


@pytest.mark.parametrize("length", [0, 1, 1023, 1024, 1025, 5000])
def test_a_past_is_imported_as_if_it_had_been_recorded(path: Path, length: int) -> None:
    steps, values = np.arange(1, length + 1), np.random.default_rng(1).random(length)
    imported, recorded = RunDatabase(path), RunDatabase(path.with_name("other.db"))
    imported.import_metric("loss", steps, values)
    recorded.add_metrics(0, zip(["loss"] * length, steps.tolist(), values.tolist(), strict=True))
    more = [("loss", step, 0.5) for step in range(length + 1, length + 50)]
    for database in (imported, recorded):
        database.add_metrics(0, more)
    for one, other in zip(imported.metric(0, "loss"), recorded.metric(0, "loss"), strict=True):
        np.testing.assert_array_equal(one, other)
