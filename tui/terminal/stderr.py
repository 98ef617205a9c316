"""Keeps text that native code writes to file descriptor 2 off the screen.

Textual draws through the same descriptor. It is given a duplicate of the terminal, and descriptor 2
itself writes to a log: a temporary one first, then the run's own ``log.txt``.
"""

from __future__ import annotations

import io
import os
import select
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from data.reading import open_regular

OUTPUT_DESCRIPTOR, ERROR_DESCRIPTOR = 1, 2
MOST_SHOWN = 2**20  # bytes of a log


class ErrorLog:
    """The file that descriptor 2 writes to while the app runs."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self._early = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the app
        os.dup2(self._early.fileno(), ERROR_DESCRIPTOR)

    def move_to(self, path: Path) -> None:
        """Append to this file from now on, including what was written before.

        Where it cannot be written, or is no regular file, text goes to the temporary one.
        """
        if path == self.path:
            return
        try:
            log = open_to_append(path)
        except OSError:
            self.leave()
            return
        with log:
            if self.path is None:
                log.write(self._early_bytes())
                log.flush()
            os.dup2(log.fileno(), ERROR_DESCRIPTOR)
        self.path = path

    def leave(self) -> None:
        """Write to the temporary file from now on."""
        if self.path is not None:
            self._early.seek(0)
            self._early.truncate()
            os.dup2(self._early.fileno(), ERROR_DESCRIPTOR)
        self.path = None

    def text(self) -> str:
        """Return the end of what was written: all of it, unless it is very long.

        Raises:
            OSError: The file cannot be read.
        """
        if self.path is None:
            return self._early_bytes().decode(errors="replace")
        with open(open_regular(self.path), "rb") as log:
            log.seek(max(0, log.seek(0, io.SEEK_END) - MOST_SHOWN))
            return log.read(MOST_SHOWN).decode(errors="replace")

    def _early_bytes(self) -> bytes:
        self._early.seek(0)
        return self._early.read()


def open_to_append(path: Path) -> IO[bytes]:
    """Open a log to write at its end; one that is no regular file would hang, or be another's.

    Raises:
        OSError: It is a link, a pipe …, or may not be written.
    """
    return open(open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab")


class Terminal(io.TextIOWrapper):
    """Textual's stream to the terminal; output is discarded once the terminal is gone.

    An error here would end Textual's writer thread, and the app would wait for it for ever.
    """

    def __init__(self, raw: io.FileIO) -> None:
        super().__init__(io.BufferedWriter(raw), encoding="utf-8", errors="replace")
        self._gone = False

    def write(self, text: str) -> int:
        if not self._gone:
            with self._until_gone():
                return super().write(text)
        return len(text)

    def flush(self) -> None:
        if not self._gone:
            with self._until_gone():
                super().flush()

    def close(self) -> None:
        with self._until_gone():
            super().close()

    @contextmanager
    def _until_gone(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            self._gone = True


def is_gone(terminal: IO[str] | None) -> bool:
    """Return whether the terminal is gone: its window was closed, or its connection lost."""
    if terminal is None:
        return True
    poll = select.poll()
    poll.register(terminal, 0)  # POLLHUP is always reported
    return any(event & select.POLLHUP for _, event in poll.poll(0))


def screen_descriptor() -> int:
    """Return the descriptor of the terminal to draw on."""
    # 'gpt-tui 2> errors.txt' has redirected the descriptor that Textual would draw on
    return ERROR_DESCRIPTOR if os.isatty(ERROR_DESCRIPTOR) else OUTPUT_DESCRIPTOR


@contextmanager
def errors_off_screen() -> Iterator[ErrorLog]:
    """Give Textual a stream of its own, and redirect descriptor 2 to a log."""
    original = sys.__stderr__
    before = os.dup(ERROR_DESCRIPTOR)
    terminal = Terminal(io.FileIO(os.dup(screen_descriptor()), "w"))
    sys.__stderr__ = terminal  # type: ignore[misc]
    log = ErrorLog()
    try:
        yield log
    finally:
        os.dup2(before, ERROR_DESCRIPTOR)
        os.close(before)
        sys.__stderr__ = original  # type: ignore[misc]
        terminal.close()
