"""Between the standard streams of a process and an engine's socket: the far end of ssh.

What the engine says goes to standard output as it is, and what comes from standard input to the
engine. In between come the run's records (``engine.remote.records``), which a client on this
machine reads from the run's folder. It ends when either side does.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from data.errors import InputError
from engine.remote.client import dial_run
from engine.remote.records import RecordsReader
from engine.remote.wire import Goodbye, Records, encode

BEGINNING = b"gpt-tui attach --stdio"  # a line, after what the shell may have said
RECORDS_SECONDS = 1.0
MOST_FAILURES = 20  # to read them, one after the other
CHUNK = 1 << 16
ENDED = "the process that trained this run has ended"


def relay(find: Callable[[], Path], source: int, target: BinaryIO) -> None:
    """Connect two streams to the engine of a run until one of them ends.

    Args:
        find: Returns the folder of the run; the reason if there is none goes to ``target``.
        source: The descriptor that is read.
        target: What is written.
    """
    sender = _Sender(target)
    sender.write(b"\n" + BEGINNING + b"\n")
    try:
        run = find()
        engine = dial_run(run)
    except InputError as why:
        sender.write(encode(Goodbye(str(why))))
        return
    engine.settimeout(None)
    ended = threading.Event()
    threading.Thread(target=_pass_on, args=(source, engine), daemon=True).start()
    records = threading.Thread(target=_tell_records, args=(run, sender, ended), daemon=True)
    with suppress(OSError), engine.makefile("rb") as lines:  # whichever side has gone
        for line in lines:
            sender.write(line)
            if not records.ident:
                records.start()  # after the welcome
    ended.set()
    if records.ident:
        records.join(RECORDS_SECONDS)
    with suppress(OSError):
        sender.write(encode(Goodbye(ENDED)))


class _Sender:
    """Writes whole lines from two threads."""

    def __init__(self, target: BinaryIO) -> None:
        self._target, self._lock = target, threading.Lock()

    def write(self, line: bytes) -> None:
        with self._lock:
            self._target.write(line)
            self._target.flush()


def _pass_on(source: int, engine: socket.socket) -> None:
    with suppress(OSError):
        while chunk := os.read(source, CHUNK):
            engine.sendall(chunk)
    with suppress(OSError):
        engine.shutdown(socket.SHUT_RDWR)  # ends the other direction, too


def _tell_records(run: Path, sender: _Sender, ended: threading.Event) -> None:
    reader, failures, last = RecordsReader(run), 0, False
    with suppress(OSError):  # nobody reads them any more
        while True:
            try:
                if news := _news(reader):
                    sender.write(encode(news))
                failures = 0
            except InputError as why:
                failures += 1
                if failures == MOST_FAILURES:
                    sender.write(encode(Goodbye(str(why))))
                    return
            if last:
                return
            last = ended.wait(RECORDS_SECONDS)  # what is written last is told, too


def _news(reader: RecordsReader) -> Records | None:
    try:
        return reader.news()
    except (OSError, sqlite3.Error) as error:
        raise InputError(f"the run's records cannot be read ({error})") from None
