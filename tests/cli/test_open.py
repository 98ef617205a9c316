"""What the command line hands to the app."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import tui.app
from tests.cli.conftest import Cli
from tui.control.run import Launch


class Terminal:
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[Launch]:
    """What the app, which stays closed, was launched with."""
    seen: list[Launch] = []

    def run_app(launch: Launch) -> int:
        seen.append(launch)
        return 130

    monkeypatch.setattr(tui.app, "run_app", run_app)
    monkeypatch.setattr("tui.commands.app.has_terminal", lambda: True)
    return seen


def test_a_new_run(cli: Cli, launches: list[Launch], tmp_path: Path) -> None:
    answer = cli("--preset", "tiny", "--set", "train.max_steps=7", "--runs-dir", tmp_path / "r",
                 "--name", "mine")  # fmt: skip
    assert answer.code == 130  # the app's own
    (launch,) = launches
    assert launch.config.preset == "tiny"
    assert launch.config.train.max_steps == 7
    assert (launch.runs_dir, launch.name, launch.run) == (tmp_path / "r", "mine", None)
    assert launch.command_line.startswith("gpt-tui --preset tiny --set train.max_steps=7")


@pytest.mark.parametrize("words", [("open", "tiny-1"), ("tiny-1",)])
def test_an_existing_run(
    quick_train: Cli, cli: Cli, launches: list[Launch], runs_dir: Path, words: tuple[str, ...]
) -> None:
    quick_train()
    cli(*words)
    assert launches[0].run == runs_dir / "tiny-1"
    assert launches[0].config.train.max_steps == 6
    assert launches[0].runs_dir == runs_dir


def test_a_run_takes_no_options_of_a_new_one(
    quick_train: Cli, cli: Cli, launches: list[Launch]
) -> None:
    quick_train()
    problem = cli("tiny-1", "--set", "train.max_steps=7").problem
    assert problem.startswith("--set cannot go with the existing run 'tiny-1'")
    assert not launches


def test_bad_options_are_refused_before_the_app_opens(cli: Cli, launches: list[Launch]) -> None:
    assert "did you mean 'tiny'?" in cli("--preset", "tinny").problem
    assert not launches


def test_open_without_a_run_is_refused(cli: Cli, launches: list[Launch]) -> None:
    assert cli("open").problem.startswith("the following arguments are required: RUN")
    assert not launches


def test_no_terminal_if_one_end_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from tui.commands.app import has_terminal

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert has_terminal()
    monkeypatch.setattr(sys, "stdin", None)
    assert not has_terminal()


@pytest.mark.parametrize("term", ["", "dumb"])
def test_a_terminal_that_moves_no_cursor_is_refused(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, term: str
) -> None:
    monkeypatch.setattr("tui.commands.app.has_terminal", lambda: True)
    monkeypatch.setenv("TERM", term)
    problem = cli().problem
    assert problem.startswith("the app cannot be drawn with TERM=")
    assert " train', or name the terminal" in problem
