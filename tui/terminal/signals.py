"""Signals that end a program unless it handles them; it saves, and leaves or goes on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], None] | signal.Handlers

# A batch system warns with SIGUSR1, SIGUSR2 or SIGXCPU before it kills, a person with SIGQUIT.
# Faults (SIGSEGV, SIGABRT) are not among them: what they interrupt cannot be trusted to save.
_NAMES = (
    *("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM"),
    *("SIGPROF", "SIGXCPU", "SIGIO", "SIGPWR", "SIGSTKFLT", "SIGEMT", "SIGLOST"),
)
ALWAYS_HANDLED = {signal.SIGINT, signal.SIGTERM}


def ending_signals() -> list[int]:
    """Return those that this system has, and that nobody has asked to ignore or handles already.

    SIGINT and SIGTERM are always among them; an ignored SIGHUP (nohup) is not.
    """
    numbers = {int(getattr(signal, name)) for name in _NAMES if hasattr(signal, name)}
    if hasattr(signal, "SIGRTMIN"):
        numbers.update(range(signal.SIGRTMIN, signal.SIGRTMAX + 1))
    return sorted(
        number
        for number in numbers
        if number in ALWAYS_HANDLED or signal.getsignal(number) is signal.SIG_DFL
    )


def saving_signals() -> list[int]:
    """Return those by which one process saves and goes on: batch systems warn with them."""
    return [one for one in ending_signals() if one in (signal.SIGUSR1, signal.SIGUSR2)]


def handle(numbers: list[int], handler: Handler) -> dict[int, Any]:
    """Install a handler; return the handlers before."""
    before: dict[int, Any] = {}
    for number in numbers:
        with suppress(OSError, ValueError):  # the C library keeps some for itself
            before[number] = signal.signal(number, handler)
    return before


def name_of(number: int) -> str:
    """Return ``SIGTERM``, or ``signal 40`` for a real-time signal, which has no name."""
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def _heard_in_thread(*_: object) -> None:
    """Let Python pass the signal's number on."""


def ignore_signals() -> None:
    """Ignore what the thread has heard so far: Python itself would end by them as it exits."""
    for number in signal.valid_signals():
        if signal.getsignal(number) is _heard_in_thread:
            signal.signal(number, signal.SIG_IGN)


def hear_in_thread(leave: Callable[[], None], save: Callable[[], None]) -> None:
    """Call one of these when a signal arrives, in a thread of its own, until the end.

    Python's own handlers run in the main thread, which may be stuck.
    """
    numbers, saving = ending_signals(), saving_signals()
    handle(numbers, _heard_in_thread)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def listen() -> None:
        while arrived := os.read(reading, 64):
            heard = [number for number in arrived if number in numbers]
            if any(number not in saving for number in heard):
                leave()
            elif heard:
                save()

    threading.Thread(target=listen, name="signals", daemon=True).start()


def hears_ctrl_c() -> bool:
    """Return whether a terminal controls this process, whose Ctrl-C ends it."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
