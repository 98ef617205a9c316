"""A small process that restores the terminal when the app dies without doing so.

A fault in native code, or SIGKILL, would leave the alternate screen and raw mode to the shell. The
guard is forked before the app draws, costs a sleeping process, and ends when the app does.

Python's fault handler and its deadline write their traceback to the guard's socket. The buffer of
that socket is so small that a traceback blocks until the guard has read it, which it does once the
terminal is restored: the shell hears of the end only after that.
"""

from __future__ import annotations

import faulthandler
import json
import mmap
import os
import signal
import socket
import sys
import termios
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from tui.terminal.stderr import open_to_append
from tui.terminal.visible import visible

RESTORE = (
    "\x1b[?2026l"  # show what is drawn
    "\x1b[?2004l\x1b[?7h\x1b[?2048l"  # paste as keys, wrap lines, report no resize
    "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l\x1b[?1004l"  # mouse, focus
    "\x1b[23;0t"  # the shell's title
    "\x1b[<u\x1b[?1049l\x1b[0m\x1b[?25h"  # plain keys, the shell's screen and colours, a cursor
)
STATE_BYTES = 32_768  # a message with a path or two
RESTORE_SECONDS = 5  # a terminal that takes no output for longer is left as it is
READ_BYTES = 65_536
SMALLEST_BUFFER = 1  # the system takes the least it supports
LEFT, TIMEOUT, FATAL = b"left\n", b"Timeout", b"Fatal Python error: "


class TerminalGuard:
    """Watches this process; `close` ends it.

    Args:
        screen: The descriptor that the app draws on.
    """

    def __init__(self, screen: int) -> None:
        self._state = mmap.mmap(-1, STATE_BYTES)  # shared with the guard
        self._known: dict[str, Any] = {"drawing": False, "message": "", "log": ""}
        self._save()
        attributes = _attributes()
        self._socket, other = socket.socketpair()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALLEST_BUFFER)
        self._process = _fork()
        if self._process == 0:
            self._socket.close()  # else it would never hear of the end
            _watch(other, screen, attributes, self._state)
        other.close()
        os.register_at_fork(after_in_child=self._socket.close)
        faulthandler.enable(file=self._socket.fileno())

    def note(self, **known: Any) -> None:
        """Remember what to do at the end.

        Args:
            known: ``drawing``: whether the app has the terminal; ``message``: what to print if it
                dies; ``log``: the file for the traceback.
        """
        self._known |= known
        self._save()

    def _save(self) -> None:
        told = json.dumps(self._known).encode()
        if len(told) < STATE_BYTES:
            self._state[: len(told) + 1] = told + b"\0"

    def set_deadline(self, seconds: float) -> None:
        """End this process after so long, even if a thread holds Python's lock all the time."""
        faulthandler.dump_traceback_later(seconds, exit=True, file=self._socket.fileno())

    def restore(self) -> None:
        """Restore the terminal, which this process may be unable to do, and print the message."""
        with suppress(OSError):
            self._socket.settimeout(RESTORE_SECONDS)
            self._socket.sendall(LEFT)
            self._socket.recv(1)  # nothing; it is closed once that is done

    def close(self) -> None:
        """End the guard; the interpreter has a few seconds to exit."""
        faulthandler.disable()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        faulthandler.dump_traceback_later(RESTORE_SECONDS, exit=True, file=nowhere)
        self._socket.close()
        if self._process:
            with suppress(ChildProcessError):
                os.waitpid(self._process, 0)


def _fork() -> int | None:
    """Fork; return None where there may be no more processes: the app does without a guard."""
    try:
        return os.fork()
    except OSError:
        return None


def _attributes() -> Any:
    """Return what the terminal is set to before the app."""
    if sys.__stdin__ is not None:
        with suppress(OSError, termios.error):
            return termios.tcgetattr(sys.__stdin__.fileno())
    return None


def _watch(app: socket.socket, screen: int, attributes: Any, state: mmap.mmap) -> NoReturn:
    """Wait for the end of the app, in the guard's own process."""
    try:
        os.setsid()  # a signal to the app's group, or from its terminal, ends the app alone
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            with suppress(OSError):  # those that the C library keeps for itself
                signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        app.recv(1, socket.MSG_PEEK)  # what wrote it waits until it is read
        signal.alarm(RESTORE_SECONDS)
        told = json.loads(state[:].partition(b"\0")[0])
        if told["drawing"]:
            _restore(screen, attributes)
        reason = b""
        while b"\n" not in reason and (more := app.recv(READ_BYTES)):
            reason += more
        _write(screen, visible(_farewell(reason, told)))
        if not reason.startswith(LEFT):
            _keep_traceback(reason, app, told["log"])
    finally:
        os._exit(0)


def _restore(screen: int, attributes: Any) -> None:
    now = termios.tcgetattr(screen)
    is_raw = not now[3] & termios.ISIG
    if attributes and is_raw:  # else the shell was faster, and has set it for itself
        termios.tcsetattr(screen, termios.TCSANOW, attributes)
    _write(screen, RESTORE)


def _write(screen: int, text: str) -> None:
    body = text.encode(errors="replace")
    while body:
        body = body[os.write(screen, body) :]


def _farewell(reason: bytes, told: dict[str, Any]) -> str:
    """Return what to print: nothing if the app has left as it should."""
    message = str(told["message"])
    if reason.startswith(LEFT):
        return f"{message}\n" if message else ""
    if reason.startswith(TIMEOUT):
        return f"gpt-tui could not be left in time, and was ended{message}\n"
    if reason.startswith(FATAL):
        fault = reason.partition(b"\n")[0].removeprefix(FATAL).decode(errors="replace")
        return f"gpt-tui crashed ({fault}){message}\n"
    return f"gpt-tui was killed{message}\n" if told["drawing"] else ""


def _keep_traceback(trace: bytes, app: socket.socket, log: str) -> None:
    while more := app.recv(READ_BYTES):
        trace += more
    if trace and log:
        with suppress(OSError), open_to_append(Path(log)) as file:
            file.write(trace)
