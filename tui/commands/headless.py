"""Training without a screen: runs the engine in the main thread, and prints its progress."""

from __future__ import annotations

import os
import shutil
import signal
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import TextIO

from data.errors import InputError, on_one_line
from data.program import named
from engine.distributed.environment import started_processes
from engine.protocol import (
    Advised,
    Evaluated,
    Event,
    Failed,
    Fork,
    Forked,
    Inspected,
    Open,
    Refused,
    RunOpened,
    Save,
    Start,
    State,
    StateChanged,
    Status,
    Stop,
    Warned,
)
from engine.remote.wire import encode
from engine.runs.folder import DATABASE_FILE, LOG_FILE
from engine.session.worker import EngineLoop
from tui import EXIT_DONE, EXIT_FAILED, EXIT_SIGNAL
from tui.terminal.signals import (
    Handler,
    ending_signals,
    handle,
    hears_ctrl_c,
    name_of,
    saving_signals,
)
from tui.terminal.stdout import silence
from tui.terminal.visible import Control, visible, visible_line
from tui.text.notices import format_advice
from tui.text.numbers import (
    format_amount,
    format_duration,
    format_loss,
    format_next_save,
    format_path,
    format_step_share,
)
from tui.text.tables import format_threads

STDERR = 2
BY_SIGNAL = 1  # the id of requests that a signal makes
TERMINAL_SECONDS, PLAIN_SECONDS = 0.25, 5.0  # between two lines of progress
CLEAR_LINE = "\r\x1b[K"


@dataclass(frozen=True)
class Outcome:
    """The exit code, the run if there is one, and why the engine gave up."""

    code: int
    run: Path | None
    problem: str = ""


def train(
    command: Start | Open,
    stream: TextIO,
    events: TextIO | None = None,
    opened: Callable[[Path], None] | None = None,
) -> Outcome:
    """Train until the run is finished or a signal stops it.

    Args:
        command: Starts a new run, or opens one.
        stream: Where to print the progress.
        events: Where to write each event of the engine, as a line of JSON.
        opened: Called with the run once it is open.

    Raises:
        InputError: The engine refused the command; no run was created.
    """
    return _Headless(stream, events, opened).train(command)


class _Headless:
    """Trains one run; events arrive in the thread that trains."""

    def __init__(
        self, stream: TextIO, events: TextIO | None, opened: Callable[[Path], None] | None
    ) -> None:
        self._events, self._opened = events, opened
        self._loop = EngineLoop(self._hear, serves=True)
        self._progress = Progress(stream, lambda: self._loop.status)
        self._run: Path | None = None
        self._signalled = self._stopped = False
        self._refused: str | None = None
        self._failed = False
        self._ending = ""
        self._problem = ""  # the last warning or error

    def train(self, command: Start | Open) -> Outcome:
        self._loop.send(command)
        # of several processes the launcher hears the signals, and ends all of them
        saving = saving_signals() if started_processes() == 1 else []
        ending = [one for one in ending_signals() if one not in saving]
        with _handling(ending, self._stop), _handling(saving, self._save), self._progress:
            self._loop.run()
            if self._refused is not None and not self._signalled:
                raise InputError(*self._refused.splitlines())
            run = self._run or (Path(command.run) if isinstance(command, Open) else None)
            return Outcome(self._exit_code(), run, self._problem if self._failed else "")

    def _exit_code(self) -> int:
        status = self._loop.status
        if self._failed:
            return EXIT_FAILED
        if status.state is State.FINISHED or self._stopped:
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
        name = name_of(number)
        _write_to_stderr(f"\n{name}: {'still saving' if again else 'saving the run'} …\n")

    def _save(self, number: int, _: FrameType | None) -> None:
        """Save and go on."""
        self._loop.send(Save(request_id=BY_SIGNAL))
        _write_to_stderr(f"\n{name_of(number)}: saving the run, and training on …\n")

    # -- events ----------------------------------------------------------------------------------

    def _hear(self, event: Event) -> None:
        if self._events and not isinstance(event, Inspected):
            self._write_event(event)
        match event:
            case StateChanged(state=State.PREPARING):
                self._progress.prepare(event.message)
            case StateChanged(state=State.FINISHED):
                self._say_why(event.message)
                self._loop.end()
            case StateChanged(state=State.PAUSED):
                if not (event.request_id or self._loop.has_controller):
                    self._give_up()
            case StateChanged(state=State.STOPPED) if event.request_id:  # by another process
                self._stopped = True
                self._loop.end()
            case RunOpened():
                self._run = Path(event.path)
                if self._opened:
                    opened, self._opened = self._opened, None
                    opened(self._run)
                self._progress.say(_introduction(event))
            case Evaluated():
                self._progress.say(_evaluation(event, self._loop.status.total_steps))
            case Advised():
                self._hear_advice(event)
            case Warned():
                if event.message != self._problem:  # a folder that is gone is noticed twice
                    self._problem = event.message
                    self._progress.say(f"gpt-tui: {on_one_line(event.message)}")
            case Forked():
                self._run = Path(event.path)
                self._progress.say(f"what was trained is kept in the new run {self._run}")
            case Refused(command="Fork"):
                self._progress.say(f"gpt-tui: it cannot be kept: {on_one_line(event.message)}")
            case Refused() if not event.request_id:  # else another process is told
                self._refused = event.message
                self._loop.end()
            case Failed():
                self._fail(event)

    def _write_event(self, event: Event) -> None:
        """Write a line; if nobody reads it any more, save the run and end, as for a signal."""
        assert self._events
        try:
            self._events.write(encode(event).decode())
            self._events.flush()
        except OSError:
            silence(self._events)
            self._events = None
            self._stopped = True
            self._progress.say("gpt-tui: nobody reads the events any more: saving the run")
            self._loop.send(Stop(save=True))
            self._loop.end()

    def _say_why(self, ending: str) -> None:
        """Print why the run ended; closing it repeats the event."""
        if ending != self._ending:
            self._ending = ending
            self._progress.say(ending)

    def _hear_advice(self, event: Advised) -> None:
        assert self._run
        if event.pauses:
            self._problem = event.message
        self._progress.say(format_advice(event, self._run, in_background=not hears_ctrl_c()))

    def _give_up(self) -> None:
        """Stop, as the engine paused because of a problem, and there is no user to resume it.

        What a run without its folder holds in memory goes into a fork: nobody is asked here, and it
        may be all that is left.
        """
        is_first, self._failed = not self._failed, True
        if is_first and self._run and not (self._run / DATABASE_FILE).exists():
            self._loop.send(Fork())
        self._loop.send(Stop(save=True))
        self._loop.end()

    def _fail(self, event: Failed) -> None:
        self._failed, self._problem = True, event.message
        where = ""
        if self._run and event.detail:
            where = f" (details: {format_path(self._run / LOG_FILE)})"
        self._progress.say(f"gpt-tui: {event.message}{where}")
        self._loop.end()


