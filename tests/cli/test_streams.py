"""What a program's streams are like: a terminal that obeys, an old encoding, or none at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Cli
from tests.engine.run_folders import write_run
from tui.terminal.visible import visible, visible_line
from tui.text.tables import format_columns

PROGRAM = [sys.executable, "-m", "tui"]
TITLE, RED = "\x1b]0;mine\x07", "\x1b[31m"


@pytest.fixture
def hostile(runs_dir: Path) -> Path:
    run = write_run(runs_dir, "hostile")
    (run / "notes.toml").write_text('tags = ["a\\u001b]0;mine\\u0007b"]\nnote = "\\u001b[31mred"\n')
    return run


@pytest.mark.parametrize("command", ["runs", "runs show hostile", "runs tag hostile"])
def test_what_a_stranger_wrote_does_not_act_on_the_terminal(hostile: Path, command: str) -> None:
    terminal, ours = os.openpty()
    words = [*PROGRAM, *command.split(), "--runs-dir", str(hostile.parent)]
    subprocess.run(words, cwd=ROOT, stdout=ours, stderr=ours, check=True, timeout=60)
    os.close(ours)
    shown = os.read(terminal, 100_000).decode()
    os.close(terminal)
    assert "␛]0;mine␇" in shown
    assert "\x1b" not in shown


def test_nor_do_messages(cli: Cli, tmp_path: Path) -> None:
    told = cli("train", "--preset", "tiny", "--data", f"{tmp_path}/{RED}none.txt").err
    assert "\\x1b[31mnone.txt" in told  # as a shell takes it
    assert "\x1b" not in told


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("ä\tb\nc\xa0漢\u0301", "ä\tb\nc\xa0漢\u0301"),  # lines, tabs, letters and marks stay
        (TITLE + "\r\0\x7f", "␛]0;mine␇␍␀␡"),
        ("\x9b31m\x85", "\ufffd31m\ufffd"),  # C1
        ("a\u202eb\u2066c\u200f\u061c\u2028", "a\ufffdb\ufffdc\ufffd\ufffd\ufffd"),  # direction
        (os.fsdecode(b"caf\xe9"), "caf\ufffd"),  # a path that is not UTF-8
    ],
)
def test_each_control_character_is_shown_as_one_character(written: str, shown: str) -> None:
    assert visible(written) == shown
    assert visible_line(written) == shown.replace("\t", "␉").replace("\n", "␊")
    assert len(written) == len(shown)


def test_columns_are_aligned_by_what_a_terminal_shows() -> None:
    table = format_columns([["漢字", "1"], ["e\u0301", "2"], ["\u202eab", "3"]])
    assert table.splitlines() == ["漢字  1", "e\u0301     2", "\u202eab   3"]


def test_an_encoding_that_lacks_a_sign_gets_a_question_mark(hostile: Path) -> None:
    words = [*PROGRAM, "runs", "show", "hostile", "--runs-dir", str(hostile.parent)]
    old = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(words, cwd=ROOT, env=old, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"hostile" in done.stdout


def test_without_a_standard_error_nothing_slips_into_the_output(runs_dir: Path) -> None:
    closed = f"{sys.executable} -m tui runs show nosuch --runs-dir {runs_dir} 2>&-"
    done = subprocess.run(closed, shell=True, cwd=ROOT, stdout=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stdout) == (2, b"")


def test_a_name_with_a_line_end_is_shown_on_one_line(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPT_TUI_RUNS", str(tmp_path / "a\nb"))
    write_run(tmp_path / "a\nb", "first").rename(tmp_path / "a\nb/c\nd")
    assert "c\\nd" in cli("runs").out
    assert cli("runs", "show", "c\nd").out.endswith(f" {tmp_path}/a\\nb/c\\nd\n")
    for command in (["sample", "c\nd"], ["sample", "e\nf"], ["train", "--data", "g\nh"]):
        problem = cli(*command).problem  # of one line
        assert "\\n" in problem or "\\x0a" in problem
