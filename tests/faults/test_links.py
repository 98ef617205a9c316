"""A run writes to its own files alone, whatever somebody else put in their place."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from data.errors import InputError
from engine.checkpoint.store import tidy_checkpoints
from engine.config.schema import Config
from engine.protocol import Warned
from engine.repair.repair import repair
from engine.runs.checkpoint_names import list_snapshots, pin
from engine.runs.folder import RunLock, is_locked, list_runs
from engine.runs.notes import set_note
from engine.runs.open import open_run
from engine.runs.transfer import (
    copy_run,
    empty_trash,
    list_trash,
    rename_run,
    restore_run,
    trash_run,
)
from engine.session.worker import open_or_restore
from engine.sweeps.grid import Trial
from engine.sweeps.queue import Queue
from tests.engine.conftest import SILENT, MakeConfig, Rig
from tests.faults.hostile_files import Instead

COMMANDS: dict[str, Callable[[Path], object]] = {
    "resume": lambda run: open_or_restore(run, SILENT),
    "repair": lambda run: repair(run, lambda told: None),
    "rename": lambda run: rename_run(run, "another"),
    "copy": lambda run: copy_run(run, run.with_name("copy")),
    "rm": trash_run,
}
NEWEST = "checkpoints/step-00000004"
PLACES = (
    "config.toml",
    "run.db",
    "run.db-wal",
    "lock",
    "log.txt",
    "notes.toml",
    "checkpoints",
    "checkpoints/latest",
    "checkpoints/best",
    "checkpoints/.latest.0123abcd.tmp",
    "checkpoints/.step-00000004.1.tmp",
    "checkpoints/.step-00000004.1.old",
    "checkpoints/step-00000009",
    NEWEST,
    f"{NEWEST}/model.safetensors",
    f"{NEWEST}/run.db",
    f"{NEWEST}/pinned",
)


def link_to_file(place: Path, victim: Path) -> None:
    place.symlink_to(victim / "theirs.db")


def link_to_folder(place: Path, victim: Path) -> None:
    place.symlink_to(victim)


def dangling(place: Path, victim: Path) -> None:
    place.symlink_to(victim / "not-there")


def pipe(place: Path, victim: Path) -> None:
    os.mkfifo(place)


def a_socket(place: Path, victim: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        before = Path.cwd()
        os.chdir(place.parent)  # the path of a socket may be 107 bytes long
        try:
            one.bind(place.name)
        finally:
            os.chdir(before)


KINDS = (link_to_file, link_to_folder, dangling, pipe, a_socket)


@pytest.fixture
def run(rig: Rig, make_config: MakeConfig) -> Path:
    session = rig.new(make_config(checkpoint__interval=2, train__max_steps=4))
    rig.to_step(session, 4)
    return rig.close(session)


@pytest.fixture
def victim(tmp_path: Path, run: Path) -> Path:
    """Somebody's folder, with everything in it that could be taken for ours."""
    folder = tmp_path / "victim"
    shutil.copytree(run / "checkpoints", folder)
    for hidden in (".step-00000004.1.tmp", ".step-00000002.7.old", ".cache", ".x.tmp", ".y.old"):
        (folder / hidden / "deep").mkdir(parents=True)
        (folder / hidden / "state.json").write_text("theirs")
    (folder / ".latest.0123abcd.tmp").write_text("theirs")
    with closing(sqlite3.connect(folder / "theirs.db")) as db:
        db.execute("CREATE TABLE theirs (id)")
    return folder


Content = dict[str, tuple[bytes, int]]


def content(folder: Path) -> Content:
    """Every path with its bytes (of a file, or where a link leads to) and its time."""
    return dict(_content(folder, str(folder)))


def _content(folder: Path, root: str) -> Iterator[tuple[str, tuple[bytes, int]]]:
    for entry in os.scandir(folder):
        path, found = Path(entry.path), os.lstat(entry.path)
        name = entry.path.removeprefix(root)
        if entry.is_symlink():
            yield name, (os.readlink(path).encode(), found.st_mtime_ns)
        elif entry.is_dir():
            yield name, (b"", found.st_mtime_ns)
            yield from _content(path, root)
        elif entry.is_file():
            yield name, (path.read_bytes(), found.st_mtime_ns)


