"""A run whose text was moved goes on where ``--data`` says the text is now."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import pytest

from engine.runs.database import RunDatabase
from tests.cli.conftest import Cli
from tests.engine.run_folders import forget_prepared_texts

LONGER = ("--set", "train.max_steps=8")


@pytest.fixture
def moved(quick_train: Cli, text: Path, tmp_path: Path) -> Path:
    """The text of the run tiny-1, which is elsewhere now."""
    quick_train()
    forget_prepared_texts()
    return text.rename(tmp_path / "it's here.txt")


def test_the_hint_names_the_command_that_goes_on_and_the_run_remembers(
    cli: Cli, moved: Path, text: Path, runs_dir: Path
) -> None:
    problem = cli("train", "--resume", "tiny-1", *LONGER).problem
    assert problem == (
        f"the text rhyme.txt that the run 'tiny-1' is trained on was not found (there is no file "
        f"{text}): put it back, or name where it is: gpt-tui train --resume tiny-1 --data PATH "
        "--set train.max_steps=8"
    )
    command = problem.rpartition("gpt-tui ")[2].split()
    typed = [str(moved) if word == "PATH" else word for word in command]
    assert cli(*typed, "--json").json["steps"] == 8
    assert cli("train", "--resume", "tiny-1", "--set", "train.max_steps=9").code == 0
    with closing(RunDatabase(runs_dir / "tiny-1/run.db", read_only=True)) as database:
        (entry,) = database.journal("text moved")
        assert entry["detail"] == {"before": str(text), "now": str(moved)}
    fork = cli("fork", "tiny-1", "--at", "4", "--json").json["run"]
    assert cli("train", "--resume", fork, "--json").json["steps"] == 6
    assert cli("verify", "tiny-1", "--replay").code == 0


def test_a_fork_and_a_replay_take_the_place_for_themselves(
    cli: Cli, moved: Path, tmp_path: Path
) -> None:
    assert "gpt-tui train --resume tiny-1 --data PATH" in cli("fork", "tiny-1", "--at", "4").err
    cli("fork", "tiny-1", "--at", "3", "--data", moved, "--name", "child")
    assert cli("train", "--resume", "child").code == 0
    replayed = cli("verify", "tiny-1", "--replay", "--data", moved)
    assert replayed.code == 0 and "the same bits" in replayed.out


def test_another_text_is_refused(cli: Cli, moved: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("another text altogether, and rather long. " * 50)
    for command in (("train", "--resume", "tiny-1"), ("fork", "tiny-1")):
        answer = cli(*command, "--data", other)
        assert answer.code == 2
        assert f"({other} is another text: its hash differs)" in answer.err
    assert "there is no file no.txt" in cli("fork", "tiny-1", "--data", "no.txt").err


def test_what_needs_no_text_works_without_it(cli: Cli, moved: Path, tmp_path: Path) -> None:
    moved.unlink()
    for command in (
        ("sample", "tiny-1"),
        ("model", "--run", "tiny-1", "--trace", "fish"),
        ("runs", "export", "tiny-1", "-o", str(tmp_path / "curves.csv")),
        ("runs", "show", "tiny-1"),
        ("verify", "tiny-1"),
        ("runs", "copy", "tiny-1", str(tmp_path / "copy")),
    ):
        answer = cli(*command)
        assert answer.code == 0, (command, answer)
    assert re.search(r"step\s+6", cli("runs", "show", "tiny-1").out)


def test_a_validation_text_that_was_moved_is_named_in_the_same_way(
    quick_train: Cli, cli: Cli, text: Path, tmp_path: Path, runs_dir: Path
) -> None:
    own = tmp_path / "own.txt"
    own.write_text(text.read_text()[:600])
    quick_train("--val", own)
    moved = own.rename(tmp_path / "moved.txt")
    forget_prepared_texts()
    told = cli("fork", "tiny-1", "--at", "3", "--name", "child").err
    assert "own.txt that the run 'tiny-1' is validated on was not found" in told
    cli("fork", "tiny-1", "--at", "3", "--name", "child", "--val", moved)
    forget_prepared_texts()
    assert cli("train", "--resume", "child").code == 0  # which knows where it is
    forget_prepared_texts()
    text_now = text.rename(tmp_path / "text.txt")
    assert cli("verify", "tiny-1", "--val", moved).problem.startswith("--val is for --replay")
    told = cli("fork", "tiny-1", "--val", moved).err
    assert f"--val {moved} --data PATH" in told  # the other text has moved, too
    now = ("--val", moved, "--data", text_now)
    assert "the same bits" in cli("verify", "tiny-1", "--replay", *now).out
    assert "needs a terminal" in cli("tiny-1", "--data", text_now, "--val", moved).problem
