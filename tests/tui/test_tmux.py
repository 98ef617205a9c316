"""A whole session in a real terminal: tmux shows what a person sees, keys are those of a person."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.runs.database import RunDatabase
from engine.runs.records import JournalEntry
from tests.tui.conftest import PATIENCE, SMALL

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]


class Tmux:
    """A terminal with one program in it."""

    def __init__(self, socket: Path, command: str, environment: dict[str, str]) -> None:
        self._server = ("tmux", "-S", str(socket), "-f", os.devnull)
        size = ("-x", "80", "-y", "24")
        begin = [*self._server, "new-session", "-d", *size, command]
        # these two would count more than the size of the terminal
        inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        subprocess.run(begin, check=True, env=inherited | environment)

    def tell(self, *command: str) -> str:
        done = subprocess.run([*self._server, *command], check=True, capture_output=True)
        return done.stdout.decode()

    def press(self, *keys: str) -> None:
        self.tell("send-keys", *keys)

    def type(self, text: str) -> None:
        self.tell("send-keys", "-l", text)

    def screen(self) -> str:
        return self.tell("capture-pane", "-p")

    def until(self, shown: str) -> str:
        """Wait until the screen matches a pattern; returns what it shows."""
        deadline = time.monotonic() + PATIENCE
        while not re.search(shown, screen := self.screen()):
            assert time.monotonic() < deadline, f"no {shown!r} on\n{screen}"
            time.sleep(0.05)
        return screen

    def resize(self, columns: int, rows: int) -> None:
        """Resize the window, and see to it that the pane's terminal has the size, too."""
        pane = os.open(self.tell("display-message", "-p", "#{pane_tty}").strip(), os.O_NOCTTY)
        deadline = time.monotonic() + PATIENCE
        try:
            while os.get_terminal_size(pane) != (columns, rows):
                assert time.monotonic() < deadline, os.get_terminal_size(pane)
                for width in (columns + 1, columns):  # a change, should the last one be lost
                    self.tell("resize-window", "-x", str(width), "-y", str(rows))
                time.sleep(0.5)  # tmux collects changes for a quarter of a second
        finally:
            os.close(pane)

    def close(self) -> None:
        subprocess.run([*self._server, "kill-server"], capture_output=True)


OpenTmux = Callable[..., Tmux]


@pytest.fixture
def open_tmux(tmp_path: Path) -> Iterator[OpenTmux]:
    """Runs a command in a terminal of 80x24; its exit code is said behind it."""
    opened: list[Tmux] = []

    def begin(*command: str, **environment: str) -> Tmux:
        socket = tmp_path / "tmux"
        told = f"echo before; {shlex.join(command)}; echo left with $?; exec cat"
        opened.append(Tmux(socket, told, environment))
        return opened[-1]

    yield begin
    for one in opened:
        one.close()


def journal(run: Path) -> list[JournalEntry]:
    database = RunDatabase(run / "run.db", read_only=True)
    try:
        return database.journal()
    finally:
        database.close()


def test_a_session_from_the_first_step_to_the_last_key(
    open_tmux: OpenTmux, tmp_path: Path, runs_dir: Path, small_text_file: Path
) -> None:
    settings = [part for key in SMALL for part in ("--set", f"{key}={SMALL[key]}")]
    command = [sys.executable, "-m", "tui", "--preset", "tiny", "--data", str(small_text_file)]
    terminal = open_tmux(
        *command,
        *settings,
        PYTHONPATH=str(ROOT),
        GPT_TUI_RUNS=str(runs_dir),
        GPT_TUI_CACHE=str(tmp_path / "cache"),
        GPT_TUI_PREFERENCES=str(tmp_path / "preferences.toml"),
    )
    terminal.until("space Start")
    terminal.press("Space")
    terminal.until(r"● training[^\n]*\n[^\n]*loss \d")
    terminal.press("s")
    terminal.until(r"sample at step [1-9].*seed 2")
    terminal.press("e", "/")
    terminal.type("learning_rate")
    terminal.press("Enter", "Enter")
    terminal.press("End", "C-u")
    terminal.type("2e-3")
    terminal.press("Enter")
    terminal.until(r"learning_rate[ ◂▸]+0\.002")
    terminal.press("Escape")  # out of the search
    terminal.until("▸ data")
    terminal.press("Escape")
    terminal.until("space Pause")
    terminal.press("Space")
    terminal.until("‖ paused")
    terminal.press("t")
    terminal.until(r"─ timeline ─[\S\s]*step [1-9]\d* \(now\)")
    terminal.press("Home", "Enter")
    terminal.until(r"back at step 0")
    terminal.resize(120, 40)
    terminal.until("─ this run · settings ─")
    terminal.press("q")
    left = terminal.until("left with 0").split()
    assert left[0] == "before" and "─" not in "".join(left), "rows of the app stay on the terminal"
    (run,) = runs_dir.iterdir()
    assert f"run {run.name}: stopped, step 0 of 100,000" in " ".join(left)
    entries = journal(run)
    kinds = [one["kind"] for one in entries]
    assert {"started", "sampled", "paused"} <= set(kinds) and kinds[-1] == "closed"
    (adjusted,) = [one for one in entries if one["kind"] == "adjusted"]
    assert adjusted["detail"]["changes"] == {"optim.learning_rate": [0.003, 0.002]}
    (rewound,) = [one for one in entries if one["kind"] == "rewound"]
    assert (rewound["step"], rewound["branch"]) == (0, 1)
    assert rewound["detail"]["left_at"] > adjusted["step"] > 0
