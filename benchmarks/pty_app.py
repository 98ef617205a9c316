"""The app in a pseudo-terminal of its own, read as a terminal would read it."""

from __future__ import annotations

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

from benchmarks.programs import BenchmarkError

COLUMNS, ROWS = 120, 40
END_SECONDS = 60.0  # it may have a checkpoint to write
READ_BYTES = 65536
KEPT_CHARACTERS = 200_000  # of the output, for looking something up in it

_ESCAPES = re.compile(
    r"\x1b(?:\[[0-9;:?<>=]*[ -/]*[@-~]"  # colours, places, modes
    r"|[P\]X^_].*?(?:\x1b\\|\x07)"  # strings for the terminal
    r"|[ -/]*[0-~])",
    re.DOTALL,
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
        self._text = ""
        self.read_bytes = 0

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
        """The words of the output, without what steers the terminal."""
        return _ESCAPES.sub("", self._text)

    def forget(self) -> None:
        """Drop the output so far, to wait for something new."""
        self._text = ""

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
        self.read_bytes += len(chunk)
        self._text = (self._text + chunk.decode(errors="replace"))[-KEPT_CHARACTERS:]
        return bool(chunk)

    def read_until(self, done: Callable[[str], object], seconds: float) -> float:
        """Read until the words of the output satisfy a condition; returns that time.

        Raises:
            BenchmarkError: They did not, or the app ended.
        """
        deadline = time.time() + seconds
        while (now := time.time()) < deadline:
            alive = self.alive  # asked first: what an app writes before its end is read as well
            if self.read(min(0.1, deadline - now)):
                arrived = time.time()
                if done(self.text):
                    return arrived
            elif not alive:
                break
        raise BenchmarkError(f"the app did not show what was waited for: …{self.text[-500:]!r}")

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
