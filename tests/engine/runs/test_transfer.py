"""Runs renamed, deleted, brought back and copied."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from data.errors import InputError
from engine.runs import transfer
from engine.runs.database import RunDatabase
from engine.runs.folder import RunLock, list_runs
from engine.runs.notes import read_notes, set_note
from engine.runs.summary import read_summary
from engine.runs.transfer import (
    copy_run,
    empty_trash,
    find_trashed,
    list_trash,
    rename_run,
    restore_run,
    trash_run,
)
from tests.engine.run_folders import SUMMARY, write_run


def files(folder: Path) -> dict[str, bytes]:
    """Everything in a folder but the lock, whose presence says nothing."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_a_deleted_run_comes_back_as_it_was(runs_dir: Path) -> None:
    run = write_run(runs_dir, "first", steps=50)
    before = files(run)
    trashed = trash_run(run)
    assert list_runs(runs_dir) == []
    assert list_trash(runs_dir) == [trashed]
    assert trashed.name == "first"
    assert restore_run(find_trashed("first", runs_dir)) == run
    assert files(run) == before
    assert list_trash(runs_dir) == []


def test_of_several_deleted_runs_of_a_name_the_latest_comes_back(runs_dir: Path) -> None:
    for device in ("cpu", "cuda"):
        trash_run(write_run(runs_dir, "first", device=device))
    assert read_summary(restore_run(find_trashed("first", runs_dir))).device == "cuda"
    with pytest.raises(InputError, match="there is already a run 'first'"):
        restore_run(find_trashed("first", runs_dir))
    older = restore_run(find_trashed("first", runs_dir), "second")
    assert read_summary(older).device == "cpu"


def test_a_run_that_is_not_in_the_trash(runs_dir: Path) -> None:
    with pytest.raises(InputError, match="it is empty"):
        find_trashed("first", runs_dir)
    trashed = trash_run(write_run(runs_dir, "first"))
    with pytest.raises(InputError, match="there are first"):
        find_trashed("second", runs_dir)
    (runs_dir / ".trash/something-else").mkdir()  # not ours to touch
    assert empty_trash(runs_dir) == [trashed]
    assert os.listdir(runs_dir / ".trash") == ["something-else"]
    with pytest.raises(InputError, match="no longer in the trash"):
        restore_run(trashed)


def test_a_run_in_training_is_neither_deleted_nor_renamed(runs_dir: Path) -> None:
    run = write_run(runs_dir, "first")
    lock = RunLock(run)
    for attempt in (lambda: trash_run(run), lambda: rename_run(run, "second")):
        with pytest.raises(InputError, match="is being trained by another program"):
            attempt()
    lock.release()
    assert list_runs(runs_dir) == [run]
    assert read_notes(run).formerly == ()


def test_a_renamed_run_remembers_its_names(runs_dir: Path) -> None:
    run = write_run(runs_dir, "first")
    set_note(run, "mine")
    again = rename_run(rename_run(run, "second"), "third")
    assert read_summary(again).name == "third"
    assert read_summary(again).formerly == ("first", "second")
    assert read_summary(again).note == "mine"
    assert rename_run(again, "third") == again


@pytest.mark.parametrize("name", ["", "a/b", ".hidden", "two words", "taken", "file"])
def test_names_that_cannot_be(runs_dir: Path, name: str) -> None:
    run = write_run(runs_dir, "first")
    write_run(runs_dir, "taken")
    (runs_dir / "file").touch()
    before = files(runs_dir)
    with pytest.raises(InputError, match=r"cannot name a run|there is already"):
        rename_run(run, name)
    assert files(runs_dir) == before


def test_a_copy_has_all_there_is(runs_dir: Path, tmp_path: Path) -> None:
    run = write_run(runs_dir, "first", steps=2000)
    (run / "log.txt").write_text("a word")
    set_note(run, "mine")
    copy = copy_run(run, tmp_path / "far/away")
    ours, theirs = files(copy), files(run)
    assert ours.keys() == theirs.keys()
    assert all(ours[name] == theirs[name] for name in ours if name != "run.db")
    database = RunDatabase(copy / "run.db", read_only=True)
    assert len(database.metric(0, "train_loss")[0]) == 2000
    database.close()
    assert read_summary(copy).note == "mine"
    assert copy_run(run, tmp_path / "far") == tmp_path / "far/first"


