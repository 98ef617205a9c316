"""A run's database that is damaged or gone: a copy takes its place, and the run goes on."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import resource
import shutil
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch

from data.errors import InputError
from engine.checkpoint.restore_database import restore_database
from engine.config.schema import Config
from engine.protocol import Adjust, Resume, Rewind, Sample, State, Warned
from engine.repair.repair import find_damage, repair
from engine.repair.verify import in_ranges, verify_files
from engine.runs import retrying_writer
from engine.runs.checkpoint_names import is_full, list_checkpoints, list_snapshots, step_of
from engine.runs.database import RunDatabase
from engine.runs.folder import RunLock
from engine.runs.summary import read_summary
from engine.runs.transfer import copy_run
from engine.session.fork import fork
from engine.session.rewind import visit
from engine.session.session import Session
from tests.engine.conftest import SMALL, MakeConfig, Rig, assert_same_bits, bits, recorded_losses

PAGE = 4096  # bytes, SQLite's usual
SETTINGS: dict[str, Any] = {
    "train.max_steps": 1500,
    "train.batch_size": 1,
    "model.n_layer": 1,
    "model.dropout": 0.1,
    "eval.interval": 25,
    "eval.batches": 1,
    "checkpoint.interval": 20,
    "checkpoint.keep": 3,
    "sample.max_tokens": 3,
    "system.micro_batch_size": 1,
}
PLAIN: dict[str, Any] = {
    "model__dropout": 0.1,
    "train__max_steps": 10_000,
    "checkpoint__interval": 5,
    "checkpoint__keep": 100,
}
LEFT, CAME_BACK, END, LATER = 60, 50, 230, 250  # steps
KILLED = 227  # seven steps after a checkpoint

Record = dict[str, Any]


@dataclass(frozen=True)
class Template:
    """A run to be hurt, and where it would have come to."""

    path: Path
    live: Path  # copied while it was in training: its write-ahead log lies beside
    later: dict[str, np.ndarray]
    record: Record  # at the end
    last_record: Record  # of the twin that nobody hurt


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, small_text_file: Path) -> Template:
    """Two lines of history, changes of settings, samples."""
    folder, threads = tmp_path_factory.mktemp("runs"), torch.get_num_threads()
    torch.set_num_threads(1)
    rig = Rig(folder)
    session = rig.new(Config().replace(SMALL | {"data.corpus": str(small_text_file)} | SETTINGS))
    rig.to_step(session, LEFT)
    session.handle(Rewind(CAME_BACK))
    rig.rest(session)
    for step in (CAME_BACK, 100, END - 30):
        rig.to_step(session, step)
        session.handle(Adjust({"optim.learning_rate": 1 / (step + 10)}))
        session.handle(Sample({"max_tokens": 3}))
        session.handle(Resume())
        session.files.database.fold()
    rig.to_step(session, KILLED)
    session.saving.collect(None)  # without another step, however slow the disk
    session.outlet.flush()
    live = Path(shutil.copytree(session.files.path, folder / "live"))
    rig.to_step(session, END)
    path = rig.close(session)
    again = rig.open(Path(shutil.copytree(path, folder / "again")))
    rig.to_step(again, LATER)
    later = bits(again)
    twin = rig.close(again)
    torch.set_num_threads(threads)
    return Template(path, live, later, record_of(path), record_of(twin))


@pytest.fixture
def run(template: Template, runs_dir: Path) -> Path:
    """Such a run."""
    return Path(shutil.copytree(template.path, runs_dir / "run"))


@pytest.fixture
def killed(template: Template, runs_dir: Path) -> Path:
    """Such a run, killed between two checkpoints."""
    return Path(shutil.copytree(template.live, runs_dir / "run"))


def mended(run: Path) -> str:
    said: list[str] = []
    repair(run, said.append)
    return "; ".join(said)


TRAINED = ("train_loss", "val_loss", "grad_norm", "learning_rate")  # others depend on the clock


def record_of(run: Path) -> Record:
    """What was trained, by branch, metric and step, the samples and the changes of settings."""
    database = RunDatabase(run / "run.db", read_only=True)
    figures = {}
    for branch in database.branches():
        for name in database.metric_names(branch.id):
            steps, values = database.metric(branch.id, name)
            assert len(set(steps.tolist())) == len(steps), "some are recorded twice"
            if name in TRAINED:
                figures[branch.id, name] = dict(zip(steps.tolist(), values.tolist(), strict=True))
    # at each hundredth step a checkpoint copies the database while a text is generated, which the
    # copy may miss
    samples = [
        (one["step"], one["branch"], one["text"]) for one in database.samples() if one["step"] % 100
    ]
    changes = [(one["step"], one["detail"]) for one in database.journal("adjusted")]
    branches = [(one.id, one.parent, one.step) for one in database.branches()]
    database.close()
    return {"figures": figures, "samples": samples, "changes": changes, "branches": branches}


def assert_it_ends_as_the_twin(rig: Rig, template: Template, run: Path, session: Session) -> None:
    """The same bits, and the same record."""
    rig.to_step(session, LATER)
    assert_same_bits(bits(session), template.later)
    rig.close(session)
    found, expected = record_of(run), template.last_record
    assert found | {"samples": []} == expected | {"samples": []}
    # a text that was being generated while the database was copied may be missing on either side
    texts: Counter[Any] = Counter(found["samples"])
    twins: Counter[Any] = Counter(expected["samples"])
    assert (texts - twins).total() <= 1 and (twins - texts).total() <= 1, (texts, twins)
    assert all(one.is_fine for one in verify_files(run))


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
    "another size of pages": lambda file: void(
        file.write_bytes(file.read_bytes()[:16] + b"\2\0" + file.read_bytes()[18:])
    ),
    "no facts": root_of("meta"),
    "no lines of history": root_of("branches"),
    "no journal": root_of("journal"),
    "no top of the tail": root_of("metric_tail"),
    "gone": Path.unlink,
}


def void(_: object) -> None:
    """Drop a result."""


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


# The run goes on


@pytest.mark.parametrize("by", ["opening", "repair"])
@pytest.mark.parametrize("how", HURT)
def test_a_run_goes_on_to_the_same_bits_and_the_damaged_database_is_kept(
    rig: Rig, template: Template, run: Path, how: str, by: str
) -> None:
    file = run / "run.db"
    HURT[how](file)
    left = file.read_bytes() if file.exists() else None
    before = {path for path in run.rglob("*") if path.name != "run.db"}
    assert find_damage(run) is not None
    told = mended(run) if by == "repair" else ""
    if by == "repair":
        assert find_damage(run) is None
        assert record_of(run) == template.record
    session = rig.open(run)
    if by == "opening":
        told, *others = [one.message for one in rig.said(Warned)]
        assert not others
    else:
        assert rig.said(Warned) == []
    assert f"restored from its copy in step-{END:08}-b1" in told
    assert before <= {*run.rglob("*")}
    aside = run / "damaged-run.db"
    assert (aside.read_bytes() if aside.exists() else None) == left
    assert ("is kept as damaged-run.db" in told) == (left is not None)
    assert (session.trainer.step, session.recorder.branch) == (END, 1)
    assert_it_ends_as_the_twin(rig, template, run, session)


def test_every_page_in_turn_may_be_lost(template: Template, run: Path) -> None:
    """Whatever page it is, either nothing was on it, or it is found and all comes back."""
    file = run / "run.db"
    content = file.read_bytes()
    found = 0
    for at in range(0, len(content), PAGE):
        file.write_bytes(content[:at] + bytes(PAGE) + content[at + PAGE :])
        if find_damage(run):
            found += 1
            mended(run)
        assert record_of(run) == template.record, at // PAGE + 1
    assert found > 0.8 * len(content) / PAGE


def test_what_was_trained_since_the_checkpoint_is_trained_again(
    rig: Rig, template: Template, killed: Path
) -> None:
    """The rows in the write-ahead log go with the file that they belong to."""
    cut_to(0.3)(killed / "run.db")
    log = (killed / "run.db-wal").read_bytes()
    assert log
    told = mended(killed)
    assert "recorded after step 220 is lost, and the steps after it are trained again" in told
    assert (killed / "damaged-run.db-wal").read_bytes() == log
    assert not (killed / "run.db-wal").exists()
    (entry,) = RunDatabase(killed / "run.db", read_only=True).journal("salvaged")
    assert entry["detail"] == {"lost": [entry["detail"]["lost"][0]], "journal_is_whole": True}
    assert entry["detail"]["lost"][0] in told
    summary = read_summary(killed)
    assert (summary.state, summary.step) == (State.STOPPED, 220)
    session = rig.open(killed)
    assert session.trainer.step == 220
    rig.to_step(session, END)
    rig.until(session, lambda: not session.saving.busy)
    assert_it_ends_as_the_twin(rig, template, killed, session)


# Which copy is taken


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("run.db", flip_a_bit),
        ("run.db", Path.unlink),
        ("model.safetensors", flip_a_bit),
        ("manifest.json", cut_to(0.5)),
    ],
)
def test_the_newest_whole_copy_beside_whole_weights_is_taken(
    rig: Rig, template: Template, run: Path, name: str, how: Callable[[Path], None]
) -> None:
    flip_in_the_middle(run / "run.db")
    newest = list_checkpoints(run)[-1]
    how(newest / name)
    left = {path.name: path.read_bytes() for path in newest.iterdir()}
    assert any(newest.name in one.found for one in verify_files(run) if not one.is_fine)
    told = mended(run)
    assert f"{newest.name}, with no intact copy of run.db, is kept as damaged-{newest.name}" in told
    aside = newest.with_name(f"damaged-{newest.name}")
    assert {path.name: path.read_bytes() for path in aside.iterdir()} == left
    session = rig.open(run)
    assert session.trainer.step == 220
    assert_it_ends_as_the_twin(rig, template, run, session)


def test_with_no_whole_checkpoint_what_is_recorded_is_saved_all_the_same(
    template: Template, run: Path
) -> None:
    for path in list_snapshots(run):
        (path / "model.safetensors").write_bytes(b"")
    flip_in_the_middle(run / "run.db")
    mended(run)
    assert record_of(run) == template.record
    told = [one.found for one in verify_files(run) if one.part == "checkpoint"]
    assert told[-1] == "none is intact: put one back from a copy"
    assert "there are also those of" not in str(told)


def test_a_run_without_a_checkpoint_begins_anew(
    rig: Rig, make_config: MakeConfig, run: Path
) -> None:
    path = rig.close(rig.new(make_config(), running=False))
    HURT["no header"](path / "run.db")
    with pytest.raises(InputError, match=r"verify \S+ --repair"):
        rig.open(path)
    assert "the run begins anew; the damaged one is kept as damaged-run.db" in mended(path)
    rig.to_step(rig.open(path), 2)


# Runs of older versions, whose checkpoints have no copy


def without_copies(run: Path, record: bool = True) -> None:
    """Checkpoints as versions wrote them that put no copy there, or did not even note the facts."""
    for path in list_snapshots(run):
        manifest = json.loads((path / "manifest.json").read_text())
        (path / "run.db").unlink(missing_ok=True)
        manifest["sha256"].pop("run.db", None)
        if not record:
            state = json.loads((path / "state.json").read_text())
            del state["record"]
            (path / "state.json").write_text(json.dumps(state))
            digest = hashlib.sha256((path / "state.json").read_bytes()).hexdigest()
            manifest["sha256"]["state.json"] = digest
        (path / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("by", ["opening", "repair"])
def test_without_a_copy_the_run_opens_and_its_curves_begin_there(
    rig: Rig, template: Template, run: Path, by: str
) -> None:
    without_copies(run)
    before = read_summary(run)
    config = (run / "config.toml").read_bytes()
    cut_to(0.5)(run / "run.db")
    told = mended(run) if by == "repair" else ""
    session = rig.open(run)
    told = told or rig.said(Warned)[0].message
    assert told == (
        "no checkpoint holds an intact copy of run.db (older versions wrote none), so a new one "
        f"begins at step-{END:08}-b1: curves, samples and journal before it are lost; the damaged "
        "one is kept as damaged-run.db"
    )
    assert (session.trainer.step, session.recorder.branch) == (END, 1)
    rig.to_step(session, LATER)
    assert_same_bits(bits(session), template.later)
    rig.close(session)
    record = record_of(run)
    assert record["branches"] == template.record["branches"]
    assert [*record["figures"][1, "train_loss"]] == list(range(END + 1, LATER + 1))
    after = read_summary(run)
    assert (after.created, after.corpus) == (before.created, before.corpus)
    bad = [one.found for one in verify_files(run) if not one.is_fine]
    assert bad == ["50 steps are missing: 1 to 50", "180 steps are missing on branch 1: 51 to 230"]
    assert (run / "config.toml").read_bytes() == config


def test_an_even_older_run_opens_and_one_that_went_back_is_refused_and_not_changed(
    rig: Rig, run: Path
) -> None:
    without_copies(run, record=False)
    (run / "run.db").write_bytes(b"")
    before = {path: path.read_bytes() for path in run.rglob("*.*") if path.is_file()}
    with pytest.raises(
        InputError, match=r"where the line of history 1 .* began.* sample \S+ still works"
    ):
        mended(run)
    with pytest.raises(InputError, match="where the line of history 1"):
        rig.open(run)
    assert {path: path.read_bytes() for path in run.rglob("*.*") if path.is_file()} == before
    for path in list_snapshots(run):
        if path.name.endswith("-b1"):
            shutil.rmtree(path)
    assert "a new one begins at step-00000050:" in mended(run)
    session = rig.open(run)
    assert session.trainer.step == CAME_BACK
    rig.to_step(session, CAME_BACK + 2)


def test_a_fork_remains_one(rig: Rig, run: Path) -> None:
    with visit(run, END, lambda message: None) as run_state:
        child = fork(run_state, {"optim.learning_rate": 2e-3}, "child")
    before, record = read_summary(child), record_of(child)
    for older in (False, True):
        if older:
            without_copies(child)
        (child / "run.db").unlink()
        mended(child)
        assert older or record_of(child) == record
        session = rig.open(child, running=False)
        assert session.run_state.first_step == END
        rig.crash(session)
        after = read_summary(child)
        assert (after.parent, after.parent_step) == (before.parent, before.parent_step)
        assert (after.created, after.corpus) == (before.created, before.corpus)


# The copies


def test_full_checkpoints_have_one_and_light_ones_none(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(train__max_steps=100, checkpoint__interval=5, checkpoint__keep=2))
    rig.to_step(session, 41)
    path = rig.close(session)
    there = {step_of(one): (one / "run.db").exists() for one in list_snapshots(path)}
    assert there == {step_of(one): is_full(one) for one in list_snapshots(path)}
    assert {*there.values()} == {True, False}
    for one in list_checkpoints(path):
        assert sorted(file.name for file in one.glob("run.db*")) == ["run.db"]
        with closing(sqlite3.connect(f"{(one / 'run.db').as_uri()}?immutable=1", uri=True)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_copied_run_is_restored_by_itself(rig: Rig, template: Template, run: Path) -> None:
    """Both share the files of their checkpoints, which a repair must not change."""
    copy = copy_run(run, run.with_name("copy"))
    flip_in_the_middle(copy / "run.db")
    mended(copy)
    assert_it_ends_as_the_twin(rig, template, copy, rig.open(copy))
    flip_in_the_middle(run / "run.db")
    mended(run)
    assert record_of(run) == template.record


def test_figures_that_wait_in_memory_are_missing_from_no_copy(
    rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying_writer, "RETRY_SECONDS", 0.0)
    session = rig.new(make_config(**PLAIN))
    rig.to_step(session, 6)
    rig.until(session, lambda: not session.saving.busy)
    other = sqlite3.connect(session.files.path / "run.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    rig.to_step(session, 11)
    rig.until(session, lambda: not session.saving.busy)
    other.execute("COMMIT")
    other.close()
    path = rig.close(session)
    there = {step_of(one): (one / "run.db").exists() for one in list_checkpoints(path)}
    assert there[5] and not there[10] and there[max(there)]


def test_a_database_damaged_under_a_run_pauses_it_and_the_older_copies_stay(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(**PLAIN))
    rig.to_step(session, 6)
    rig.until(session, lambda: not session.saving.busy)
    path, step = session.files.path, session.trainer.step
    saved = len(list_checkpoints(path))
    session.files.database.fold()
    with closing(sqlite3.connect(path / "run.db")) as db:
        (number,) = db.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'branches'"
        ).fetchone()
    with (path / "run.db").open("r+b") as file:  # in its place, as a disk would
        file.seek((number - 1) * PAGE)
        file.write(b"\x55" * PAGE)
    with suppress(sqlite3.DatabaseError):  # if the training itself comes upon it first
        rig.until(
            session, lambda: session.status.state is State.PAUSED or session.trainer.step > 50
        )
        told = rig.said(Warned)[-1].message
        assert told.startswith("the checkpoint was not written, and training is paused: ")
        assert "--repair" in told
    rig.crash(session)
    assert len(list_checkpoints(path)) == saved
    again = rig.open(path)
    assert again.trainer.step <= step
    rig.to_step(again, step + 10)
    alone = rig.new(make_config(**PLAIN))
    rig.to_step(alone, step + 10)
    assert_same_bits(bits(again), bits(alone))
    assert recorded_losses(again) == recorded_losses(alone)


# Manners


def test_text_in_the_journal_that_is_none_is_found(template: Template, run: Path) -> None:
    with closing(sqlite3.connect(run / "run.db")) as db, db:
        db.execute("UPDATE journal SET detail = replace(detail, '{', '[') WHERE id = 3")
    with pytest.raises(InputError, match="verify run --repair"):
        RunDatabase(run / "run.db").journal()
    mended(run)
    assert record_of(run) == template.record


def test_a_disk_that_fails_to_read_now_is_no_damage(
    rig: Rig, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (run / "run.db").read_bytes()

    def failing(*_: Any) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    monkeypatch.setattr("engine.runs.database._connect", failing)
    with pytest.raises(InputError, match="disk I/O error"):
        rig.open(run)
    assert (run / "run.db").read_bytes() == before
    assert not [*run.glob("damaged*")]


def test_what_is_whole_is_left_alone(run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    assert "nothing is written" in mended(run)
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}


def test_a_run_in_training_is_not_touched(rig: Rig, run: Path) -> None:
    (run / "run.db").unlink()
    lock = RunLock(run)
    for attempt in (mended, rig.open):
        with pytest.raises(InputError, match="stop it there first"):
            attempt(run)
    lock.release()
    assert not (run / "run.db").exists()


def test_a_second_repair_keeps_what_the_first_has_set_aside(run: Path) -> None:
    for name in ("damaged-run.db", "damaged-run.db-2"):
        flip_in_the_middle(run / "run.db")
        damaged = (run / "run.db").read_bytes()
        mended(run)
        assert (run / name).read_bytes() == damaged


def test_a_full_disk_leaves_the_damaged_database_where_it_was(rig: Rig, run: Path) -> None:
    flip_in_the_middle(run / "run.db")
    damaged = (run / "run.db").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        with pytest.raises(InputError, match="cannot be read or written"):
            mended(run)
        with pytest.raises(InputError, match=r"cannot be re(ad|stored)"):
            rig.open(run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (run / "run.db").read_bytes() == damaged
    assert "is restored" in mended(run)
    assert [path.name for path in run.glob(".run.db*")] == []


def test_a_repair_that_is_killed_is_done_again(template: Template, run: Path) -> None:
    """Before every third line that it takes; two checkpoints are set aside on the way."""
    cut_to(0.6)(run / "run.db")
    for path in list_checkpoints(run)[-2:]:
        (path / "run.db").unlink()
    unhurt = Path(shutil.copytree(run, run.with_name("unhurt")))
    mended(Path(shutil.copytree(unhurt, run.with_name("expected"))))
    expected = record_of(run.with_name("expected"))
    damaged = (run / "run.db").read_bytes()
    survived, line = True, 1
    while survived:
        shutil.rmtree(run)
        shutil.copytree(unhurt, run)
        survived = is_killed_at(line, run)
        kept = [path.read_bytes() for path in (run / "run.db", *run.glob("damaged-run.db*"))]
        assert damaged in kept, line
        assert len([*(run / "checkpoints").glob("*step-*")]) == len(list_snapshots(unhurt)), line
        mended(run)
        assert record_of(run) == expected, line
        assert [path.name for path in list_checkpoints(run)] == [
            path.name for path in list_checkpoints(run.with_name("expected"))
        ]
        line += 3
    assert line > 30


def is_killed_at(line: int, run: Path) -> bool:
    """Repair a run in a process that dies before a line, counted as they are run, of the repair."""
    child = os.fork()
    if child == 0:
        lines = itertools.count(1)

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            if event == "line" and next(lines) == line:
                os.kill(os.getpid(), signal.SIGKILL)
            return (
                trace if frame.f_code.co_filename == restore_database.__code__.co_filename else None
            )

        sys.settrace(trace)
        repair(run, lambda message: None)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_steps_in_words() -> None:
    assert in_ranges([(3, 3)]) == "3"
    assert in_ranges([(1, 3), (7, 7), (9, 1000)]) == "1 to 3, 7, 9 to 1,000"
    assert in_ranges([(2 * n, 2 * n) for n in range(7)]) == "0, 2, 4, 6, 8, and 2 ranges more"
