"""Where standard output cannot be written: one sentence, exit code 1, and nothing else lost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from engine.runs.summary import read_summary
from tests.cli.conftest import ROOT, Answer, Cli, train_command
from tests.engine.run_folders import write_run
from tui.cli import main

FULL = Path("/dev/full")
SENTENCE = (
    "gpt-tui: the output cannot be written (No space left on device): make room, or send it "
    "elsewhere\n"
)

OF_A_RUN = (
    *("sample tiny-1", "sample tiny-1 --json", "sample tiny-1 --num-samples 2"),
    *("runs show tiny-1", "runs export tiny-1", "runs tag tiny-1 good"),
    *("plot tiny-1", "plot tiny-1 tiny-1", "model --run tiny-1"),
    *("verify tiny-1", "fork tiny-1 --at 3", "runs diff tiny-1 tiny-1-fork-1"),
)

pytestmark = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
Run = Callable[..., Answer]


@pytest.fixture
def on_a_full_disk(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """Calls a command whose standard output is a file on a full disk."""
    with FULL.open("w") as full:

        def call(*arguments: str | Path) -> Answer:
            capfd.readouterr()
            with monkeypatch.context() as patch:
                patch.setattr(sys, "stdout", os.fdopen(os.dup(full.fileno()), "w"))
                code = main([str(argument) for argument in arguments])
                sys.stdout.close()  # which writes what is still buffered, if it was not let go
            return Answer(code, *capfd.readouterr())

        yield call


@pytest.mark.parametrize(
    "command",
    ["runs", "runs --json", "presets", "presets --json", "settings", "settings --markdown",
     "queue", "queue --json", "model tiny --vocab-size 65", "runs trash", "keys", "keys --markdown",
     "preferences", "preferences path"],
)  # fmt: skip
def test_it_is_told(on_a_full_disk: Run, command: str) -> None:
    answer = on_a_full_disk(*command.split())
    assert (answer.code, answer.out, answer.err) == (1, "", SENTENCE)


def test_what_is_printed_of_a_run_is_told_to_be_lost_and_the_run_is_there(
    on_a_full_disk: Run, text: Path, runs_dir: Path
) -> None:
    answer = on_a_full_disk(*train_command(text))
    assert answer.code == 1
    assert answer.err.endswith(SENTENCE)
    assert read_summary(runs_dir / "tiny-1").state == "finished"
    for command in OF_A_RUN:
        answer = on_a_full_disk(*command.split())
        assert (answer.code, answer.err.endswith(SENTENCE)) == (1, True), command
        assert "Traceback" not in answer.err
    assert (runs_dir / "tiny-1-fork-1").is_dir()


def test_a_table_that_is_longer_than_the_buffer_is_told_to_be_lost(
    on_a_full_disk: Run, runs_dir: Path
) -> None:
    write_run(runs_dir, "long", steps=3000)
    for form in ("csv", "jsonl"):
        answer = on_a_full_disk("runs", "export", "long", "--to", form)
        assert (answer.code, answer.out, answer.err) == (1, "", SENTENCE)


def test_a_page_on_the_ladder_is_written_all_the_same(
    on_a_full_disk: Run, text: Path, tmp_path: Path
) -> None:
    page = tmp_path / "ladder.md"
    words = ("ladder", "bigram", "--data", text, "--steps", "2", "--write", page)
    small = ("--set", "system.threads=1", "--set", "eval.batches=1")
    assert on_a_full_disk(*words, *small).code == 1
    assert "bigram" in page.read_text()


@pytest.mark.parametrize("command", ["settings", "--help", "train --help", "--version"])
def test_nothing_else_is_heard_from_the_program(command: str) -> None:
    """The interpreter, too, tries at its end to write what is left."""
    assert _ended(command, subprocess.PIPE) == (1, SENTENCE)


def test_it_ends_as_usual_where_nothing_can_be_said_either() -> None:
    with FULL.open("w") as full:
        assert _ended("settings", full) == (1, None)


def _ended(command: str, stderr: int | IO[str]) -> tuple[int, str | None]:
    """A program of its own: its exit code, and what it said on standard error."""
    words = [sys.executable, "-m", "tui", *command.split()]
    with FULL.open("w") as full:
        ended = subprocess.run(words, cwd=ROOT, stdout=full, stderr=stderr, text=True, check=False)
    return ended.returncode, ended.stderr


def _pipe_without_reader() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize(
    "broken", [lambda: os.open(FULL, os.O_WRONLY), _pipe_without_reader], ids=["full", "gone"]
)
def test_work_is_done_and_the_code_its_own_where_standard_error_is_broken(
    cli: Cli, text: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch, broken: Callable[[], int]
) -> None:
    """The interpreter ends with 120 if it cannot write at its end what a stream has left."""
    sweep = ("sweep", "model.n_layer=1", *train_command(text)[1:])
    for arguments, code in (
        (train_command(text), 0),
        (["fork", "tiny-1", "--at", "3"], 0),
        (["train", "--preset", "nosuch"], 2),
        (sweep, 0),
        (["ladder", "bigram", "--data", text, "--steps", "2", "--set", "eval.batches=1"], 0),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", os.fdopen(broken(), "w", buffering=1))
            assert cli(*arguments).code == code, arguments
            sys.stderr.close()  # writes what is left
    made = {path.name for path in runs_dir.iterdir() if not path.name.startswith(".")}
    assert made == {"tiny-1", "tiny-1-fork-1", "sweep-1-1", "bigram-1"}
