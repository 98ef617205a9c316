"""Disks that are full, gone, locked or read-only: training pauses or goes on, and loses nothing."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from data.download import Watcher
from data.errors import InputError
from engine.checkpoint.store import copy_of_database, read_checkpoint
from engine.protocol import Evaluated, Fork, Forked, Pause, Refused, Resume, Saved, State, Warned
from engine.repair.repair import repair
from engine.runs import database, retrying_writer
from engine.runs.checkpoint_names import list_checkpoints
from engine.runs.folder import RunLock
from engine.runs.notes import set_note
from engine.runs.open import new_run
from engine.runs.transfer import copy_run, rename_run
from engine.session.fork import fork
from engine.session.session import Session
from tests.engine.conftest import MakeConfig, Rig, assert_same_bits, bits, recorded_losses
from tui.control.own_presets import save_preset
from tui.control.preferences import VARIABLE, Preferences
from tui.control.texts import save_text

BUSY: dict[str, Any] = {
    "train__max_steps": 10_000,
    "checkpoint__interval": 5,
    "eval__interval": 4,
    "model__dropout": 0.1,
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens once a second happens at every step, and nobody waits for a lock."""
    monkeypatch.setattr("engine.session.recorder.FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(retrying_writer, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(retrying_writer, "SHORT_TIMEOUT", 1)
    for module in (retrying_writer, database):
        monkeypatch.setattr(module, "LONG_TIMEOUT", 50)


def warnings(rig: Rig) -> list[str]:
    return [event.message for event in rig.said(Warned)]


def assert_undisturbed(rig: Rig, make_config: MakeConfig, session: Session, **kind: Any) -> None:
    """The run is, bits and record, what one is to which nothing happened."""
    alone = rig.new(make_config(**BUSY | kind))
    rig.to_step(alone, session.trainer.step)
    assert_same_bits(bits(session), bits(alone))
    assert recorded_losses(session) == recorded_losses(alone)


# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own of a few megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small disk needs root; the limit on file sizes is tested anyway")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, left: int = 0) -> Path:
    """Take all the room there is but for some bytes."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError as error:
                assert error.errno == errno.ENOSPC
        file.truncate(max(file.tell() - left, 0))
    return filler


def test_a_full_disk_pauses_training_and_room_lets_it_go_on(
    make_config: MakeConfig, small_disk: Path
) -> None:
    rig = Rig(small_disk / "runs")
    session = rig.new(make_config(**BUSY))
    rig.to_step(session, 12)
    rig.until(session, lambda: bool(rig.said(Saved)))
    rig.send(session, Pause())  # no newer checkpoint takes the place of one that is listed
    rig.until(session, lambda: not session.saving.busy)
    whole = {path.name for path in list_checkpoints(session.files.path)}
    filler = fill(small_disk)
    session.handle(Resume())
    rig.until(session, lambda: session.status.state is State.PAUSED and not session.saving.busy)
    assert "make room" in warnings(rig)[-1].lower()
    assert whole <= {path.name for path in list_checkpoints(session.files.path)}
    for path in list_checkpoints(session.files.path):
        read_checkpoint(path)  # each is whole
    session.handle(Resume())  # nothing has changed: it pauses again, and says so
    rig.until(session, lambda: session.status.state is State.PAUSED and not session.saving.busy)

    filler.unlink()
    session.handle(Resume())
    rig.to_step(session, session.trainer.step + 10)
    rig.until(session, lambda: rig.said(Saved)[-1].step == session.status.saved_step)
    assert session.status.state is State.RUNNING
    other = Rig(small_disk.with_name("elsewhere"))
    assert_undisturbed(other, make_config, session)
    path = rig.close(session)
    end = session.trainer.step
    assert recorded_losses(rig.open(path)).keys() == set(range(1, end + 1))
    for one in (rig, other):
        one.close_all()


@pytest.mark.parametrize("left", [0, 4_096, 20_480, 61_440])
def test_a_disk_too_full_to_begin_on_is_told_and_nothing_is_left(
    make_config: MakeConfig, small_disk: Path, left: int
) -> None:
    runs = small_disk / "runs"
    runs.mkdir()
    filler = fill(small_disk)
    os.truncate(filler, filler.stat().st_size - left)
    with pytest.raises(InputError, match=r"cannot write the runs folder .*: allow it or make room"):
        new_run(make_config(**BUSY), runs, None, "test", Watcher())
    assert not list(runs.iterdir())


def test_a_fork_on_a_full_disk_is_refused_and_its_parent_goes_on(
    make_config: MakeConfig, small_disk: Path
) -> None:
    rig = Rig(small_disk / "runs")
    session = rig.new(make_config(**BUSY))
    rig.to_step(session, 12)
    rig.until(session, lambda: not session.saving.busy)
    filler = fill(small_disk)
    os.truncate(filler, filler.stat().st_size - 30_000)  # room for the folder and its settings
    with pytest.raises(InputError, match="make room"):
        fork(session.run_state, {}, None)
    assert [path.name for path in (small_disk / "runs").iterdir()] == [session.files.path.name]
    filler.unlink()
    rig.to_step(session, session.trainer.step + 2)
    rig.close_all()


LIMITED = """
import json, resource, sys
from pathlib import Path
import engine.session.recorder
from engine.config.schema import Config
from engine.metrics import MetricStore
from engine.protocol import Resume, State, Warned
from data.download import Watcher
from engine.runs.open import new_run
from engine.session.session import Session
engine.session.recorder.FLUSH_SECONDS = 0.0
config, runs = Config().replace(json.loads(sys.argv[1])), Path(sys.argv[2])
files = new_run(config, runs, "limited", "test", Watcher(lambda m: None, lambda: False))
events = []
session = Session(files, MetricStore(), events.append, lambda m: None)
session.open(running=True)
def until(done):
    for _ in range(20_000):
        if done(): return
        session.advance()
    raise AssertionError("it never came")
until(lambda: session.status.saved_step >= 10)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
until(lambda: session.status.state is State.PAUSED and not session.saving.busy)
print([e.message for e in events if isinstance(e, Warned)][-1])
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
session.handle(Resume())
until(lambda: session.status.saved_step > session.trainer.step - 5 > 20)
assert session.status.state is State.RUNNING
session.close(save=True)
print(session.trainer.step)
"""


@pytest.mark.parametrize("limit", [1_000, 30_000])
def test_files_that_may_not_grow_are_as_a_full_disk(
    rig: Rig, make_config: MakeConfig, runs_dir: Path, limit: int
) -> None:
    """The smaller limit stops the database, the larger one a checkpoint."""
    settings = {k: v for k, v in make_config(**BUSY).to_dict().items() if k != "preset"}
    flat = {f"{s}.{name}": v for s, one in settings.items() for name, v in one.items()}
    command = [sys.executable, "-c", LIMITED, json.dumps(flat), str(runs_dir), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    told, end = done.stdout.splitlines()
    assert "raining is paused" in told and "ake room, then resume" in told
    session = rig.open(runs_dir / "limited")
    assert session.trainer.step == int(end)
    assert_undisturbed(rig, make_config, session)


@pytest.mark.parametrize(
    "write",
    [
        lambda disk: Preferences.load().set("screen.theme", "nord"),
        lambda disk: save_preset("mine", "tiny", {"model.n_layer": 3}),
        lambda disk: save_text(disk, 5, "once upon a time"),
        lambda disk: set_note(disk, "a note"),
    ],
    ids=["preferences", "preset", "text", "note"],
)
def test_what_a_person_writes_to_a_full_disk_is_refused_in_a_sentence(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], object]
) -> None:
    monkeypatch.setenv(VARIABLE, str(small_disk / "preferences.toml"))
    fill(small_disk)
    with pytest.raises(InputError, match="No space left on device"):
        write(small_disk)
    left = {one.name for one in small_disk.rglob("*") if one.is_file()}
    assert left == {"filler"}


def spoil_database(run: Path) -> None:
    (run / "run.db").write_bytes(b"SQLite format 3\0" + bytes(10_000))


WRITES: dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]] = {
    "copy": (lambda run: None, lambda run: copy_run(run, run.parent.parent / "disk/copy")),
    "restored database": (spoil_database, lambda run: repair(run, lambda told: None)),
    "restored settings": (
        lambda run: (run / "config.toml").write_text("?"),
        lambda run: repair(run, lambda told: None),
    ),
    "former name": (lambda run: None, lambda run: rename_run(run, "renamed")),
}


@pytest.mark.parametrize("what", WRITES)
def test_what_a_full_disk_refuses_is_not_half_there(
    rig: Rig, make_config: MakeConfig, small_disk: Path, what: str
) -> None:
    """However much room is left, up to enough: one sentence, and every file is as it was."""
    session = rig.new(make_config(checkpoint__interval=4))
    rig.to_step(session, 4)
    made, (spoil, write) = rig.close(session), WRITES[what]
    on_it = made if what == "copy" else Path(shutil.copytree(made, small_disk / "run"))
    spoil(on_it)
    before = {path: path.is_file() and path.read_bytes() for path in on_it.rglob("*")}
    for left in (0, 4_096, 20_480, 61_440, 122_880, 10**6):
        filler = fill(small_disk, left)
        try:
            write(on_it)
        except InputError as error:
            assert left < 10**6
            assert len(error.problems) == 1 and "make room" in str(error)
            now = {path: path.is_file() and path.read_bytes() for path in on_it.rglob("*")}
            assert {path: now[path] for path in now if path.name != "lock"} == {
                path: before[path] for path in before if path.name != "lock"
            }
            assert {*small_disk.iterdir()} <= {filler, on_it}
        else:
            break
        finally:
            filler.unlink()
    assert left


# A folder that cannot be written, or is gone


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_made_read_only_under_a_run_pauses_it(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(**BUSY))
    rig.to_step(session, 6)
    folder = session.files.path / "checkpoints"
    folder.chmod(0o500)
    rig.until(session, lambda: session.status.state is State.PAUSED)
    assert "could not be written (Permission denied)" in warnings(rig)[-1]
    folder.chmod(0o700)
    session.handle(Resume())
    rig.to_step(session, 20)
    assert_undisturbed(rig, make_config, session)


def test_a_disk_that_turns_read_only_pauses_training_and_it_goes_on(
    make_config: MakeConfig, small_disk: Path
) -> None:
    def remount(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(small_disk)], check=True)

    rig = Rig(small_disk / "runs")
    session = rig.new(make_config(**BUSY))
    rig.to_step(session, 6)
    rig.until(session, lambda: not session.saving.busy)
    session.recorder.database.close()  # a file that is open for writing forbids the remount
    assert session.files.lock is not None
    session.files.lock.release()
    path = session.files.path
    remount("ro")
    try:
        with pytest.raises(InputError, match=r"cannot be written .* copy the run elsewhere"):
            RunLock(path)
    finally:
        remount("rw")
    rig.crash(session)
    again = rig.open(path)
    rig.to_step(again, 12)
    other = Rig(small_disk.with_name("elsewhere"))
    assert_undisturbed(other, make_config, again)
    for one in (rig, other):
        one.close_all()


def test_a_full_disk_when_a_run_is_made_leaves_nothing_to_repair(
    rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    session = rig.new(make_config(**BUSY))
    rig.to_step(session, 3)
    monkeypatch.setattr(database.RunDatabase, "_alter", full)
    with pytest.raises(InputError) as told:
        rig.new(make_config())
    session.handle(Fork({}, "another"))
    for message in (str(told.value), rig.said(Refused)[-1].message):
        assert "disk is full): allow it or make room" in message and "repair" not in message
    assert os.listdir(session.files.path.parent) == [session.files.path.name]
    rig.to_step(session, 5)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda file: os.replace(file.with_name("older"), file), "another program has put a file"),
        (os.unlink, "run.db is gone"),
    ],
)
def test_a_database_that_is_replaced_while_it_is_written_pauses_the_run(
    rig: Rig, make_config: MakeConfig, change: Callable[[Path], object], told: str
) -> None:
    session = rig.new(make_config(**BUSY))
    rig.to_step(session, 12)
    rig.until(session, lambda: not session.saving.busy)
    file = session.files.path / "run.db"
    shutil.copy(file, file.with_name("older"))
    change(file)
    rig.until(session, lambda: session.status.state is State.PAUSED)
    assert told in warnings(rig)[-1] and "fork it" in warnings(rig)[-1]
    session.handle(Fork({}, "kept"))
    rig.until(session, lambda: bool(rig.said(Forked)))
    step = session.trainer.step
    path = rig.close(session)
    # what is not the run's own is not taken for its copy
    assert copy_of_database(list_checkpoints(path)[-1]) is None
    assert rig.open(Path(rig.said(Forked)[-1].path)).trainer.step == step


def test_a_database_that_is_gone_is_noticed_where_the_run_is_saved_all_the_time(
    rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More often than its figures would be written otherwise."""
    monkeypatch.setattr("engine.session.recorder.FLUSH_SECONDS", 1000.0)
    session = rig.new(make_config(**BUSY | {"checkpoint__interval": 2}))
    rig.to_step(session, 5)
    (session.files.path / "run.db").unlink()
    rig.until(session, lambda: session.status.state is State.PAUSED)
    assert "run.db is gone" in warnings(rig)[-1]


def test_a_disk_that_refuses_to_flush_the_figures_pauses_the_run(
    rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = rig.new(make_config(**BUSY))
    rig.to_step(session, 6)

    def fail(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("engine.runs.database.sync_to_disk", fail)
        rig.until(session, lambda: session.status.state is State.PAUSED)
        assert "the checkpoint could not be written (Input/output error)" in warnings(rig)[-1]
    session.handle(Resume())
    rig.to_step(session, 20)
    assert_undisturbed(rig, make_config, session)


def test_a_run_whose_folder_is_deleted_pauses_and_lives_on_in_a_fork(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(**BUSY))
    rig.to_step(session, 12)
    rig.until(session, lambda: not session.saving.busy)  # or it is there again at once
    shutil.rmtree(session.files.path)
    rig.until(session, lambda: session.status.state is State.PAUSED)
    assert "is gone" in warnings(rig)[-1] and "fork it" in warnings(rig)[-1]
    step, before = session.trainer.step, bits(session)
    session.handle(Fork({}, None))
    rig.until(session, lambda: bool(rig.said(Forked)))
    fork = rig.open(Path(rig.said(Forked)[-1].path))
    assert fork.trainer.step == step
    assert_same_bits(bits(fork), before)
    rig.to_step(fork, step + 5)
    assert_undisturbed(rig, make_config, fork)


# A database in other hands


def test_a_locked_database_stops_nothing_and_misses_nothing(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(**BUSY, sample__max_tokens=3))
    rig.to_step(session, 6)
    other = sqlite3.connect(session.files.path / "run.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    rig.to_step(session, 20)
    assert session.status.state is State.RUNNING
    assert len([told for told in warnings(rig) if "another program holds" in told]) == 1
    evaluations = [event.step for event in rig.said(Evaluated)]
    assert max(evaluations) >= 16
    other.execute("COMMIT")
    rig.to_step(session, 24)
    assert "nothing that was recorded is missing" in warnings(rig)[-1]
    assert_undisturbed(rig, make_config, session)
    journal = session.files.database.journal("evaluated")
    assert [entry["step"] for entry in journal][: len(evaluations)] == evaluations
    written = [sample["step"] for sample in session.files.database.samples()]
    assert written[:5] == [0, 4, 8, 12, 16]
    other.close()


def test_a_run_closed_while_its_database_is_locked_says_what_is_lost_and_sets_it_free(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(**BUSY))
    rig.to_step(session, 6)
    path = session.files.path
    other = sqlite3.connect(path / "run.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    rig.to_step(session, 8)
    with pytest.raises(OSError, match="cannot be written: database is locked"):
        rig.close(session)
    other.execute("ROLLBACK")
    other.close()
    RunLock(path).release()


def test_a_run_cannot_be_opened_twice_nor_while_its_database_is_held(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(**BUSY))
    with pytest.raises(InputError, match="is being trained by another program: stop it there"):
        rig.open(session.files.path)
    rig.to_step(session, 3)
    path = rig.close(session)
    other = sqlite3.connect(path / "run.db", isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(InputError, match="held by another program"):
        rig.open(path)
    other.execute("ROLLBACK")
    other.close()
    assert rig.open(path).trainer.step == 3


# A clock that jumps


def test_a_clock_that_jumps_back_and_forth_troubles_nobody(
    rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(3)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + chance.uniform(-1e9, 1e9))
    session = rig.new(make_config(**BUSY))
    rig.to_step(session, 9)
    session.handle(Pause())
    session.handle(Resume())
    session = rig.open(rig.crash(session))
    rig.to_step(session, 14)
    session = rig.open(rig.close(session))
    assert session.trainer.step == 14
    rig.to_step(session, 20)
    assert_undisturbed(rig, make_config, session)
    assert session.status.train_seconds > 0
    kinds = [entry["kind"] for entry in session.files.database.journal()]
    assert kinds.index("started") < kinds.index("paused") < kinds.index("opened")
