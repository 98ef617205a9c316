"""What a program's streams are like: a terminal that obeys, an old encoding, or none at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Cli
from tests.engine.run_folders import write_run
from tui.terminal.stdout import harmless

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
    assert "\\x1b]0;mine\\x07" in shown
    assert "\x1b" not in shown


def test_nor_do_messages(cli: Cli, tmp_path: Path) -> None:
    told = cli("train", "--preset", "tiny", "--data", f"{tmp_path}/{RED}none.txt").err
    assert "\\x1b[31mnone.txt" in told
    assert "\x1b" not in told


def test_lines_tabs_and_letters_stay() -> None:
    assert harmless("ä\tb\nc") == "ä\tb\nc"
    assert harmless(TITLE + "\r\x9b") == "\\x1b]0;mine\\x07\\x0d\\x9b"


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