def replace_by(kind: Callable[[Path, Path], None], place: Path, victim: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    kind(place, victim)


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_written_through_what_is_not_the_runs_own(
    run: Path, victim: Path, place: str
) -> None:
    theirs = content(victim)
    whole = run.with_name("whole")
    shutil.copytree(run, whole)
    for kind in KINDS:
        shutil.rmtree(run)
        shutil.copytree(whole, run)
        replace_by(kind, run / place, victim)
        ours = content(run)
        for name, command in COMMANDS.items():
            with pytest.raises(InputError) as told:
                command(run)
            assert str(run / place) in str(told.value), name
            assert "only files and folders of its own" in str(told.value), name
            assert f"rm {run / place}" in str(told.value), name
            assert content(run) == ours, (name, kind)
            assert sorted(os.listdir(run.parent)) == sorted((run.name, "whole"))
        with suppress(InputError):  # it replaces a file as a whole
            set_note(run, "mine")
        assert not is_locked(run)
        assert content(victim) == theirs, kind


def test_only_what_a_killed_writer_left_is_tidied_away(run: Path, victim: Path) -> None:
    """Looks alone are not enough: in a folder of ours, too, something may be theirs."""
    folder = run / "checkpoints"
    shutil.copytree(victim, folder, dirs_exist_ok=True)
    before = content(folder)
    tidy_checkpoints(run)
    assert before.keys() - content(folder).keys() == {"/.latest.0123abcd.tmp"}
    for hidden in (".step-00000004.1.tmp", ".step-00000002.7.old"):
        (folder / hidden / "deep").rmdir()
    tidy_checkpoints(run)
    left = {path.name for path in folder.glob(".*")}
    assert left == {".cache", ".x.tmp", ".y.old"}


def test_a_checkpoint_that_holds_something_of_somebody_is_not_pruned(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(checkpoint__interval=1, checkpoint__history_mb=0))
    rig.to_step(session, 3)
    theirs = list_snapshots(session.files.path)[0] / "theirs.txt"
    theirs.write_text("mine")
    rig.to_step(session, 9)
    assert theirs.read_text() == "mine"
    assert len(list_snapshots(rig.close(session))) < 9


def test_a_folder_that_becomes_a_link_while_it_is_trained_pauses_the_run(
    rig: Rig, make_config: MakeConfig, victim: Path
) -> None:
    session = rig.new(make_config(checkpoint__interval=2))
    rig.to_step(session, 3)
    rig.until(session, lambda: not session.saving.busy)
    folder, theirs = session.files.path / "checkpoints", content(victim)
    replace_by(link_to_folder, folder, victim)
    rig.to_step(session, 4)
    rig.rest(session)
    (told,) = [one.message for one in rig.said(Warned)]
    assert told == (
        f"the checkpoint was not written, and training is paused: {folder} is a link to {victim}, "
        f"and a run has only files and folders of its own: replace it by one of those, or remove "
        f"it: rm {folder}"
    )
    assert content(victim) == theirs


@pytest.mark.parametrize(
    ("place", "kind", "way_out"),
    [
        ("run.db-wal", "pipe", "or remove it: rm "),
        ("run.db", "pipe", "or remove it: rm "),
        ("checkpoints", "noise", "remove {}, which is not what a run has there"),
        ("checkpoints/latest", "folder", "remove {}, which is not what a run has there"),
    ],
)
def test_what_is_put_in_a_files_place_while_it_is_trained_is_named_and_not_waited_for(
    rig: Rig, make_config: MakeConfig, place: str, kind: str, way_out: str
) -> None:
    session = rig.new(make_config(checkpoint__interval=2))
    rig.to_step(session, 3)
    rig.until(session, lambda: not session.saving.busy)
    Instead(place, kind).spoil(session.files.path)
    session.saving.begin()
    session.saving.collect(None)
    told = rig.said(Warned)[-1].message
    assert way_out.format(session.files.path / place) in told and "make room" not in told
    rig.crash(session)


# The trash and the copy


def test_a_linked_trash_is_neither_filled_nor_emptied(run: Path, tmp_path: Path) -> None:
    trashed = trash_run(run)
    runs_dir, elsewhere = run.parent, tmp_path / "elsewhere"
    (runs_dir / ".trash").rename(elsewhere)
    (runs_dir / ".trash").symlink_to(elsewhere)
    before = content(elsewhere)
    shutil.copytree(elsewhere / trashed.path.name, run)
    for act in (
        lambda: trash_run(run),
        lambda: restore_run(trashed, "again"),
        lambda: empty_trash(runs_dir),
        lambda: list_trash(runs_dir),
    ):
        with pytest.raises(InputError, match=r"\.trash is a link to .*: rm "):
            act()
    assert content(elsewhere) == before


def test_a_linked_queue_is_not_written_to(runs_dir: Path, tmp_path: Path) -> None:
    queue, elsewhere = Queue(runs_dir), tmp_path / "elsewhere"
    queue.add([Trial({}, Config())], "gpt-tui sweep")
    queue.path.parent.rename(elsewhere)
    queue.path.parent.symlink_to(elsewhere)
    before = content(elsewhere)
    for act in (queue.entries, queue.take, queue.clear):
        with pytest.raises(InputError, match=r"\.queue is a link to .*: rm "):
            act()
    assert content(elsewhere) == before


def test_a_hard_link_to_a_queue_keeps_its_content(runs_dir: Path, tmp_path: Path) -> None:
    queue, copy = Queue(runs_dir), tmp_path / "copy.db"
    queue.add([Trial({}, Config())], "gpt-tui sweep")
    copy.hardlink_to(queue.path)
    before = copy.read_bytes()
    queue.cancel(1)
    assert copy.read_bytes() == before
    assert [one.state for one in queue.entries()] == ["cancelled"]


def test_only_runs_are_deleted_from_the_trash(run: Path, tmp_path: Path) -> None:
    runs_dir = run.parent
    trashed = trash_run(run)
    trash = runs_dir / ".trash"
    stamp = trashed.path.name.removeprefix(run.name)
    (tmp_path / "theirs").mkdir()
    (trash / f"folder{stamp}").mkdir()
    (trash / f"file{stamp}").touch()
    (trash / f"link{stamp}").symlink_to(trashed.path)
    shutil.copytree(trashed.path, trash / "run-20261399-999999-000000")
    assert list_trash(runs_dir) == [trashed]
    assert empty_trash(runs_dir) == [trashed]
    assert len(os.listdir(trash)) == 4


def test_a_copy_follows_no_link_in_a_folder_that_is_not_ours(run: Path, victim: Path) -> None:
    (run / "mine/deeper").mkdir(parents=True)
    (run / "mine/deeper/secret").symlink_to(victim / "theirs.db")
    with pytest.raises(InputError, match="secret is a link to"):
        copy_run(run, run.with_name("copy"))
    RunLock(run).release()  # it is trained all the same
    assert list_runs(run.parent) == [run]


# Hard links


def test_a_copy_made_of_hard_links_leaves_the_original_as_it_is(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(checkpoint__interval=2))
    rig.to_step(session, 5)
    path = session.files.path
    (path / "log.txt").write_text("before")
    pin(list_snapshots(path)[0])
    rig.crash(session)
    copy = path.with_name("copy")
    shutil.copytree(path, copy, copy_function=os.link)  # as cp -al
    before = content(path)
    session = rig.open(copy, checkpoint__history_mb=1)
    pin(list_snapshots(copy)[0])
    rig.to_step(session, 15)
    set_note(rig.close(session), "mine")
    repair(copy, lambda told: None)
    assert content(path) == before
    with closing(open_run(path, SILENT)) as files:
        assert files.database.metric(0, "train_loss").steps[-1] <= 5
