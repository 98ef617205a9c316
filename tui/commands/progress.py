"""How training goes, on standard error: one line kept up to date, or plain lines."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from engine.protocol import State, Status
from tui.terminal.stdout import harmless
from tui.text.numbers import amount, duration, loss

TERMINAL_SECONDS, PLAIN_SECONDS = 0.25, 5.0
CLEAR_LINE = "\r\x1b[K"


class Progress:
    """Follows a run from a thread of its own, so that training never waits for the terminal.

    Args:
        stream: Where to write. A stream that breaks (a closed terminal) is not written to again.
        status: Where the run stands now.
    """

    def __init__(self, stream: TextIO, status: Callable[[], Status]) -> None:
        self._stream = stream
        self._status = status
        self._on_terminal = stream.isatty()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="progress", daemon=True)
        self._shown = ""  # what stands in the line that is kept up to date
        self._topic = ""  # of the last line on what is being prepared
        self._last_step = -1

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        with self._lock:
            self._show("")

    def say(self, text: str) -> None:
        """Print something to stay."""
        with self._lock:
            shown, self._shown = self._shown, ""
            self._write((CLEAR_LINE if shown else "") + harmless(text) + "\n")
            self._show(shown)

    def prepare(self, message: str) -> None:
        """Print what is being prepared; only once for the many figures of one download."""
        topic, message = message.partition(":")[0], message.rstrip("…")
        if self._on_terminal:
            with self._lock:
                self._show(f"{message} …")
        elif topic != self._topic:
            self.say(f"{message} …")
        self._topic = topic

    def _follow(self) -> None:
        while not self._ended.wait(TERMINAL_SECONDS if self._on_terminal else PLAIN_SECONDS):
            status = self._status()
            if status.state is State.RUNNING and status.step != self._last_step:
                self._last_step = status.step
                self._tell(progress_line(status))

    def _tell(self, line: str) -> None:
        if not self._on_terminal:
            self.say(line)
            return
        with self._lock:
            self._show(line)

    def _show(self, line: str) -> None:
        """Replace the line that is kept up to date."""
        if not self._on_terminal or line == self._shown:
            return
        columns = shutil.get_terminal_size().columns
        self._write(CLEAR_LINE + harmless(line)[: columns - 1])
        self._shown = line

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._ended.set()  # the terminal is gone; training goes on without it


def progress_line(status: Status) -> str:
    """Where a run stands, in one line."""
    parts = [
        f"step {status.step:,}/{status.total_steps:,}",
        f"epoch {status.epoch:.2f}",
        f"loss {loss(status.train_loss)}",
        f"val {loss(status.val_loss)}",
        f"{amount(status.tokens_per_second)} tokens/s",
        f"{duration(status.seconds_left)} left",
    ]
    return " · ".join(parts)
