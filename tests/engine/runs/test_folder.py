"""The run folder: named, found, locked, and never left half-made."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from data.errors import InputError
from engine.config.schema import Config, read_config
from engine.runs import folder
from engine.runs.folder import (
    RunLock,
    check_name,
    check_own_run,
    create_run,
    default_runs_dir,
    find_own_run,
    find_run,
    is_locked,
    is_run,
    list_runs,
)
from engine.runs.open import open_run
from tests.engine.conftest import SILENT, MakeConfig, Rig
from tests.engine.run_folders import forget_prepared_texts, write_run


def test_runs_go_where_the_environment_says(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert default_runs_dir() == runs_dir
    monkeypatch.delenv("GPT_TUI_RUNS")
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    assert default_runs_dir().parts[-2:] == ("gpt-tui", "runs")


def test_a_run_without_a_name_takes_its_presets_and_the_next_number(runs_dir: Path) -> None:
    named = [create_run(Config(preset=preset), runs_dir).name for preset in ("tiny", "tiny", "")]
    assert named == ["tiny-1", "tiny-2", "run-1"]


def test_a_preset_from_a_file_cannot_lead_out_of_the_runs_folder(runs_dir: Path) -> None:
    path = create_run(Config(preset="../../elsewhere"), runs_dir)
    assert path.parent == runs_dir.resolve()


def test_a_new_runs_config_is_what_was_asked_for(runs_dir: Path) -> None:
    config = Config(preset="x").replace({"train.seed": 5, "sample.prompt": 'a "quoted"\n☃\t'})
    assert read_config(create_run(config, runs_dir, "mine") / "config.toml") == config


def test_a_name_that_is_taken_hints_at_resume(runs_dir: Path) -> None:
    create_run(Config(), runs_dir, "mine")
    with pytest.raises(InputError, match="gpt-tui train --resume mine"):
        create_run(Config(), runs_dir, "mine")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-a", "a b", "é", "a" * 101, "a\n"])
def test_a_name_that_is_none_for_a_folder_is_refused(runs_dir: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot name a run"):
        check_name(name, runs_dir)


def test_a_runs_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose another with --runs-dir"):
        create_run(Config(), tmp_path / "file" / "runs")


def test_a_run_whose_config_cannot_be_written_leaves_no_folder(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, "write_atomically", full)
    with pytest.raises(InputError, match="No space left"):
        create_run(Config(), runs_dir, "mine")
    assert list(runs_dir.iterdir()) == []


def test_a_run_is_found_by_name_and_by_path(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = create_run(Config(), runs_dir, "mine")
    monkeypatch.chdir(runs_dir)
    for run in ("mine", str(path), "./mine"):
        assert find_run(run) == path
    assert list_runs(runs_dir) == [runs_dir / "mine"]


def test_a_run_that_is_not_there_names_the_nearest(runs_dir: Path) -> None:
    with pytest.raises(InputError, match=r"gpt-tui runs lists what is there"):
        find_run("mine")
    create_run(Config(), runs_dir, "shakespeare")
    with pytest.raises(InputError, match="did you mean 'shakespeare'"):
        find_run("shakespear")


# What a run is


def another_database(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "run.db")) as db:
        db.execute("CREATE TABLE runs (id)")


def pipes(folder: Path) -> None:
    for name in ("config.toml", "run.db", "lock"):
        os.mkfifo(folder / name)


def links_of(folder: Path) -> None:
    for name in ("config.toml", "run.db", "checkpoints"):
        (folder / name).symlink_to(folder.parent / "mine" / name)


NOT_RUNS: dict[str, Callable[[Path], object]] = {
    "empty": lambda folder: None,
    "another program's settings": lambda folder: (folder / "config.toml").write_text("[model]\n"),
    "another program's database": another_database,
    "a database of no known format": lambda folder: (folder / "run.db").write_bytes(b"\0" * 100),
    "another program's checkpoints": lambda folder: (
        folder / "checkpoints/step-00000001/manifest.json"
    ).mkdir(parents=True),
    "pipes": pipes,
    "links to a run's files": lambda folder: links_of(folder),
    "a huge file": lambda folder: os.truncate(
        os.open(folder / "config.toml", os.O_CREAT | os.O_WRONLY), 2**40
    ),
}


@pytest.mark.parametrize("kind", NOT_RUNS)
def test_a_folder_that_only_looks_like_a_run_is_none(runs_dir: Path, kind: str) -> None:
    write_run(runs_dir, "mine")
    other = runs_dir / "other"
    other.mkdir()
    NOT_RUNS[kind](other)
    assert list_runs(runs_dir) == [runs_dir / "mine"]
    assert not is_locked(other)
    with pytest.raises(InputError, match="there is no run 'other'"):
        find_run("other")


def test_a_run_is_one_as_long_as_one_of_its_parts_says_so(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config())
    rig.to_step(session, 2)
    path = rig.close(session)
    for gone in ("run.db", "config.toml"):
        (path / gone).write_bytes(b"damaged")
        assert is_run(path)
    (path / "run.db").unlink()
    assert is_run(path)
    shutil.rmtree(path / "checkpoints")
    assert not is_run(path)


@pytest.mark.parametrize("name", ["\0", "a" * 300, "a/" * 3000, "loop", "file", "", "~nobody-here"])
def test_a_path_that_cannot_be_is_no_run(runs_dir: Path, name: str) -> None:
    runs_dir.mkdir()
    (runs_dir / "loop").symlink_to("loop")
    (runs_dir / "file").touch()
    assert not is_run(runs_dir / name)
    assert not is_locked(runs_dir / name)
    assert list_runs(runs_dir / name) == []
    with pytest.raises(InputError, match=r"there is no run|cannot be used"):
        find_run(name)


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ELOOP, errno.EACCES])
def test_a_file_system_that_fails_does_not_end_a_list(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    for name in ("mine", "lost+found"):
        (runs_dir / name).mkdir(parents=True)

    def failing(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", failing)
    # what may not be looked into can be a run, and its row says why it cannot be read
    assert list_runs(runs_dir) == [runs_dir / "mine"] * (code == errno.EACCES)
    assert not is_locked(runs_dir / "mine")
    monkeypatch.setattr(os, "listdir", failing)
    assert list_runs(runs_dir) == []


def test_a_link_to_a_run_is_read_and_not_moved(runs_dir: Path, tmp_path: Path) -> None:
    path = write_run(tmp_path / "elsewhere", "mine")
    runs_dir.mkdir()
    (runs_dir / "linked").symlink_to(path)
    assert list_runs(runs_dir) == [runs_dir / "linked"]
    assert find_run("linked") == find_own_run(str(path)) == path
    for move in (lambda: find_own_run("linked"), lambda: check_own_run(path, runs_dir)):
        with pytest.raises(InputError, match=rf"linked is a link to the run {path}: .*: rm "):
            move()
    check_own_run(path, path.parent)


# The lock


def test_a_second_program_is_kept_out_until_the_first_ends(runs_dir: Path) -> None:
    run = create_run(Config(), runs_dir, "mine")
    code = (
        "import sys; from pathlib import Path; from engine.runs.folder import RunLock\n"
        "lock = RunLock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    assert not is_locked(run)
    with subprocess.Popen(
        [sys.executable, "-c", code, str(run)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        assert is_locked(run)
        with pytest.raises(InputError, match="'mine' is being trained by another program"):
            RunLock(run)
        other.kill()
        other.wait()
    assert not is_locked(run)
    RunLock(run).release()


def test_whoever_only_looks_does_not_keep_a_writer_out(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    run = create_run(Config(), runs_dir, "mine")
    (run / "lock").touch()
    looker = open(run / "lock")  # noqa: SIM115
    fcntl.flock(looker, fcntl.LOCK_SH)
    monkeypatch.setattr(time, "sleep", lambda seconds: looker.close())
    RunLock(run).release()


def test_a_released_lock_can_be_taken_again(runs_dir: Path) -> None:
    run = create_run(Config(), runs_dir, "mine")
    lock = RunLock(run)
    assert is_locked(run)
    lock.release()
    RunLock(run).release()


# Opening


def test_a_run_whose_text_has_changed_is_refused_and_set_free(
    rig: Rig, make_config: MakeConfig, small_text: str, tmp_path: Path
) -> None:
    text = tmp_path / "mine.txt"
    text.write_text(small_text)
    path = rig.close(rig.new(make_config(data__corpus=str(text)), running=False))
    text.write_text(small_text + "more")
    forget_prepared_texts()
    with pytest.raises(InputError, match=r"mine\.txt is another text: its hash differs"):
        rig.open(path)
    assert not is_locked(path)
    text.write_text(small_text)
    rig.open(path, running=False)


def test_a_run_finds_its_text_in_the_cache_wherever_its_file_is(
    rig: Rig, make_config: MakeConfig, small_text: str, tmp_path: Path
) -> None:
    text = tmp_path / "mine.txt"
    text.write_text(small_text)
    path = rig.close(rig.new(make_config(data__corpus=str(text)), running=False))
    text.unlink()
    session = rig.open(path, running=False)
    assert session.files.corpus.name == "mine.txt"
    assert len(session.trainer.split.train) == int(0.9 * len(small_text))


def test_a_text_given_by_a_relative_path_is_found_from_anywhere(
    rig: Rig,
    make_config: MakeConfig,
    small_text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "mine.txt").write_text(small_text)
    monkeypatch.chdir(tmp_path / "here")
    path = rig.close(rig.new(make_config(data__corpus="mine.txt"), running=False))
    monkeypatch.chdir(tmp_path)
    rig.open(path, running=False)


@pytest.mark.parametrize("left", [["config.toml"], ["config.toml", "lock"]])
def test_a_run_killed_while_it_was_made_opens_as_a_new_one(
    rig: Rig, make_config: MakeConfig, left: list[str]
) -> None:
    path = rig.crash(rig.new(make_config(), running=False))
    for one in path.iterdir():
        if one.name not in left and one.is_file():
            one.unlink()
    session = rig.open(path)
    rig.to_step(session, 2)
    assert session.files.database.meta()["corpus"]["characters"] == 20_000


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_run_that_cannot_be_written_is_one_sentence(runs_dir: Path) -> None:
    run = create_run(Config(), runs_dir, "mine")
    run.chmod(0o555)
    with pytest.raises(InputError, match="cannot be written"):
        open_run(run, SILENT)
    run.chmod(0o755)