def test_a_run_is_copied_while_it_is_trained(runs_dir: Path, tmp_path: Path) -> None:
    run = write_run(runs_dir, "first", steps=10)
    lock, database = RunLock(run), RunDatabase(run / "run.db")
    database.add_metrics(0, [("train_loss", 11, 0.5)])
    database.set_meta(summary=SUMMARY | {"state": "training", "step": 11})
    copy = copy_run(run, tmp_path / "copy")
    database.add_metrics(0, [("train_loss", 12, 0.25)])
    database.close()
    lock.release()
    summary = read_summary(copy)
    assert (summary.step, summary.live, summary.state) == (11, False, "interrupted")
    assert not list(copy.glob("run.db-*"))


def test_checkpoints_on_the_same_disk_are_shared(runs_dir: Path, tmp_path: Path) -> None:
    run = write_run(runs_dir, "first")
    copy = copy_run(run, tmp_path / "copy")
    weights = "checkpoints/step-00001000/model.safetensors"
    assert (copy / weights).samefile(run / weights)


def test_checkpoints_on_another_disk_are_copied(
    runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another_disk(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    run = write_run(runs_dir, "first")
    monkeypatch.setattr(os, "link", another_disk)
    copy = copy_run(run, tmp_path / "copy")
    assert files(copy).keys() == files(run).keys()


def test_a_checkpoint_that_is_dropped_meanwhile_is_no_hole(
    runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(runs_dir, "first")
    old, new = run / "checkpoints/step-00001000", run / "checkpoints/step-00002000"
    link = os.link

    def trained_meanwhile(source: Path, target: Path) -> None:
        if not new.exists():
            shutil.copytree(old, new)
            (run / "checkpoints/latest").write_text("step-00002000\n")
            shutil.rmtree(old)
        link(source, target)

    monkeypatch.setattr(os, "link", trained_meanwhile)
    copy = copy_run(run, tmp_path / "copy")
    assert (copy / "checkpoints/latest").read_text() == "step-00002000\n"
    assert [path.name for path in (copy / "checkpoints").glob("step-*")] == ["step-00002000"]


@pytest.mark.parametrize("pointer", [b"\xff", b"", b"step-00009999\n", b"../..\n", b"x" * 9999])
def test_a_pointer_to_no_checkpoint_is_not_copied(
    runs_dir: Path, tmp_path: Path, pointer: bytes
) -> None:
    run = write_run(runs_dir, "first")
    for name in ("best", "latest"):
        (run / "checkpoints" / name).write_bytes(pointer)
    copy = copy_run(run, tmp_path / "copy")
    assert os.listdir(copy / "checkpoints") == ["step-00001000"]


def test_a_copy_that_fails_leaves_nothing_behind(
    runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    run = write_run(runs_dir, "first")
    monkeypatch.setattr(RunDatabase, "copy_to", full)
    with pytest.raises(InputError, match="disk is full"):
        copy_run(run, tmp_path / "to/copy")
    assert list((tmp_path / "to").iterdir()) == []


def test_places_that_a_copy_cannot_go_to(runs_dir: Path, tmp_path: Path) -> None:
    run = write_run(runs_dir, "first")
    with pytest.raises(InputError, match="into itself"):
        copy_run(run, run / "inside")
    place = copy_run(write_run(runs_dir, "second"), tmp_path / "place")
    with pytest.raises(InputError, match="there is already a run 'place'"):
        copy_run(run, place)  # and not into the folder of another run
    with pytest.raises(InputError, match="there is already a run 'first'"):
        copy_run(run, runs_dir)
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file/deeper"):
        with pytest.raises(InputError, match="choose another folder"):
            copy_run(run, place)
    assert transfer.copy_run(run, tmp_path / "good").is_dir()


@pytest.mark.parametrize(
    "name", ["Übung", "my run", "-x", "a\nb", "x" * 240, "ü" * 120, os.fsdecode(b"\xe9" * 255)]
)
def test_a_folder_with_any_name_comes_back_from_the_trash(runs_dir: Path, name: str) -> None:
    write_run(runs_dir, "first").rename(runs_dir / name)
    trash_run(runs_dir / name)
    assert restore_run(find_trashed(f"./{name}", runs_dir)) == runs_dir / name
    trash_run(runs_dir / name)
    assert [one.name for one in empty_trash(runs_dir)] == [name]
    assert os.listdir(runs_dir / ".trash") == []
