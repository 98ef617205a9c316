"""The app in a real pseudo-terminal: stray output, signals, suspension, and the way out."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from benchmarks.pty_app import ScreenText
from data.paths import quoted, utf8_text
from engine.protocol import Stop
from engine.runs.folder import is_locked
from engine.runs.summary import RunSummary, read_summary
from tests.tui.conftest import SMALL, checkpoints
from tui.commands.tell import tell

ROOT = Path(__file__).parents[2]
PATIENCE = 90.0
TO_ALTERNATE_SCREEN, FROM_ALTERNATE_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"

START = """
import sys
sys.path.insert(0, sys.argv.pop(1))
{prelude}
from tui.cli import main
sys.exit(main(sys.argv[1:]))
"""

# as in a login: the terminal that hangs up is ours
OURS = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
NOBODYS = ""  # as in a container: no signal tells that the terminal is gone

NATIVE_CHATTER = """
import ctypes, os
import engine.session.session

advance, told = engine.session.session.Session.advance, []

def chatty(session):
    if not told and session.trainer.step >= 2:
        told.append(True)
        os.write(2, b"written-past-python\\n")
        ctypes.CDLL(None).dprintf(2, b"written-by-%s\\n", b"native-code")
    return advance(session)

engine.session.session.Session.advance = chatty
"""

BROKEN_SCREEN = """
from tui.screens.cockpit import CockpitScreen

def broken(screen):
    if screen.control.status.step >= 2:
        raise RuntimeError("the screen is torn")

CockpitScreen._tick = broken
"""


NEWS = """
import os
import engine.session.session

advance = engine.session.session.Session.advance

def warning(session):
    if session.trainer.step % 50 == 0 and os.path.exists("away"):
        session.outlet.warn("the run is too \\x1b]0;hot\\x07")
    return advance(session)

engine.session.session.Session.advance = warning
os.environ.pop("COLORTERM", None)
"""

LIGHT = """
import tui.app
tui.app._import_heavy_modules = lambda: None  # nothing is trained
"""

# What hangs once "hangs" is written, in an app that has two seconds to leave.
SOON = """
import os, threading, time
import tui.control.leaving
tui.control.leaving.CLOSE_SECONDS, tui.control.leaving.EXIT_SECONDS = 1.0, 0.5

def hang(*_):
    os.write(1, b"hangs")
    time.sleep(1000)

from tui.screens.cockpit import CockpitScreen
"""
HANGS = {
    "engine": SOON
    + """
import engine.session.worker
engine.session.worker.EngineLoop.run = hang
""",
    "screen": SOON + "CockpitScreen._tick = hang\n",
    "writer": SOON
    + """
from tui.terminal.stderr import Terminal
drawn, write = [], Terminal.write

def write_and_hang(self, text):
    drawn.append(text)
    return write(self, text) if "Start" not in "".join(drawn[:-1]) else hang()

Terminal.write = write_and_hang
""",
    "exit": SOON + "threading.Thread(target=hang).start()\n",
    "interpreter": SOON
    + """
import ctypes, tui.app

def leave(*_):
    ctypes.PyDLL(None).sleep(1000)  # with Python's lock

os.write(1, b"hangs")
tui.app.GptTuiApp._exit_from_thread = leave
""",
}


def plain(output: bytes | bytearray) -> str:
    """A terminal's output, less the control sequences."""
    return re.sub(r"\x1b\[[0-9;?<>=]*[ -/]*[@-~]", "", output.decode(errors="replace"))


