"""Textual's driver, whose threads and signals neither outlive the app nor hold it up.

Textual 8.2 continues the app at each SIGCONT, also while it runs (a second thread then reads the
keyboard, and leaving waits for the first one for ever) and once it has left (a traceback); and it
does so in the signal's handler, which may have interrupted the very queue it writes to.
"""

from __future__ import annotations

import os
import signal
import termios
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from functools import partial
from queue import Full
from typing import Any, ClassVar

from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver

from tui.terminal.announce import RESTORE_TITLE, SAVE_TITLE, takes_osc
from tui.terminal.guard import TerminalGuard

CLEAR = "\x1b[2J"  # tmux, enlarged meanwhile, leaves rows of the alternate screen to the shell
DRAIN_SECONDS = 10.0  # for the last output; leaving is over before, if the terminal takes none


class Mode(Enum):
    """Who has the terminal: nobody yet or the shell again, the app, or the shell for a while."""

    OFF = auto()
    DRAWING = auto()
    SUSPENDED = auto()


class TerminalDriver(LinuxDriver):
    """Draws on the terminal; suspends and continues in the event loop, and only while it draws."""

    guard: ClassVar[TerminalGuard | None] = None  # told who has the terminal
    ask_background: ClassVar[bool] = False  # once, and what it is goes to `TerminalDecoder`
    mode = Mode.OFF
    _continues = False  # a SIGCONT waits for the event loop

    def start_application_mode(self) -> None:
        """Take the terminal."""
        self.mode = Mode.DRAWING
        self._tell(drawing=True)
        super().start_application_mode()  # type: ignore[no-untyped-call]
        self.write(SAVE_TITLE)
        if self.ask_background and self.input_tty and takes_osc():
            self.write("\x1b]11;?\x1b\\")
            self.flush()
        TerminalDriver.ask_background = False

    def stop_application_mode(self) -> None:
        """Give the terminal back; a SIGCONT from now on does not take it again."""
        self.mode = Mode.OFF
        self.write(RESTORE_TITLE)
        self.write(CLEAR)
        super().stop_application_mode()

    def suspend_application_mode(self) -> None:
        """Give the terminal back for a while."""
        super().suspend_application_mode()
        self.mode = Mode.SUSPENDED

    def close(self) -> None:
        """Let the writer's thread write the rest, but not for ever."""
        writer = self._writer_thread
        if writer is not None and writer.is_alive():
            try:
                writer._queue.put(None, timeout=DRAIN_SECONDS)
            except Full:
                return  # the guard restores the terminal
            writer.join(DRAIN_SECONDS)
            if writer.is_alive():
                return
        self._tell(drawing=False)

    def disable_input(self) -> None:
        """Stop reading keys; wait for the thread that does, but not for ever."""
        reader, self._key_thread = self._key_thread, None
        if reader is None:
            return
        signal.signal(signal.SIGWINCH, signal.SIG_DFL)
        self._disable_mouse_support()
        self.exit_event.set()
        reader.join(DRAIN_SECONDS)
        self.exit_event.clear()
        with suppress(termios.error):
            termios.tcflush(self.fileno, termios.TCIFLUSH)  # keys that were not for the shell

    def _tell(self, drawing: bool) -> None:
        if self.guard:
            self.guard.note(drawing=drawing)

    # -- signals ---------------------------------------------------------------------------------

    def _sigtstp_application(self, *_: object) -> None:
        self._in_loop(self._suspend)

    def _sigcont_application(self, *_: object) -> None:
        if not self._continues:  # many at once are one, or they hold up what ends the app
            self._continues = True
            self._in_loop(self._continue)

    def _in_loop(self, work: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(work)
        except RuntimeError:  # the loop is closed, the app has left
            if work == self._suspend:
                os.kill(os.getpid(), signal.SIGSTOP)

    def _suspend(self) -> None:
        if self.mode is Mode.DRAWING and self._auto_restart:
            self.suspend_application_mode()
        os.kill(os.getpid(), signal.SIGSTOP)

    def _continue(self) -> None:
        self._continues = False
        if not self._auto_restart or self.mode is Mode.OFF:
            return
        if self.mode is Mode.DRAWING:  # stopped by SIGSTOP: the shell has used the terminal since
            self.suspend_application_mode()
        self._must_signal_resume = True  # the app draws all anew
        self.resume_application_mode()


def use_daemon_threads() -> None:
    """Have Python not wait for the thread that reads the keyboard when it exits."""
    of_textual: Any = linux_driver
    of_textual.Thread = partial(threading.Thread, daemon=True)
