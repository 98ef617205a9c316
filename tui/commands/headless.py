"""Drives the engine in the main thread, with nobody watching but a log and the signals."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from data.errors import InputError
from engine.protocol import (
    Advised,
    Evaluated,
    Event,
    Failed,
    Open,
    Refused,
    RunOpened,
    Start,
    State,
    StateChanged,
    Stop,
    Warned,
)
from engine.runs.folder import LOG_FILE
from engine.session.worker import EngineLoop
from tui.commands import EXIT_DONE, EXIT_FAILED, EXIT_SIGNAL
from tui.commands.progress import Progress
from tui.text.advice import format_advice
from tui.text.numbers import amount, loss, short_path
from tui.text.tables import format_threads

STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STDERR = 2


@dataclass(frozen=True)
class Outcome:
    """How it ended, the run if there is one, and what the engine gave up for."""

    code: int
    run: Path | None
    problem: str = ""


def train(command: Start | Open, stream: TextIO) -> Outcome:
    """Train until the run is finished or a signal stops it.

    Args:
        command: What to begin or to open.
        stream: Takes the progress.

    Raises:
        InputError: The engine cannot do what was asked for; nothing was made.
    """
    return _Headless(stream).train(command)


class _Headless:
    """One run without a screen. Events arrive in the thread that trains."""

    def __init__(self, stream: TextIO) -> None:
        self._loop = EngineLoop(self._hear)
        self._progress = Progress(stream, lambda: self._loop.status)
        self._run: Path | None = None
        self._signalled = False
        self._refused: str | None = None
        self._failed = False
        self._ending = ""
        self._problem = ""  # the last thing there was to say

    def train(self, command: Start | Open) -> Outcome:
        self._loop.send(command)
        with _handling_signals(self._stop), self._progress:
            self._loop.run()
            if self._refused is not None and not self._signalled:
                raise InputError(*self._refused.splitlines())
            run = self._run or (Path(command.run) if isinstance(command, Open) else None)
            return Outcome(self._exit_code(), run, self._problem if self._failed else "")

    def _exit_code(self) -> int:
        status = self._loop.status
        if self._failed:
            return EXIT_FAILED
        if status.state is State.FINISHED:
            return EXIT_DONE
        is_saved = status.step == status.saved_step
        return EXIT_SIGNAL if self._signalled and is_saved else EXIT_FAILED

    # -- signals ---------------------------------------------------------------------------------

    def _stop(self, number: int, _: FrameType | None) -> None:
        """Save and stop. It may interrupt any line of Python, so it takes no lock."""
        again, self._signalled = self._signalled, True
        if not again:
            self._loop.send(Stop(save=True))
            self._loop.end()
        name = signal.Signals(number).name
        _write_to_stderr(f"\n{name}: {'still saving' if again else 'saving the run'} …\n")

    # -- events ----------------------------------------------------------------------------------

    def _hear(self, event: Event) -> None:
        match event:
            case StateChanged(state=State.PREPARING):
                self._progress.prepare(event.message)
            case StateChanged(state=State.FINISHED):
                self._say_why(event.message)
                self._loop.end()
            case StateChanged(state=State.PAUSED):
                self._give_up()
            case RunOpened():
                self._run = Path(event.path)
                self._progress.say(_introduction(event))
            case Evaluated():
                self._progress.say(_evaluation(event, self._loop.status.total_steps))
            case Advised():
                self._hear_advice(event)
            case Warned():
                self._problem = event.message
                self._progress.say(f"gpt-tui: {event.message}")
            case Refused():
                self._refused = event.message
                self._loop.end()
            case Failed():
                self._fail(event)

    def _say_why(self, ending: str) -> None:
        """Why it ended early; a finished run says so again when it is closed."""
        if ending != self._ending:
            self._ending = ending
            self._progress.say(ending)

    def _hear_advice(self, event: Advised) -> None:
        assert self._run
        if event.rewind_to is not None:
            self._problem = event.message
        self._progress.say(format_advice(event, self._run))

    def _give_up(self) -> None:
        """The engine paused of itself and said why; nobody is here to press a key."""
        self._failed = True
        self._loop.send(Stop(save=True))
        self._loop.end()

    def _fail(self, event: Failed) -> None:
        self._failed, self._problem = True, event.message
        where = f" (details: {short_path(self._run / LOG_FILE)})" if self._run else ""
        self._progress.say(f"gpt-tui: {event.message}{where}")
        self._loop.end()


def _introduction(run: RunOpened) -> str:
    runtime = run.runtime
    own = ", native kernels" if runtime["kernels"] == "native" else ""
    lines = [
        f"run {Path(run.path).name} in {short_path(run.path)}",
        f"{amount(run.parameters)} parameters on {run.corpus}, {runtime['device']}, "
        f"{runtime['precision']}, {format_threads(runtime['threads'])}{own}, "
        f"from step {run.step:,} to {run.total_steps:,}",
    ]
    return "\n".join([*lines, run.note] if run.note else lines)


def _evaluation(event: Evaluated, total_steps: int) -> str:
    best = ", the best so far" if event.best else ""
    return (
        f"step {event.step:,}/{total_steps:,}: val {loss(event.val_loss)} ({event.measured}){best}"
    )


@contextmanager
def _handling_signals(handler: Any) -> Iterator[None]:
    """Send the stopping signals to a handler; a hang-up that is ignored (nohup) stays so."""
    before = {}
    for number in STOPPING_SIGNALS:
        if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue
        before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _write_to_stderr(text: str) -> None:
    """Past Python's buffers, whose locks the interrupted code may hold."""
    try:
        os.write(STDERR, text.encode())
    except OSError:
        return  # the terminal is gone