class Terminal:
    """A terminal with the app in it."""

    def __init__(
        self, folder: Path, arguments: list[str], prelude: str, size: tuple[int, int] = (100, 30)
    ) -> None:
        self.runs = folder / "runs"
        self.master, self.slave = os.openpty()
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", *reversed(size), 0, 0))
        self.attributes = termios.tcgetattr(self.slave)
        script = folder / "start.py"
        script.write_text(START.format(prelude=prelude))
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(ROOT), *arguments, "--runs-dir", str(self.runs)],
            cwd=folder,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "", "LINES": ""},
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
        )
        self.output = bytearray()
        self._screen, self._fed = ScreenText(), 0
        self._reading = threading.Lock()  # from the terminal into the output
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while select.select([self.master], [], []):
                with self._reading:
                    self.output += os.read(self.master, 65536)

    def _is_read(self) -> bool:
        """Whether all is in the output that was written until now."""
        try:
            with self._reading:
                return not select.select([self.master], [], [], 0)[0]
        except OSError:  # the terminal is gone
            return True

    def press(self, keys: str) -> None:
        self.send(keys.encode())

    def send(self, sent: bytes) -> None:
        os.write(self.master, sent)

    def until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what} did not come to be:\n{self.screen}")
            time.sleep(0.02)

    def until_written(self, what: bytes, times: int = 1) -> None:
        self.until(lambda: self.output.count(what) >= times, f"{what!r}")

    def shows(self, words: str, seen: int = -1) -> bool:
        """Whether the words are on its screen, and something was written after ``seen`` bytes."""
        return len(self.output) > seen and words in self.screen

    def train(self) -> None:
        """Start, and let a few steps be taken and written down."""
        self.until(lambda: b"Start" in self.output, "the first paint")
        self.press(" ")
        self.until(lambda: list(self.runs.glob("*/run.db")), "the run folder")
        self.until(lambda: self.step_shown >= 3, "a few steps")

    @property
    def run(self) -> Path:
        (run,) = self.runs.glob("*/")
        return run

    @property
    def summary(self) -> RunSummary:
        return read_summary(self.run)

    @property
    def step_shown(self) -> int:
        """The step that the screen shows."""
        steps = re.findall(r"step ([0-9,]+)/100,000", self.screen)
        return int(steps[-1].replace(",", "")) if steps else 0

    @property
    def screen(self) -> str:
        """What it shows."""
        new, self._fed = self.output[self._fed :], len(self.output)
        self._screen.feed(new.decode(errors="replace"))
        return str(self._screen)

    @property
    def text(self) -> str:
        """All that was written, less the control sequences."""
        return plain(self.output)

    @property
    def goodbye(self) -> str:
        """What stays on the terminal."""
        after = self.output.rpartition(FROM_ALTERNATE_SCREEN)[2]
        return plain(after)

    def wait(self) -> int:
        """Wait for the end; returns the exit code."""
        code = self.process.wait(PATIENCE)
        self.until(lambda: self._is_read() or not self._reader.is_alive(), "the last words")
        return code

    def assert_restored(self) -> None:
        """The terminal is as it was."""
        assert termios.tcgetattr(self.slave) == self.attributes
        assert self.output.rfind(FROM_ALTERNATE_SCREEN) > self.output.rfind(TO_ALTERNATE_SCREEN)
        assert self.output.rfind(b"\x1b[?25h") > self.output.rfind(b"\x1b[?25l")  # the cursor

    def assert_saved(self) -> None:
        """The run can go on where it was."""
        summary = self.summary
        assert summary.step >= 3
        assert checkpoints(self.run)[-1] == summary.step
        assert summary.state == "stopped"
        assert not summary.live

    def assert_alone(self) -> None:
        """No process has the terminal open any more: not the guard either."""
        os.close(self.slave)
        self._reader.join(PATIENCE)
        assert not self._reader.is_alive()

    def close(self) -> None:
        """Whatever happens, nothing is left behind."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
        with contextlib.suppress(OSError):
            os.close(self.slave)
        self._reader.join(PATIENCE)  # or it reads what the next terminal of that number is sent
        with contextlib.suppress(OSError):
            os.close(self.master)


OpenTerminal = Callable[..., Terminal]


@pytest.fixture
def open_terminal(tmp_path: Path, small_text_file: Path) -> Iterator[OpenTerminal]:
    """Opens the app on a new run of the small text."""
    opened: list[Terminal] = []
    arguments = ["--preset", "tiny", "--data", str(small_text_file)]
    for key, value in SMALL.items():
        arguments += ["--set", f"{key}={value}"]

    def open_(prelude: str = "", terminal: str = OURS) -> Terminal:
        folder = tmp_path / os.fsdecode(b"\xe9%d" % len(opened))  # a name that is not UTF-8
        folder.mkdir()
        opened.append(Terminal(folder, arguments, terminal + prelude))
        return opened[-1]

    yield open_
    for terminal in opened:
        terminal.close()


def test_a_session_leaves_the_terminal_as_it_was_and_says_how_to_go_on(
    open_terminal: OpenTerminal,
) -> None:
    terminal = open_terminal(NATIVE_CHATTER)
    terminal.train()
    terminal.send(b"\xff\xe9\x1b[M \xa0!")  # no UTF-8, and a mouse report in the X10 encoding
    terminal.send(b"\x1b[200~\x1b\x1a\x1b\x03\x1bq\xff\x1b[201~")  # a paste holds no keys
    terminal.until(
        lambda: b"native-code" in (terminal.run / "log.txt").read_bytes(), "the log of native code"
    )
    seen = len(terminal.output)
    terminal.press("\x0c")  # ctrl+l draws what is shown already, too
    terminal.until(lambda: b"Pause" in terminal.output[seen:], "all of the screen")
    terminal.press("q")
    terminal.until(lambda: terminal.shows("Leave this run?"), "the question")
    terminal.press("s")
    assert terminal.wait() == 0
    terminal.assert_restored()
    terminal.assert_saved()

    log = (terminal.run / "log.txt").read_text()
    assert "written-past-python\nwritten-by-native-code\n" in log
    assert "written-" not in terminal.text

    terminal.assert_alone()
    step = terminal.summary.step
    assert f"run tiny-1: stopped, step {step:,} of 100,000" in terminal.goodbye
    assert f"kept in  {utf8_text(terminal.run)}" in terminal.goodbye
    assert f"continue gpt-tui {quoted(terminal.run)}" in terminal.goodbye


def test_the_background_is_found_and_news_are_told_to_who_is_away(
    open_terminal: OpenTerminal,
) -> None:
    terminal = open_terminal(NEWS)
    terminal.until_written(b"\x1b]11;?")
    terminal.send(b"\x1b]11;rgb:fdfd/f6f6/e3e3\x1b\\")  # a light one
    terminal.until_written(b"48;5;254")  # of the light theme, in 256 colours
    terminal.train()
    terminal.send(b"\x1b[O")  # another window is in use
    (terminal.runs.parent / "away").touch()
    terminal.until_written(b"\x1b]2;tiny-1 \xc2\xb7 training \xc2\xb7 step ")
    terminal.until_written(b"\x07\x1b]9;gpt-tui: tiny-1: the run is too")
    terminal.process.terminate()
    assert terminal.wait() == 130
    terminal.assert_restored()
    assert b"\x1b[22;0t" in terminal.output
    assert terminal.output.rfind(b"\x1b[23;0t") > terminal.output.rfind(b"\x1b]2;")
    assert "fdfd" not in terminal.text  # the answer is neither shown nor taken for keys


@pytest.mark.usefixtures("sockets")
def test_a_run_that_is_left_in_training_goes_on_in_a_process_of_its_own(
    open_terminal: OpenTerminal,
) -> None:
    # that process may take longer to begin than the app has to end
    terminal = open_terminal("import tui.control.leaving as it\nit.EXIT_SECONDS = 2.0\n")
    terminal.train()
    terminal.press("q")
    terminal.until(lambda: terminal.shows("train on in the background"), "the question")
    terminal.press("l")
    assert terminal.wait() == 0
    terminal.assert_restored()
    assert "is trained by process" in terminal.goodbye
    assert f"gpt-tui attach {quoted(terminal.run)}" in terminal.goodbye
    left = terminal.step_shown
    assert tell(terminal.run, None)["state"] == "training"
    terminal.assert_alone()
    terminal.until(lambda: tell(terminal.run, None)["step"] > left, "more steps")
    assert tell(terminal.run, Stop())["state"] == "stopped"


@pytest.mark.usefixtures("sockets")
def test_whoever_prefers_it_leaves_runs_in_training(
    open_terminal: OpenTerminal, tmp_path: Path
) -> None:
    (tmp_path / "preferences.toml").write_text("[screen]\nkeep_training = true\n")
    quits, lost = open_terminal(), open_terminal()
    for terminal in (quits, lost):
        terminal.train()
    quits.process.send_signal(signal.SIGUSR1)  # saves, and goes on
    quits.until(lambda: checkpoints(quits.run), "a checkpoint")
    quits.press("q")  # no question
    os.close(lost.slave)
    os.close(lost.master)
    assert quits.wait() == 0
    assert "is trained by process" in quits.goodbye
    lost.process.wait(60)
    for terminal in (quits, lost):
        terminal.until(partial(is_locked, terminal.run), "training")
        assert tell(terminal.run, Stop())["state"] == "stopped"


def test_signals_and_a_lost_terminal_save_and_end(open_terminal: OpenTerminal) -> None:
    signals = (signal.SIGINT, signal.SIGHUP, signal.SIGXCPU)
    terminals = [open_terminal() for _ in signals]  # at a time, which is faster
    lost = [open_terminal(), open_terminal(terminal=NOBODYS)]  # as when an ssh session breaks off
    for number, terminal in zip(signals, terminals, strict=True):
        terminal.train()  # and no longer than it has to, beside those that still start
        terminal.process.send_signal(number)
        terminal.process.send_signal(signal.SIGTERM)  # once more while it leaves
    for terminal in lost:
        terminal.train()
        os.close(terminal.slave)
        os.close(terminal.master)
    for terminal in terminals:
        assert terminal.wait() == 130
        terminal.assert_restored()
        terminal.assert_saved()
        assert f"gpt-tui {quoted(terminal.run)}" in terminal.goodbye
    for terminal in lost:
        assert terminal.wait() == 130
        terminal.assert_saved()


def test_an_exception_in_the_app_restores_the_terminal_and_is_told(
    open_terminal: OpenTerminal,
) -> None:
    terminal = open_terminal(BROKEN_SCREEN)
    terminal.until(lambda: b"Start" in terminal.output, "the first paint")
    terminal.press(" ")
    assert terminal.wait() == 1
    terminal.assert_restored()
    assert checkpoints(terminal.run)[-1] == terminal.summary.step
    assert "RuntimeError: the screen is torn" in terminal.goodbye
    assert f"gpt-tui {quoted(terminal.run)}" in terminal.goodbye


def test_ctrl_z_suspends_and_comes_back_whole(open_terminal: OpenTerminal) -> None:
    terminal = open_terminal()
    terminal.train()
    terminal.press("\x1a")
    terminal.until(lambda: is_stopped(terminal.process.pid), "the suspension")
    assert termios.tcgetattr(terminal.slave) == terminal.attributes
    terminal.until(lambda: terminal.output.count(FROM_ALTERNATE_SCREEN) == 1, "the shell's screen")
    step, before = terminal.step_shown, len(terminal.output)

    terminal.process.send_signal(signal.SIGCONT)
    terminal.until(lambda: b"Pause" in terminal.output[before:], "the screen")
    assert TO_ALTERNATE_SCREEN in terminal.output[before:]
    terminal.until(lambda: terminal.step_shown > step, "more steps")
    terminal.process.terminate()
    assert terminal.wait() == 130
    terminal.assert_restored()


def test_a_crash_restores_the_terminal_and_says_how_to_go_on(open_terminal: OpenTerminal) -> None:
    crashed, killed = open_terminal(), open_terminal(LIGHT)
    killed.until(lambda: b"Start" in killed.output, "the first paint")
    killed.process.kill()
    crashed.train()
    crashed.process.send_signal(signal.SIGSEGV)
    assert crashed.process.wait(PATIENCE) == -signal.SIGSEGV
    assert termios.tcgetattr(crashed.slave) == crashed.attributes  # before the shell can draw
    crashed.wait()
    crashed.assert_restored()
    assert "gpt-tui crashed (Segmentation fault): the run is whole" in crashed.goodbye
    assert f"gpt-tui {quoted(crashed.run)} continues it" in crashed.goodbye
    log, fault = crashed.run / "log.txt", "Fatal Python error: Segmentation fault"
    crashed.until(lambda: fault in log.read_text(), "the traceback")

    assert killed.process.wait(PATIENCE) == -signal.SIGKILL
    killed.until(lambda: b"gpt-tui was killed" in killed.output, "what the guard says")
    killed.assert_restored()
    for terminal in (crashed, killed):
        terminal.assert_alone()


def test_leaving_ends_in_time_whatever_hangs(open_terminal: OpenTerminal) -> None:
    hanging = {name: open_terminal(LIGHT + prelude) for name, prelude in HANGS.items()}
    for terminal in hanging.values():
        terminal.until_written(b"hangs")
    for terminal in hanging.values():
        terminal.process.send_signal(signal.SIGTERM)
    codes = {name: terminal.wait() for name, terminal in hanging.items()}
    for terminal in hanging.values():
        terminal.assert_restored()
    # an engine that does not end may have lost steps; of one that ended, all is saved
    assert codes == {"engine": 1, "screen": 130, "writer": 130, "exit": 130, "interpreter": 1}
    assert "could not be closed in time" in hanging["engine"].goodbye
    assert "could not be left in time" in hanging["interpreter"].goodbye


def test_continuing_the_process_does_no_harm_at_any_time(open_terminal: OpenTerminal) -> None:
    terminal = open_terminal(LIGHT)
    terminal.until(lambda: b"Start" in terminal.output, "the first paint")
    for drawn in (2, 3):  # as after kill -STOP: the screen is drawn anew
        terminal.process.send_signal(signal.SIGCONT)
        terminal.until_written(TO_ALTERNATE_SCREEN, drawn)
    terminal.process.terminate()
    while terminal.process.poll() is None:
        terminal.process.send_signal(signal.SIGCONT)
        time.sleep(0.005)
    assert terminal.wait() == 130
    terminal.assert_restored()
    assert "Traceback" not in terminal.text


def is_stopped(process: int) -> bool:
    """Whether the process was stopped by a signal."""
    found, status = os.waitpid(process, os.WNOHANG | os.WUNTRACED)
    return found == process and os.WIFSTOPPED(status)
