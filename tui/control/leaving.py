"""Ends the engine and then the app within a deadline, whatever thread hangs."""

from __future__ import annotations

import faulthandler
import os
import threading
from collections.abc import Callable
from contextlib import suppress

from engine.protocol import Stop
from tui import EXIT_FAILED
from tui.control.run import RunControl
from tui.terminal.guard import TerminalGuard

CLOSE_SECONDS = 60.0  # to write the last checkpoint
STAY_SECONDS = 600.0  # for what comes after the app
EXIT_SECONDS = 5.0  # for the app and the interpreter after that


class Leaving:
    """Leaves once, in a thread that waits for no other.

    Args:
        exit_app: Asks the app to exit with a code; called in the thread.
        guard: Restores the terminal of a process that does not end; None lets it hang.
        goodbye: Returns what to print about the run.
    """

    def __init__(
        self,
        control: RunControl,
        exit_app: Callable[[int], None],
        guard: TerminalGuard | None,
        goodbye: Callable[[], str],
    ) -> None:
        self.code: int | None = None  # the exit code, once the app is closing
        self._control, self._exit_app = control, exit_app
        self._guard, self.goodbye = guard, goodbye
        self._once = threading.Lock()
        self._over = threading.Event()
        self._closed = threading.Event()
        self.saved = False  # whether the engine has ended in time

    def begin(self, save: bool, code: int) -> bool:
        """Leave; return False if that has begun before."""
        if not self._once.acquire(blocking=False):
            return False
        self.code = code
        if self._guard:
            self._guard.set_deadline(CLOSE_SECONDS + 2 * EXIT_SECONDS)
        self._control.send(Stop(save))
        threading.Thread(target=self._leave, name="leaving", daemon=True).start()
        return True

    def stay(self) -> None:
        """Let the process live: the app has ended, and something is to be done after it."""
        self._over.set()
        if self._guard:
            self._guard.set_deadline(STAY_SECONDS)

    def wait(self) -> bool:
        """Wait for the engine; return whether it has ended in time."""
        self._closed.wait()
        return self.saved

    def _leave(self) -> None:
        code = EXIT_FAILED
        try:
            self.saved = self._control.end(CLOSE_SECONDS)
            if self.saved and self.code is not None:
                code = self.code
        finally:
            self.code = code
            self._closed.set()
            self._exit_app(code)
            if self._guard:
                self._end_process(self._guard, code)

    def _end_process(self, guard: TerminalGuard, code: int) -> None:
        """End the process after a while, if it is not over by then."""
        if self._over.wait(EXIT_SECONDS):
            return
        with suppress(Exception):  # nothing keeps the process alive
            faulthandler.dump_traceback(file=2)  # to the log: what hangs
            guard.note(message=self.goodbye())
            guard.restore()
        os._exit(code)
