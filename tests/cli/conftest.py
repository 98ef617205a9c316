"""A command line of our own: its runs, its texts, no network."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tui.cli import main

ROOT = Path(__file__).parents[2]
QUICK = {
    "train.max_steps": 6,
    "eval.interval": 3,
    "eval.batches": 2,
    "checkpoint.interval": 3,
    "sample.max_tokens": 5,
    "system.threads": 1,
    "system.micro_batch_size": 16,
}


RHYME = "one fish, two fish,\nred fish, blue fish.\n" * 60


class Stream(io.StringIO):
    """Keeps what is written; may be a terminal, and may break."""

    def __init__(self, terminal: bool = False, broken: bool = False) -> None:
        super().__init__()
        self._terminal, self._broken = terminal, broken
        self.failures = 0

    def isatty(self) -> bool:
        return self._terminal

    def write(self, text: str) -> int:
        if self._broken:
            self.failures += 1
            raise OSError(5, "Input/output error")
        return super().write(text)


@dataclass(frozen=True)
class Answer:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The last line of standard output."""
        return json.loads(self.out.splitlines()[-1])

    @property
    def problem(self) -> str:
        """The one sentence of a command that got bad input."""
        assert self.code == 2, self
        assert self.out == ""
        (told,) = [line for line in self.err.splitlines() if not line.endswith(" …")]
        assert told.startswith("gpt-tui: ")
        return told.removeprefix("gpt-tui: ")


Cli = Callable[..., Answer]


@pytest.fixture(autouse=True)
def runs_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default runs folder, which does not exist yet."""
    folder = tmp_path / "runs"
    monkeypatch.setenv("GPT_TUI_RUNS", str(folder))
    monkeypatch.setenv("GPT_TUI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GPT_TUI_OFFLINE", "1")
    return folder


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A small text with a small alphabet."""
    path = tmp_path / "rhyme.txt"
    path.write_text(RHYME)
    return path


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Cli:
    """Calls a command in this process."""

    def call(*arguments: str | Path) -> Answer:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return Answer(code, *capfd.readouterr())

    return call


@pytest.fixture
def quick_train(cli: Cli, text: Path) -> Cli:
    """Trains a run of a few steps, also on another text; further options may follow."""

    def call(*arguments: str | Path, text: Path = text) -> Answer:
        return cli(*train_command(text), *arguments)

    return call


def train_command(text: Path) -> list[str]:
    """``train`` with everything small and nothing left to be measured."""
    settings = [word for key, value in QUICK.items() for word in ("--set", f"{key}={value}")]
    return ["train", "--preset", "tiny", "--data", str(text), "--json", *settings]


STARTED_BY = "STARTED_BY_TESTS_OF"  # the process of pytest, in the environment of what it starts


@pytest.fixture(autouse=True, scope="module")
def no_process_is_left() -> Iterator[None]:
    """End what tests that failed have left: a run without its launcher trains on."""
    yield
    mark = f"{STARTED_BY}={os.getpid()}".encode()
    for place in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # ended meanwhile, or another user's
            if mark in place.read_bytes().split(b"\0"):
                os.kill(int(place.parent.name), signal.SIGKILL)


def start_process(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """The program in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tui", *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", STARTED_BY: str(os.getpid())},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


Sweep = Callable[..., Answer]


@pytest.fixture
def sweep(cli: Cli, options: list[str]) -> Sweep:
    """Sweeps with the options of the file that asks for it."""

    def call(*arguments: str) -> Answer:
        return cli("sweep", *arguments, *options)

    return call
