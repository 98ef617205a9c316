"""A run's database that is damaged or gone: what can be read comes back, and the run goes on."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch

from data.errors import InputError
from engine.config.schema import Config
from engine.protocol import Adjust, Rewind, Sample, Warned
from engine.repair.rebuild import in_ranges
from engine.repair.repair import find_damage, repair
from engine.repair.salvage import Salvage, read_salvage
from engine.repair.verify import verify_files
from engine.runs.checkpoint_names import list_snapshots
from engine.runs.database import RunDatabase, unpacked
from engine.runs.folder import RunLock, create_run
from engine.runs.summary import read_summary
from engine.session.fork import fork
from engine.session.visit import visit
from tests.engine.conftest import SMALL, Rig, assert_same_bits, bits

PAGE = 4096  # bytes, SQLite's usual
LONG: dict[str, Any] = {
    "train.max_steps": 1500,
    "train.batch_size": 1,
    "model.n_layer": 1,
    "model.dropout": 0.1,
    "eval.interval": 50,
    "eval.batches": 1,
    "checkpoint.interval": 100,
    "checkpoint.keep": 3,
    "sample.max_tokens": 3,
    "system.micro_batch_size": 1,
}
LEFT, CAME_BACK, END, LATER = 300, 250, 1230, 1260  # steps


@dataclass(frozen=True)
class Template:
    """A run to be hurt, and where it would have come to."""

    path: Path
    live: Path  # copied while it was in training: its write-ahead log lies beside
    later: dict[str, np.ndarray]

    @property
    def whole(self) -> Salvage:
        return read_salvage(self.path / "run.db")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, small_text_file: Path) -> Template:
    """Packed stretches and a tail, two lines of history, changes of settings, samples."""
    folder, threads = tmp_path_factory.mktemp("runs"), torch.get_num_threads()
    torch.set_num_threads(1)
    rig = Rig(folder)
    session = rig.new(Config().replace(SMALL | {"data.corpus": str(small_text_file)} | LONG))
    rig.to_step(session, LEFT)
    session.handle(Rewind(CAME_BACK))
    rig.rest(session)
    for step in (CAME_BACK, 700, END - 100):
        rig.to_step(session, step)
        session.handle(Adjust({"optim.learning_rate": 1 / (step + 10)}))
        session.handle(Sample({"max_tokens": 3}))
        session._resume(None)  # type: ignore[arg-type]
        session.files.database.fold()
    rig.to_step(session, END)
    rig.until(session, lambda: not session.saving.saver.busy)
    session.outlet.flush()
    live = Path(shutil.copytree(session.files.path, folder / "live"))
    path = rig.close(session)
    again = rig.open(Path(shutil.copytree(path, folder / "again")))
    rig.to_step(again, LATER)
    later = bits(again)
    rig.close(again)
    torch.set_num_threads(threads)
    return Template(path, live, later)


@pytest.fixture
def run(template: Template, runs_dir: Path) -> Path:
    """Such a run."""
    return Path(shutil.copytree(template.path, runs_dir / "run"))


def mended(run: Path) -> str:
    said: list[str] = []
    repair(run, said.append)
    return "; ".join(said)


# How a file is hurt


def flip_in_the_middle(file: Path) -> None:
    """The page of rows that is nearest the middle from below."""
    content = bytearray(file.read_bytes())
    used = [at for at in range(0, len(content), PAGE) if content[at] in (2, 5, 10, 13)]
    at = max(at for at in used if at <= len(content) // 2)
    content[at : at + PAGE] = bytes(byte ^ 0x55 for byte in content[at : at + PAGE])
    file.write_bytes(content)


def cut_to(share: float) -> Callable[[Path], None]:
    def cut(file: Path) -> None:
        content = file.read_bytes()
        file.write_bytes(content[: int(len(content) * share)])

    return cut


def zero_page(number: int) -> Callable[[Path], None]:
    def zero(file: Path) -> None:
        content = bytearray(file.read_bytes())
        content[(number - 1) * PAGE : number * PAGE] = bytes(PAGE)
        file.write_bytes(content)

    return zero


def zero_header(file: Path) -> None:
    file.write_bytes(bytes(100) + file.read_bytes()[100:])


def root_of(table: str) -> Callable[[Path], None]:
    def zero(file: Path) -> None:
        with closing(sqlite3.connect(file)) as db:
            query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
            (number,) = db.execute(query, (table,)).fetchone()
        zero_page(number)(file)

    return zero


HURT: dict[str, Callable[[Path], None]] = {
    "a page of nonsense": flip_in_the_middle,
    "cut to 70 %": cut_to(0.7),
    "cut to 20 %": cut_to(0.2),
    "empty": cut_to(0),
    "no header": zero_header,
    "no first page": zero_page(1),
    "another size of pages": lambda file: file.write_bytes(
        file.read_bytes()[:16] + b"\2\0" + file.read_bytes()[18:]
    ),
    "no facts": root_of("meta"),
    "no lines of history": root_of("branches"),
    "no journal": root_of("journal"),
    "no top of the tail": root_of("metric_tail"),
    "gone": Path.unlink,
}


# The run goes on


@pytest.mark.parametrize("how", HURT)
def test_a_run_goes_on_to_the_same_bits_and_the_damaged_database_is_kept(
    rig: Rig, template: Template, run: Path, how: str
) -> None:
    file = run / "run.db"
    HURT[how](file)
    left = file.read_bytes() if file.exists() else None
    before = {path for path in run.rglob("*") if path.name != "run.db"}
    with pytest.raises(InputError, match="gpt-tui verify run --repair"):
        rig.open(run)
    file.unlink(missing_ok=True)  # whatever opening has made of it
    if left is not None:
        file.write_bytes(left)
    told = mended(run)
    assert find_damage(run) is None
    assert before <= {*run.rglob("*")}
    aside = run / "damaged-run.db"
    assert (aside.read_bytes() if aside.exists() else None) == left
    assert ("is kept as damaged-run.db" in told) == (left is not None)
    assert_is_part(read_salvage(file), template.whole)
    session = rig.open(run)
    assert (session.trainer.step, session.recorder.branch) == (END, 1)
    assert "was not closed the last time" not in str(rig.said(Warned))
    rig.to_step(session, LATER)
    assert_same_bits(bits(session), template.later)
    session.outlet.flush()
    steps, _ = session.files.database.metric(1, "train_loss", END)
    assert steps.tolist() == list(range(END + 1, LATER + 1))


def assert_is_part(found: Salvage, whole: Salvage) -> None:
    """Nothing was invented, but for the entry that says what was done."""
    salvaged = {number for number, row in found.journal.items() if row[2] == "salvaged"}
    assert len(salvaged) == 1 and min(salvaged) > max({0} | (found.journal.keys() - salvaged))
    assert {k: v for k, v in found.journal.items() if k not in salvaged}.items() <= (
        whole.journal.items()
    )
    assert found.samples.items() <= whole.samples.items()
    assert figures(found) <= figures(whole)
    assert found.branches.keys() == whole.branches.keys()
    for number, branch in found.branches.items():
        assert (branch.parent, branch.step) == (
            whole.branches[number].parent,
            whole.branches[number].step,
        )


def test_rows_before_and_after_the_damage_survive_and_what_is_lost_is_told(
    template: Template, run: Path
) -> None:
    """A page with a packed stretch: that is lost, and its neighbours are not."""
    whole = template.whole
    _, values = whole.blocks[1, "train_loss", 0]
    file = run / "run.db"
    content = file.read_bytes()
    zero_page(content.index(values[100:108]) // PAGE + 1)(file)
    told = mended(run)
    found = read_salvage(file)
    assert (1, "train_loss", 0) not in found.blocks
    assert found.tail == whole.tail
    assert len(found.blocks) >= len(whole.blocks) - 4
    assert f"lost: the figures of steps {CAME_BACK + 1} to 1,023 ({1023 - CAME_BACK} in" in told
    entry = RunDatabase(file, read_only=True).journal("salvaged")[0]
    assert entry["detail"]["lost"][0] in told
    (bad,) = [one.found for one in verify_files(run) if not one.is_fine]
    assert bad == f"{1023 - CAME_BACK} steps are missing on branch 1: {CAME_BACK + 1} to 1,023"


def test_no_page_hides_rows_of_another_and_none_is_misread(template: Template, run: Path) -> None:
    """Every page in turn is zeroed or filled with noise."""
    whole, file = template.whole, run / "run.db"
    content = file.read_bytes()
    all_rows = rows_of(whole)
    noise = random.Random(5)
    for at in range(0, len(content), PAGE):
        bad = noise.randbytes(PAGE) if at % (2 * PAGE) else bytes(PAGE)
        file.write_bytes(content[:at] + bad + content[at + PAGE :])
        found = read_salvage(file)
        rows = rows_of(found)
        assert rows <= all_rows, at // PAGE + 1
        assert len(all_rows - rows) < 250, at // PAGE + 1
        assert bool(found.unread) >= (rows < all_rows), "what is lost is told"
    file.write_bytes(bytes(PAGE) + content[PAGE:])
    assert rows_of(read_salvage(file)) >= all_rows, "the first page holds no rows"


def figures(found: Salvage) -> set[tuple[int, str, int, float | None]]:
    """Branch, metric, step and value of all that is recorded."""
    told = [(*key, value) for key, value in found.tail.items()]
    for (branch, metric, _), (steps, values) in found.blocks.items():
        numbers = np.frombuffer(values)
        at = unpacked(steps, len(numbers)).tolist()
        told += [(branch, metric, *one) for one in zip(at, numbers.tolist(), strict=True)]
    assert len(set(told)) == len(told), "some are recorded twice"
    return set(told)


def rows_of(found: Salvage) -> set[tuple[Any, ...]]:
    tables = (found.meta, found.journal, found.samples, found.blocks, found.tail)
    rows = {(index, *item) for index, table in enumerate(tables) for item in table.items()}
    return rows | {("branch", *vars(one).values()) for one in found.branches.values()}


def test_what_is_read_page_by_page_is_what_sqlite_reads(template: Template) -> None:
    """Of a file at rest, and of one whose newest rows are in its write-ahead log."""
    assert (template.live / "run.db-wal").stat().st_size > 0
    for run in (template.path, template.live):
        found = read_salvage(run / "run.db")
        assert found.unread == 0
        with closing(sqlite3.connect(f"file:{run}/run.db?mode=ro", uri=True)) as db:
            assert found.tail == {
                (b, m, s): v for b, m, s, v in db.execute("SELECT * FROM metric_tail")
            }
            assert {(*k, *v) for k, v in found.blocks.items()} == {
                *db.execute("SELECT * FROM metric_blocks")
            }
            assert found.meta == dict(db.execute("SELECT * FROM meta"))
            for table, rows in (("journal", found.journal), ("samples", found.samples)):
                assert {(number, *row) for number, row in rows.items()} == {
                    *db.execute(f"SELECT * FROM {table}")
                }


def test_the_write_ahead_log_of_a_damaged_database_is_read_and_set_aside(
    template: Template, runs_dir: Path
) -> None:
    run = Path(shutil.copytree(template.live, runs_dir / "run"))
    whole = read_salvage(run / "run.db")
    cut_to(0.1)(run / "run.db")
    log = (run / "run.db-wal").read_bytes()
    mended(run)
    assert (run / "damaged-run.db-wal").read_bytes() == log
    assert not (run / "run.db-wal").exists()
    logged = {key for key in whole.tail if key[2] > END - 3}
    assert logged
    assert logged <= read_salvage(run / "run.db").tail.keys()
    assert find_damage(run) is None


# What nobody knows any more


def without_record(run: Path) -> None:
    """Checkpoints as versions wrote them that did not note the run's facts there."""
    for path in list_snapshots(run):
        state = json.loads((path / "state.json").read_text())
        del state["record"]
        (path / "state.json").write_text(json.dumps(state))
        manifest = json.loads((path / "manifest.json").read_text())
        digest = hashlib.sha256((path / "state.json").read_bytes()).hexdigest()
        manifest["sha256"]["state.json"] = digest
        (path / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("how", ["no lines of history", "no facts", "no first page"])
def test_older_checkpoints_know_less_and_the_journal_helps(
    rig: Rig, template: Template, run: Path, how: str
) -> None:
    without_record(run)
    HURT[how](run / "run.db")
    mended(run)
    session = rig.open(run)
    rig.to_step(session, LATER)
    assert_same_bits(bits(session), template.later)
    summary = read_summary(run)
    assert (summary.total_steps, summary.device, summary.corpus) == (1500, "cpu", "small.txt")


def test_a_line_of_history_that_nobody_knows_is_refused_and_nothing_is_changed(run: Path) -> None:
    without_record(run)
    cut_to(0)(run / "run.db")
    before = {path: path.read_bytes() for path in run.rglob("*.*") if path.is_file()}
    with pytest.raises(InputError, match=r"where its line of history 1 began.*gpt-tui sample"):
        mended(run)
    assert {path: path.read_bytes() for path in run.rglob("*.*") if path.is_file()} == before


def test_a_fork_remains_one(rig: Rig, run: Path) -> None:
    with visit(run, END, lambda message: None) as run_state:
        child = fork(run_state, {"optim.learning_rate": 2e-3}, "child")
    before = read_summary(child)
    (child / "run.db").unlink()
    mended(child)
    session = rig.open(child, running=False)
    assert session.run_state.first_step == END
    rig.close(session)
    after = read_summary(child)
    assert (after.parent, after.parent_step) == (before.parent, before.parent_step) == ("run", END)
    assert (after.created, after.corpus) == (before.created, before.corpus)


def test_with_no_whole_checkpoint_the_rows_are_saved_all_the_same(
    template: Template, run: Path
) -> None:
    for path in list_snapshots(run):
        (path / "model.safetensors").write_bytes(b"")
    flip_in_the_middle(run / "run.db")
    mended(run)
    found, whole = read_salvage(run / "run.db"), template.whole
    assert len(rows_of(found)) > 0.9 * len(rows_of(whole))
    told = [one.found for one in verify_files(run) if one.part == "checkpoint"]
    assert told[-1] == "none is whole: put one back from a copy"
    assert "there are also those of" not in str(told)


def test_changes_without_a_journal_are_not_held_against_the_settings(run: Path) -> None:
    config = (run / "config.toml").read_bytes()
    (run / "run.db").unlink()
    assert "the journal" in mended(run)
    assert (run / "config.toml").read_bytes() == config
    (checked,) = [one for one in verify_files(run) if one.part == "config"]
    assert checked.is_fine


def test_text_in_the_journal_that_is_none_is_found_and_only_that_entry_is_lost(run: Path) -> None:
    with closing(sqlite3.connect(run / "run.db")) as db, db:
        db.execute("UPDATE journal SET detail = replace(detail, '{', '[') WHERE id = 3")
    with pytest.raises(InputError, match="gpt-tui verify run --repair"):
        RunDatabase(run / "run.db").journal()
    assert "lost: journal entries (1)" in mended(run)
    assert find_damage(run) is None


# Manners


def test_what_is_whole_is_left_alone(run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert "nothing is written" in mended(run)
    after = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert {path for path in after if path.is_file()} == {path for path in before if path.is_file()}


def test_a_run_in_training_is_not_touched(run: Path) -> None:
    (run / "run.db").unlink()
    lock = RunLock(run)
    with pytest.raises(InputError, match="stop it there first"):
        mended(run)
    lock.release()
    assert not (run / "run.db").exists()


def test_a_second_repair_keeps_what_the_first_has_set_aside(run: Path) -> None:
    for name in ("damaged-run.db", "damaged-run.db-2"):
        flip_in_the_middle(run / "run.db")
        damaged = (run / "run.db").read_bytes()
        mended(run)
        assert (run / name).read_bytes() == damaged


def test_a_full_disk_leaves_the_damaged_database_where_it_was(run: Path) -> None:
    flip_in_the_middle(run / "run.db")
    damaged = (run / "run.db").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        with pytest.raises(InputError, match="cannot be read or written"):
            mended(run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (run / "run.db").read_bytes() == damaged
    assert "is rebuilt" in mended(run)
    assert [path.name for path in run.glob(".run.db*")] == []


def test_a_repair_that_is_killed_is_done_again(run: Path) -> None:
    """Before every fourth line that it takes to rebuild a database."""
    cut_to(0.6)(run / "run.db")
    damaged = (run / "run.db").read_bytes()
    unhurt = Path(shutil.copytree(run, run.with_name("unhurt")))
    mended(unhurt)
    expected = figures(read_salvage(unhurt / "run.db"))
    survived = True
    line = 1
    while survived:
        (run / "run.db").write_bytes(damaged)
        survived = is_killed_at(line, run)
        kept = [path.read_bytes() for path in (run / "run.db", *run.glob("damaged-run.db*"))]
        assert damaged in kept, line
        repair(run, lambda message: None)
        assert figures(read_salvage(run / "run.db")) == expected, line
        for path in run.glob("damaged-run.db*"):
            path.unlink()
        line += 4
    assert line > 30


def is_killed_at(line: int, run: Path) -> bool:
    """Repair a run in a process that dies before a line, counted as they are run, of the repair."""
    child = os.fork()
    if child == 0:
        lines = itertools.count(1)

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            if event == "line" and next(lines) == line:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace if frame.f_code.co_filename == repair.__code__.co_filename else None

        sys.settrace(trace)
        repair(run, lambda message: None)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_a_number_that_was_damaged_into_another_leads_nobody_astray(
    template: Template, run: Path
) -> None:
    """One far away would make a chart, or a list of what is missing, of any length."""
    with closing(sqlite3.connect(run / "run.db")) as db, db:
        db.execute("UPDATE metric_tail SET step = 1 << 50 WHERE branch = 1 AND step = 1100")
        db.execute("UPDATE metric_tail SET branch = 99 WHERE branch = 1 AND step = 1101")
        db.execute("UPDATE journal SET id = 1 << 50 WHERE id = 4")
        db.execute("UPDATE branches SET parent = 1 WHERE id = 1")
    root_of("meta")(run / "run.db")
    told = mended(run)
    assert "the figures of steps 1,100 to 1,101 (2 in all); journal entries (1)" in told
    found = read_salvage(run / "run.db")
    assert {branch for branch, *_ in found.tail} == {0, 1}
    assert found.branches[1].parent == 0


def test_the_newest_rows_of_a_long_run_survive_the_loss_of_all_between(runs_dir: Path) -> None:
    run = create_run(Config(), runs_dir, "long")
    database = RunDatabase(run / "run.db")
    steps = np.arange(1, 300_000)
    database.import_metric("train_loss", steps, np.sqrt(steps))
    database.close()
    (run / "checkpoints/step-00299000").mkdir(parents=True)
    cut_to(0.05)(run / "run.db")
    assert "figures of steps" in mended(run)
    kept = read_salvage(run / "run.db").steps("train_loss", 0)
    assert kept[0] == 1 and kept[-1] > 299_000
    assert 300 < len(kept) < 100_000


@pytest.mark.parametrize("steps", [[3], [1, 2, 3, 7, 9, 10]])
def test_steps_in_words(steps: list[int]) -> None:
    words = {1: "3", 6: "1 to 3, 7, 9 to 10"}
    assert in_ranges(np.array(steps)) == words[len(steps)]
