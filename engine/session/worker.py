"""The loop around a session: it reads commands between quanta, in the thread that runs it.

PyTorch is imported by the first ``Start`` or ``Open``, after the request was checked.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import sqlite3
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from msgspec import structs

from data.download import Watcher
from data.errors import Cancelled, InputError, reason_of, shortage_of_files
from data.paths import describe_os_error
from data.reading import open_regular
from engine.config.schema import config_from_dict
from engine.config.setting import Value
from engine.inspect.background import Inspector
from engine.lr_finder.background import BackgroundFinder
from engine.machine.memory import described_failure
from engine.metrics import MetricStore
from engine.program import program
from engine.protocol import (
    Command,
    EndLearningRateFinder,
    Event,
    Failed,
    FindLearningRate,
    Inspect,
    Open,
    Start,
    State,
    StateChanged,
    Status,
    Stop,
    Warned,
)
from engine.remote.client import Unreachable
from engine.remote.server import EngineServer
from engine.runs.database import Unreadable
from engine.runs.folder import LOG_FILE, RunIsTaken, RunLock, find_run, is_locked, typed_name
from engine.runs.known_text import NOWHERE_ELSE, Places, TextMissing
from engine.runs.open import RunFiles, new_run, open_run
from engine.session.attached import Attached, attach
from engine.session.elsewhere import AttachedElsewhere, Elsewhere
from engine.session.viewer import Viewer

if TYPE_CHECKING:
    from engine.session.session import Session

    AnySession = Session | Attached | Viewer

Emit = Callable[[Event], None]
ONLY_WATCHED = "nothing trains this run, and this app only watches (--watch)"
WAKE = Command()  # has the loop look for what another process told


class EngineLoop:
    """Takes commands and drives at most one session; events are emitted in the loop's thread.

    Args:
        emit: Called with each event.
        status: Until the first command is carried out.
        serves: Let other processes watch and control the run that is open here.
        elsewhere: A run of another machine, which is opened by the path of its copy.
    """

    def __init__(
        self,
        emit: Emit,
        status: Status | None = None,
        serves: bool = False,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._elsewhere = elsewhere
        self._to_owner, self._serves = emit, serves
        self._server: EngineServer | None = None
        emit = self._emit
        # each command with the number of stops before it; None ends the loop
        self._inbox: SimpleQueue[tuple[Command | None, int]] = SimpleQueue()
        self._stops = 0  # no lock: signal handlers count it up
        self._session: AnySession | None = None
        self.metrics = MetricStore()
        self.lr_finder = BackgroundFinder(emit)
        self._inspector = Inspector(emit)
        self._status = status or Status()
        self._thread: threading.Thread | None = None

    @property
    def status(self) -> Status:
        session = self._session  # read once: another thread may ask while it closes
        return session.status if session else self._status

    def send(self, command: Command) -> None:
        """Queue a command; safe from any thread and from signal handlers."""
        if isinstance(command, Stop):
            self._stops += 1  # cancels what is being prepared or downloaded
        self._inbox.put((command, self._stops))

    def end(self) -> None:
        """End the loop after the commands sent so far."""
        self._stops += 1
        self._inbox.put((None, self._stops))

    @property
    def has_controller(self) -> bool:
        """Whether a client from another process can resume the run."""
        return bool(self._server and self._server.has_controller)

    def _emit(self, event: Event) -> None:
        if not (self._server and self._server.hear(event)):
            self._to_owner(event)

    def start(self) -> None:
        self._thread = threading.Thread(target=self.run, name="engine", daemon=True)
        self._thread.start()

    def join(self, seconds: float) -> bool:
        """End the loop and wait for its thread; return whether it ended in time."""
        assert self._thread
        self.end()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def run(self) -> None:
        """Carry out commands until ``end``; block while there is nothing to do."""
        idle = True
        while True:
            try:
                timeout = self._session.poll_interval if self._session else None
                command, stops = self._inbox.get(block=idle, timeout=timeout)
            except Empty:
                idle = not self._advance()
                continue
            if command is None:
                self._close(save=True)
                return
            self._carry_out(command, stops)
            idle = self._session is None and not (
                self.lr_finder.under_way or self._inspector.under_way
            )

    def _carry_out(self, command: Command, stops: int) -> None:
        self.lr_finder.end(command)
        if isinstance(command, EndLearningRateFinder) or command is WAKE:
            return
        if isinstance(command, FindLearningRate):
            self.lr_finder.begin(command, self.status.state, lambda: not self._inbox.empty())
        elif isinstance(command, Open) and self._is_restarting(command):
            self._emit(
                command.refused("all processes of this run are started again: wait a moment")
            )
        elif isinstance(command, Start | Open):
            if self._session:
                self._close(save=True)
            self._open(command, cancelled=lambda: self._stops > stops)
        elif isinstance(command, Stop):
            self._close(command.save, command.request_id)
        elif isinstance(command, Inspect):
            self._inspector.ask(command)
        elif self._session is None:
            self._emit(command.refused("there is no run open: start one first"))
        else:
            self._guard(lambda session: session.handle(command))

    def _is_restarting(self, command: Open) -> bool:
        session = self._session
        return (
            isinstance(session, Attached) and session.restarts and command.run == str(session.path)
        )

    def _advance(self) -> bool:
        asked = self._inspector.questions()
        for command in asked:
            self._inspect(command)
        if self.lr_finder.under_way:
            self.lr_finder.advance()
            return True
        worked = bool(self._session and self._guard(lambda session: session.advance()))
        return self._inspector.advance(beside_training=worked) or worked or bool(asked)

    def _inspect(self, command: Inspect) -> None:
        session = self._session
        if isinstance(session, Attached) and session.looks_inside(command):
            session.handle(command)
        elif session is None or isinstance(session, Viewer | Attached):
            path = session.path if session else None
            self._inspector.begin(command, None, path)
        else:
            own = session
            if subject := self._guard(lambda _: own.subject):
                self._inspector.begin(command, subject, own.files.path)

    def _guard(self, work: Callable[[AnySession], Any], request_id: int = 0) -> Any:
        """Call the session; a failure ends the session, never the loop."""
        assert self._session is not None
        try:
            return work(self._session)
        except Exception as error:  # reported to the user; the app continues
            self._fail(error, request_id)
            return False

    # -- sessions --------------------------------------------------------------------------------

    def _open(self, command: Start | Open, cancelled: Callable[[], bool]) -> None:
        watcher = Watcher(self._report, cancelled)
        files = None
        try:
            try:
                if self._elsewhere and self._elsewhere.is_asked_for(command):
                    self._session = self._attach_elsewhere(self._elsewhere)
                elif _only_watches(command):
                    raise InputError(ONLY_WATCHED)
                else:
                    files = _open_files(command, watcher)
                    if cancelled():
                        raise Cancelled
                    self._session = self._build_session(files, command, cancelled)
            except Unreachable:
                raise
            except InputError as error:
                if not (isinstance(command, Open) and command.watch):
                    raise
                if files:
                    files.discard()
                    files = None
                self._session = self._taken(command, error)
        except (InputError, Cancelled) as error:
            if files:
                files.discard()
            self._status = Status()
            message = "cancelled" if isinstance(error, Cancelled) else str(error)
            self._emit(command.refused(message))
            self._emit(StateChanged(State.IDLE))
        except Exception as error:
            if files:
                files.discard()
            self._fail(error, command.request_id)
        else:
            running, id = isinstance(command, Start) or command.running, command.request_id
            if self._serves and not isinstance(self._session, Viewer | Attached):
                self._serve(files.path)  # type: ignore[union-attr]
            self._guard(lambda session: session.open(running, id), id)

    def _serve(self, run: Path) -> None:
        try:
            self._server = EngineServer(self, run)
        except (InputError, OSError) as error:
            why = str(error) if isinstance(error, InputError) else describe_os_error(error)
            self._emit(Warned(f"other programs cannot attach to this run: {why}"))

    def _taken(self, command: Open, why: InputError) -> Attached | Viewer:
        """Return a run that cannot be trained here: controlled where it is, or read-only.

        Raises:
            InputError: It cannot be read, either.
        """
        if not isinstance(why, RunIsTaken):
            return self._viewer(command, why)
        metrics, run = MetricStore(), find_run(command.run)
        try:
            attached = attach(run, metrics, self._emit, self._wake, command.role)
        except (InputError, OSError, ValueError, sqlite3.Error):
            raise why from None
        self.metrics = metrics
        return attached

    def _attach_elsewhere(self, elsewhere: Elsewhere) -> Attached:
        metrics = MetricStore()
        attached = AttachedElsewhere(elsewhere, metrics, self._emit, self._wake)
        self.metrics = metrics
        return attached

    def _wake(self) -> None:
        self._inbox.put((WAKE, self._stops))

    def _viewer(self, command: Open, why: InputError) -> Viewer:
        """Return a view of a run that cannot be trained here.

        Raises:
            InputError: It cannot be read, either.
        """
        metrics = MetricStore()
        shown = (isinstance(why, TextMissing) and why.in_app) or why
        try:
            viewer = Viewer(find_run(command.run), metrics, self._emit, shown)
        except (InputError, OSError, ValueError, sqlite3.Error):
            raise why from None
        self.metrics = metrics
        return viewer

    def _build_session(
        self, files: RunFiles, command: Start | Open, cancelled: Callable[[], bool]
    ) -> Session:
        self._report("loading PyTorch")
        from engine.session.session import Session

        self.metrics = MetricStore()
        changes = command.changes if isinstance(command, Open) else {}
        pruning_rule = command.pruning_rule

        def report(message: str) -> None:
            if cancelled():
                raise Cancelled
            self._report(message)

        return Session(files, self.metrics, self._emit, report, changes, pruning_rule)

    def _close(self, save: bool, request_id: int = 0) -> None:
        session = self._session
        self._inspector.stop()
        if session is None:
            state, step = self._status.state, self._status.step
            self._emit(StateChanged(state, step, request_id=request_id))
            return
        try:
            session.close(save, request_id)
        except Exception as error:
            self._fail(error)
        else:
            self._status, self._session = session.status, None
        finally:
            self._end_server()

    def _end_server(self) -> None:
        if self._server:
            self._server.close()
            self._server = None

    def _report(self, message: str) -> None:
        self._status = Status(State.PREPARING, message)
        self._emit(StateChanged(State.PREPARING, message=message))

    def _fail(self, error: Exception, request_id: int = 0) -> None:
        session, self._session = self._session, None
        expected = isinstance(error, InputError)  # its sentence says all
        detail = "" if expected else "".join(traceback.format_exception(error))
        status = session.status if session else Status()
        self._status = structs.replace(status, state=State.FAILED, message="")
        if session and not isinstance(session, Viewer | Attached):
            log_file = session.files.path / LOG_FILE
            with suppress(OSError):
                appending = os.O_WRONLY | os.O_CREAT | os.O_APPEND
                if detail:
                    with open(open_regular(log_file, appending), "ab") as log:
                        log.write(detail.encode(errors="backslashreplace"))
            self._close_after_failure(session, _described(error, session))
        self._emit(Failed(_described(error, session), detail, request_id=request_id))
        self._emit(StateChanged(State.FAILED, self._status.step))
        self._end_server()

    def _close_after_failure(self, session: Session, why: str) -> None:
        """Close metrics and journal after a failure; no checkpoint is written."""
        try:
            session.outlet.state = State.FAILED
            session.close(save=False)
        except Exception as error:
            again = _described(error, session)
            if again != why:  # once a GPU has failed, it fails at everything
                self._emit(Warned(f"the run could not be closed in order: {again}"))


def _only_watches(command: Start | Open) -> bool:
    """Return whether a run is not to be trained by whoever opens it."""
    watches = isinstance(command, Open) and command.role == "watch"
    return watches and not is_locked(find_run(command.run))  # type: ignore[union-attr]


def _open_files(command: Start | Open, watcher: Watcher) -> RunFiles:
    try:
        return _new_or_existing(command, watcher)
    except OSError as error:
        if error.filename is None:
            raise
        raise InputError(describe_os_error(error)) from None


def _new_or_existing(command: Start | Open, watcher: Watcher) -> RunFiles:
    if isinstance(command, Start):
        config = config_from_dict(command.config)
        runs_dir = Path(command.runs_dir)
        return new_run(config, runs_dir, command.name, command.command_line, watcher, command.like)
    places = Places(command.data, command.val)
    return open_or_restore(find_run(command.run), watcher, places, command.changes)


def open_or_restore(
    path: Path,
    watcher: Watcher,
    places: Places = NOWHERE_ELSE,
    changes: Mapping[str, Value] | None = None,
) -> RunFiles:
    """Open an existing run, after restoring its database if that is damaged.

    Raises:
        InputError: Another program writes it, it cannot be restored, or its text has changed.
    """
    try:
        return open_run(path, watcher, places, changes)
    except Unreadable as error:
        if not error.is_restorable:
            raise
    watcher.report("restoring the run's database")
    from engine.checkpoint.restore_database import restore_database  # imports PyTorch
    from engine.checkpoint.store import tidy_checkpoints

    told: list[str] = []
    lock = RunLock(path)
    try:
        tidy_checkpoints(path)
        restore_database(path, told.append)
    except OSError as error:
        raise InputError(
            f"the database of the run {path.name!r} is damaged, and cannot be restored "
            f"({reason_of(error)}): make room, or allow writing in {path}"
        ) from None
    finally:
        lock.release()
    files = open_run(path, watcher, places, changes)
    return dataclasses.replace(files, told=(*told, *files.told))


def _described(error: Exception, session: AnySession | None) -> str:
    if isinstance(error, InputError):
        return str(error)
    if failure := described_failure(error) or shortage_of_files(error):
        return failure
    told = str(error).lower()
    if "database is locked" in told:
        return "another program holds the run's database: close it there and open the run again"
    if "disk image is malformed" in told:
        elsewhere = isinstance(session, Viewer | Attached)
        path = session.path if elsewhere else session and session.files.path  # type: ignore[union-attr]
        run = typed_name(path) if path else "RUN"
        return f"the run's database is damaged: {program()} verify {run} --repair restores it"
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or "disk is full" in told:  # the latter is SQLite's
        return "the disk is full: make room and open the run again; its checkpoints are whole"
    if isinstance(error, OSError) and error.filename:
        return describe_os_error(error)
    return f"the engine failed: {type(error).__name__}: {error}"
