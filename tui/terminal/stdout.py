"""Standard output: each piece is written at once, and errors of writing are reported."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, TextIO

from data.errors import InputError, on_one_line
from data.files import replacing
from data.paths import real_path
from data.program import named
from tui.terminal.visible import to_terminal, visible

READER_SECONDS = 2.0  # that the reader of a pipe has to begin


class OutputLost(Exception):
    """Standard output cannot be written, as on a full disk."""

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"the output cannot be written ({error.strerror}): make room, or send it elsewhere"
        )
        self.errno = error.errno


@contextmanager
def standard_output() -> Iterator[TextIO]:
    """Yield standard output, and flush it; nothing else may raise ``OSError`` inside.

    Raises:
        BrokenPipeError: The reader has closed the pipe.
        OutputLost: It cannot be written for another reason.
    """
    try:
        yield sys.stdout
        print(end="", flush=True)
    except BrokenPipeError:
        silence(sys.stdout)
        raise
    except OSError as error:
        silence(sys.stdout)
        raise OutputLost(error) from None


def is_standard_output(path: Path) -> bool:
    """Return whether a path stands for standard output: ``-``, or one that leads there."""
    try:
        there = str(path) == "-" or os.path.samestat(os.stat(path), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):  # it does not exist yet
        return False
    return there


@contextmanager
def output_to(path: Path, binary: bool = False) -> Iterator[IO[Any]]:
    """Open a path that an option for output names.

    A file is replaced as a whole once the block has ended without an error; pipes and devices are
    written to directly.

    Raises:
        InputError: It cannot be written.
        BrokenPipeError, OutputLost: As ``standard_output``, if it is that.
    """
    options: dict[str, Any] = {"mode": "wb"} if binary else {"mode": "w", "encoding": "utf-8"}
    if is_standard_output(path):
        with standard_output() as out:
            yield out.buffer if binary else out
        return
    is_file = path.is_file() or not path.exists()
    try:
        # a pipe has no other path than the one in /dev/fd
        writing = partial(open, path, opener=_open_without_waiting)
        with replacing(real_path(path), **options) if is_file else writing(**options) as file:
            yield file
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise InputError(
                f"{named(str(path))} is a pipe that nobody reads: start its reader first"
            ) from None
        raise InputError(
            f"{named(str(path))} cannot be written ({error.strerror}): choose another file, or "
            f"make room"
        ) from None


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a pipe only if it has a reader, for which `open` would wait without end."""
    deadline = time.monotonic() + READER_SECONDS
    while True:
        try:
            descriptor = os.open(path, flags | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            os.set_blocking(descriptor, True)
            return descriptor


def put(text: str, end: str = "\n") -> None:
    """Print on standard output, unbuffered, so that an error shows at once.

    Raises:
        BrokenPipeError: The reader has closed the pipe.
        OutputLost: It cannot be written for another reason.
    """
    with standard_output():
        print(text, end=end)


def print_last(text: str) -> None:
    """Print the result of a command; do nothing if the pipe or terminal was closed.

    Raises:
        OutputLost: It cannot be written for another reason.
    """
    try:
        put(text)
    except BrokenPipeError:
        return
    except OutputLost as lost:
        if lost.errno != errno.EIO:  # the error of a terminal that was closed
            raise


def complain(text: str) -> None:
    """Print a problem on standard error, on one line, if that can be written."""
    say(f"gpt-tui: {visible(on_one_line(text))}")


def say(text: str, end: str = "\n") -> None:
    """Print on standard error, at once; nothing else fails if that cannot be written."""
    try:
        sys.stderr.write(text)  # not print, which makes a plain text of `Control`
        sys.stderr.write(end)
        sys.stderr.flush()
    except OSError:  # a full disk, a terminal that was closed
        silence(sys.stderr)


def make_streams_usable() -> None:
    """Redirect closed streams to the null device; print "?" for what a stream cannot encode.

    A terminal is shown control characters (`tui/terminal/visible.py`).
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # take its descriptor before a file of a run does
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
            if stream.isatty():
                setattr(sys, name, to_terminal(stream))


def silence(stream: TextIO) -> None:
    """Redirect a stream to the null device, so that flushing it at exit raises nothing."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