def _introduction(run: RunOpened) -> str:
    runtime = run.runtime
    threads = format_threads(runtime["threads"], runtime["processes"], runtime["shard"])
    own = ", native kernels" if runtime["kernels"] == "native" else ""
    lines = [
        f"run {named(Path(run.path).name)} in {format_path(run.path)}",
        _broken_at_words(
            f"{format_amount(run.parameters)} parameters on {run.corpus}, {runtime['device']}, "
            f"{runtime['precision']}, {threads}{own}, "
            f"from step {run.step:,} to {run.total_steps:,}"
        ),
    ]
    return "\n".join([*lines, run.note] if run.note else lines)


def _broken_at_words(text: str) -> str:
    """Break a text that is longer than the terminal is wide; not for paths, which are copied."""
    if not os.isatty(STDERR):
        return text
    columns = max(20, shutil.get_terminal_size().columns)
    return "\n".join(textwrap.wrap(text, columns, break_on_hyphens=False))


def _evaluation(event: Evaluated, total_steps: int) -> str:
    best = ", the best so far" if event.best else ""
    val = f"val {format_loss(event.val_loss)} ({event.measured}){best}"
    return f"step {event.step:,}/{total_steps:,}: {val}"


@contextmanager
def _handling(numbers: list[int], handler: Handler) -> Iterator[None]:
    """Install a handler for signals that would end the process."""
    before = handle(numbers, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _write_to_stderr(text: str) -> None:
    """Write without Python's buffers, whose locks the interrupted code may hold."""
    try:
        os.write(STDERR, text.encode())
    except OSError:
        return  # the terminal is gone


# -- progress -------------------------------------------------------------------------------------


class Progress:
    """Prints the progress of a run from its own thread, so that training never waits for it.

    Args:
        stream: Where to write; if it breaks (a closed terminal), nothing more is written.
        status: Returns the current status.
    """

    def __init__(self, stream: TextIO, status: Callable[[], Status]) -> None:
        self._stream = stream
        self._status = status
        self._on_terminal = stream.isatty()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="progress", daemon=True)
        self._shown = ""  # the current text of the line that is updated in place
        self._topic = ""  # of the last preparation message
        self._last_shown = (-1, 0.0)  # the step, and how much of the next one

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        with self._lock:
            self._show("")

    def say(self, text: str) -> None:
        """Print a permanent line."""
        with self._lock:
            shown, self._shown = self._shown, ""
            self._write((CLEAR_LINE if shown else "") + visible(text) + "\n")
            self._show(shown)

    def prepare(self, message: str) -> None:
        """Print a preparation message; off a terminal, one line per topic (such as a download)."""
        topic, message = message.partition(":")[0], message.rstrip("…")
        if self._on_terminal:
            with self._lock:
                self._show(f"{message} …")
        elif topic != self._topic:
            self.say(f"{message} …")
        self._topic = topic

    def _follow(self) -> None:
        while not self._ended.wait(TERMINAL_SECONDS if self._on_terminal else PLAIN_SECONDS):
            status = self._status()
            now = status.step, status.step_share
            if status.state is State.RUNNING and now != self._last_shown:
                self._last_shown = now
                self._tell(progress_line(status))

    def _tell(self, line: str) -> None:
        if not self._on_terminal:
            self.say(line)
            return
        with self._lock:
            self._show(line)

    def _show(self, line: str) -> None:
        """Replace the line that is updated in place."""
        if not self._on_terminal or line == self._shown:
            return
        columns = shutil.get_terminal_size().columns
        self._write(CLEAR_LINE + visible_line(line)[: columns - 1])
        self._shown = line

    def _write(self, text: str) -> None:
        """Write text that is visible, and control sequences of our own."""
        try:
            self._stream.write(Control(text))
            self._stream.flush()
        except (OSError, ValueError):
            self._ended.set()  # the terminal is gone; training continues without it


def progress_line(status: Status) -> str:
    """Format a status as one line."""
    parts = [
        f"step {status.step:,}/{status.total_steps:,}{format_step_share(status.step_share)}",
        f"epoch {status.epoch:.2f}",
        f"loss {format_loss(status.train_loss)}",
        f"val {format_loss(status.val_loss)}",
        f"{format_amount(status.tokens_per_second)} tokens/s",
        f"{format_duration(status.seconds_left)} left",
    ]
    if next_save := format_next_save(status):
        parts.append(f"next save {next_save}")
    return " · ".join(parts)
