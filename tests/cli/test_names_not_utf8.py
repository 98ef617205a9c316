"""A folder whose name is not UTF-8 holds runs like any other; a text of such a name is refused."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.engine.run_folders import write_run

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="Linux alone has it")
ENTRIES = ("--set", "train.max_steps=3", "--set", "eval.interval=3", "--set", "eval.batches=1")


@pytest.fixture
def runs_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / os.fsdecode(b"caf\xe9") / "runs"
    monkeypatch.setenv("GPT_TUI_RUNS", str(folder))
    monkeypatch.setenv("GPT_TUI_CACHE", str(tmp_path / "cache"))
    return folder


def test_a_run_in_it_is_trained_read_and_moved(
    quick_train: Cli, cli: Cli, runs_dir: Path, text: Path
) -> None:
    trained = quick_train("--runs-dir", runs_dir)
    assert trained.code == 0
    assert trained.json["run"] == str(runs_dir / "tiny-1")
    assert "caf\\xe9/runs/tiny-1" in trained.err
    for command in (
        *("verify tiny-1", "sample tiny-1 --max-tokens 2", "fork tiny-1 --at 3"),
        *(
            "train --resume tiny-1 --set train.max_steps=7",
            "runs show tiny-1",
            "runs rename tiny-1 b",
        ),
        *("runs rm b", "runs restore b", "runs diff b tiny-1-fork-1", "runs copy b @"),
    ):
        answer = cli(*command.replace("@", str(runs_dir.parent / "c")).split())
        assert answer.code == 0, (command, answer)
    (listed,) = [run for run in cli("runs", "--json").json if run["name"] == "b"]
    assert listed["run"] == str(runs_dir / "b")
    assert listed["problem"] == ""


def test_a_sweep_in_it_measures_once_and_records_its_problems(
    cli: Cli, runs_dir: Path, text: Path
) -> None:
    words = ("--preset", "tiny", "--data", text, *ENTRIES)
    assert cli("sweep", "optim.learning_rate=1e-3,1e-2", "--name", "s", *words).code == 0
    text.unlink()
    assert cli("sweep", "model.n_layer=1,2", "--name", "t", *words).code == 2
    assert [entry["state"] for entry in cli("queue", "--json").json] == ["done", "done"]


@pytest.mark.parametrize("option", ["--data @", "--set data.corpus=@"])
def test_a_text_of_such_a_name_is_refused_with_a_way_to_rename_it(
    cli: Cli, text: Path, option: str
) -> None:
    odd = text.with_name(os.fsdecode(b"\xe9 text.txt"))
    text.rename(odd)
    arguments = [word.replace("@", str(odd)) for word in shlex.split(option)]
    problem = cli("train", *arguments).problem
    assert "(its name is not UTF-8): rename it with mv -n -- $'" in problem
    subprocess.run(["bash", "-c", problem.partition("with ")[2]], check=True)
    assert (text.parent / "_ text.txt").is_file()


def test_so_is_a_text_in_such_a_folder_that_is_the_current_one(
    quick_train: Cli, cli: Cli, runs_dir: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = runs_dir.parent
    here.mkdir()
    text.rename(here / "text.txt")
    monkeypatch.chdir(here)
    sweep = ("sweep", "model.n_layer=1,2", "--queue-only", "--preset", "tiny")
    for command in (("train", "--preset", "tiny"), sweep):
        problem = cli(*command, "--data", "text.txt").problem
        assert problem.startswith(
            f"{here.parent}/caf\\xe9/text.txt cannot be used (its name is not"
        )


def test_a_note_that_is_not_utf8_is_refused(cli: Cli, runs_dir: Path) -> None:
    write_run(runs_dir, "a")
    assert "a note is text in UTF-8" in cli("runs", "note", "a", os.fsdecode(b"caf\xe9")).problem
    assert cli("runs", "note", "a").out == "no note\n"
