"""Standard input, spooled to a private file, as a text is read several times."""

from __future__ import annotations

import atexit
import os
import select
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from data.download import Watcher
from data.errors import Cancelled, InputError, reason_of

NAME = "standard input"
POLL_SECONDS = 0.05
CHUNK_BYTES = 1 << 20


def spooled(watcher: Watcher) -> Path:
    """Return a file with all of standard input, which is deleted as the program ends.

    Raises:
        InputError: It is the terminal, closed, or there is no room for it.
        Cancelled: `watcher.cancelled` returned true.
    """
    if path := _spool().get("path"):
        return path
    try:
        descriptor = sys.stdin.fileno()
        is_terminal = os.isatty(descriptor)
    except (AttributeError, OSError, ValueError):
        raise InputError("standard input is closed: name a file instead of -") from None
    if is_terminal:
        raise InputError(
            "standard input is the terminal: send a text to it, as in cat FILE | gpt-tui train "
            "--data -, or name a file"
        )
    path = _read(descriptor, watcher)
    _spool()["path"] = path
    return path


@cache
def _spool() -> dict[str, Path]:
    """Return what was read of it already: it can be read only once."""
    return {}


def _read(descriptor: int, watcher: Watcher) -> Path:
    target, name = tempfile.mkstemp(prefix="gpt-tui-", suffix=".txt")  # the user's alone
    try:
        with os.fdopen(target, "wb") as file:
            while chunk := _chunk(descriptor, watcher):
                file.write(chunk)
                watcher.report(f"reading {NAME}: {file.tell() / 1e6:,.0f} MB")
    except BaseException as error:
        with suppress(OSError):
            os.unlink(name)
        if isinstance(error, OSError):
            raise InputError(
                f"standard input cannot be kept in {tempfile.gettempdir()} ({reason_of(error)}): "
                "make room, or set TMPDIR to another folder"
            ) from None
        raise
    atexit.register(_remove, name, os.getpid())
    return Path(name)


def _chunk(descriptor: int, watcher: Watcher) -> bytes:
    while not watcher.cancelled():
        if select.select([descriptor], [], [], POLL_SECONDS)[0]:
            return os.read(descriptor, CHUNK_BYTES)
    raise Cancelled


def _remove(name: str, process: int) -> None:
    if os.getpid() == process:  # and not a forked one
        with suppress(OSError):
            os.unlink(name)
