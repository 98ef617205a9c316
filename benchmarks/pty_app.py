"""The app in a pseudo-terminal of its own, read as a terminal would read it."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.cells import get_character_cell_size

from benchmarks.programs import BenchmarkError

COLUMNS, ROWS = 120, 40
END_SECONDS = 60.0  # it may have a checkpoint to write
READ_BYTES = 65536

_PLACE = re.compile(r"\x1b\[(?:(\d+);(\d+))?H")
_CLEARED = re.compile(r"\x1b\[2J|\x1b\[\?1049[hl]")
_ESCAPES = re.compile(
    r"(\x1b(?:\[[0-9;:?<>=]*[ -/]*[@-~]"  # colours, places, modes
    r"|[P\]X^_].*?(?:\x1b\\|\x07)"  # strings for the terminal
    r"|[ -/]*[0-~]))",
    re.DOTALL,
)
_CUT_ESCAPE = re.compile(r"\x1b(?:\[[0-9;:?<>=]*[ -/]*|[P\]X^_][^\x07\x1b]*\x1b?|[ -/]*)\Z")


class ScreenText:
    """The characters on the screen of a terminal: what was written where the cursor was.

    Emulators do more than that and take a hundred times as long, beside what is measured.
    """

    def __init__(self) -> None:
        self._rows: dict[int, dict[int, str]] = {}
        self._row = self._column = 0
        self._rest = ""  # the beginning of an escape sequence

    def feed(self, written: str) -> None:
        """Take what a program has written."""
        written = self._rest + written
        cut = _CUT_ESCAPE.search(written)
        self._rest = cut.group() if cut else ""
        for number, part in enumerate(_ESCAPES.split(written.removesuffix(self._rest))):
            if number % 2 == 0:
                self._write(part)
            elif place := _PLACE.fullmatch(part):
                self._row, self._column = (int(one or 1) - 1 for one in place.groups())
            elif _CLEARED.fullmatch(part):
                self._rows.clear()

    def _write(self, text: str) -> None:
        for character in text:
            if character == "\n":
                self._row += 1
            elif character == "\r":
                self._column = 0
            else:
                self._rows.setdefault(self._row, {})[self._column] = character
                self._column += 1 if character.isascii() else get_character_cell_size(character)

    def __str__(self) -> str:
        """Return the rows, each of which ends in a new line."""
        return "".join(
            "".join(row.get(column, " ") for column in range(max(row) + 1)).rstrip() + "\n"
            for _, row in sorted(self._rows.items())
        )


class PtyApp:
    """A process in a pseudo-terminal that somebody reads.

    Args:
        command: What to run.
        environment: Of the process; the size of the terminal is ours, not the environment's.
        size: Columns and rows of the terminal.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        size: tuple[int, int] = (COLUMNS, ROWS),
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        environment = {**environment, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        environment.pop("COLUMNS", None)
        environment.pop("LINES", None)
        self.started = time.time()
        self._process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._screen = ScreenText()
        self.read_bytes = 0
        self.read_at = self.started  # when something was read last

    @property
    def pid(self) -> int:
        """Of the app."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    @property
    def text(self) -> str:
        """The words on its screen."""
        return str(self._screen)

    def send(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def read(self, seconds: float) -> bool:
        """Read what comes next, waiting this long at most; False if nothing came."""
        ready, _, _ = select.select([self._master], [], [], max(0.0, seconds))
        if not ready:
            return False
        try:
            chunk = os.read(self._master, READ_BYTES)
        except OSError:  # Linux says so when the other side is closed
            return False
        self.read_at = time.time()
        self.read_bytes += len(chunk)
        self._screen.feed(self._decoder.decode(chunk))
        return bool(chunk)

    def read_until(self, done: Callable[[str], object], seconds: float) -> float:
        """Read until the words on the screen satisfy a condition; returns that time.

        Raises:
            BenchmarkError: They did not, or the app ended.
        """
        deadline = time.time() + seconds
        while not done(self.text):
            alive = self.alive  # asked first: what an app writes before its end is read as well
            left = deadline - time.time()
            if left <= 0 or (not self.read(min(0.1, left)) and not alive):
                told = f"the app did not show what was waited for:\n{self.text}"
                raise BenchmarkError(told)
        return self.read_at

    def rest(self, seconds: float) -> None:
        """Read along for some time."""
        deadline = time.time() + seconds
        while (left := deadline - time.time()) > 0:
            if not self.read(left) and not self.alive:
                return

    def screen_sample(self) -> tuple[float, float] | None:
        """The time of day, and the CPU seconds of the thread that draws (the main one) so far.

        None where the system does not tell.
        """
        seconds = main_thread_seconds(self.pid)
        return None if seconds is None else (time.time(), seconds)

    def __enter__(self) -> PtyApp:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> int:
        """Ask it to end, read on until it has, and return its exit code."""
        if self.alive:
            self._process.terminate()
        deadline = time.time() + END_SECONDS
        while self.alive and time.time() < deadline:
            self.read(0.05)
        if self.alive:
            self._process.kill()
        os.close(self._master)
        return self._process.wait()


def main_thread_seconds(pid: int) -> float | None:
    """CPU seconds of a process's main thread so far, from Linux's /proc."""
    try:
        stat = Path(f"/proc/{pid}/task/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before may hold anything
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
