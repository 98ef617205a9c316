"""Standard output: each piece is written at once, and errors of writing are reported."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import TextIO

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tabs and new lines


class OutputLost(Exception):
    """Standard output cannot be written, as on a full disk.

    Attributes:
        errno: The operating system's number for why.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"the output cannot be written ({error.strerror}): make room, or send it elsewhere"
        )
        self.errno = error.errno


@contextmanager
def standard_output() -> Iterator[TextIO]:
    """Standard output, flushed at the end; nothing else that fails may happen inside.

    Raises:
        BrokenPipeError: Whoever reads has seen enough.
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


def put(text: str, end: str = "\n") -> None:
    """Print on standard output, at once: a buffer would hide until the end that it cannot be.

    Raises:
        BrokenPipeError: Whoever reads has seen enough.
        OutputLost: It cannot be written for another reason.
    """
    with standard_output() as out:
        print(harmless(text) if out.isatty() else text, end=end)


def print_last(text: str) -> None:
    """Print the last words of a command; if nobody is there any more to read them, quietly not.

    Raises:
        OutputLost: They were to be kept, and cannot be.
    """
    try:
        put(text)
    except BrokenPipeError:
        return
    except OutputLost as lost:
        if lost.errno != errno.EIO:  # which is how a terminal that was closed answers
            raise


def complain(text: str) -> None:
    """Say on standard error why the command failed, if that can be written."""
    try:
        print(f"gpt-tui: {harmless(text)}", file=sys.stderr)
    except OSError:
        silence(sys.stderr)


def harmless(text: str) -> str:
    """A text whose control characters show instead of acting on the terminal.

    Names and texts of a run may come from a stranger.
    """
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def make_streams_usable() -> None:
    """One that is closed leads nowhere; where it knows but ASCII, the rest are question marks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # its number is free, and this takes it before a file of a run does
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def silence(stream: TextIO) -> None:
    """Lead a stream nowhere, so that what is still buffered troubles nobody at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
