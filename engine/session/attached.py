"""A run that another process of this machine trains, as if it were trained here.

``Attached`` has the methods of ``Session``: commands go to the engine of the other process, and its
events, status and curves come from there. Closing it leaves the run in training.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from msgspec import structs

from data.errors import InputError
from engine.inspect.background import NOW
from engine.metrics import MetricStore
from engine.protocol import Command, Event, Inspect, RunOpened, State, StateChanged, Status, Warned
from engine.remote.client import Connection, Unreachable, connect, welcomed
from engine.remote.wire import (
    MOST_BYTES,
    Goodbye,
    Marks,
    Records,
    Rows,
    Told,
    Update,
    Welcome,
    encode,
    rows_from_bytes,
)
from engine.runs.folder import is_locked
from engine.session.viewer import Viewer

LOOK_SECONDS = 1.0  # between two looks for another process that trains the run
RESTART_SECONDS = 60.0  # until processes that were lost are taken for gone


def attach(
    run: Path,
    metrics: MetricStore,
    emit: Callable[[Event], None],
    wake: Callable[[], None],
    role: str = "control",
) -> Attached:
    """Attach to the process of this machine that trains a run; watch its folder until one can.

    Args:
        wake: Called from another thread when ``advance`` has something to do.

    Raises:
        InputError: The run is just being created, or is damaged.
    """
    again = partial(connect, run, role, wake)
    try:
        connection = again()
        welcome = welcomed(connection)
    except Unreachable:
        return Attached(run, metrics, emit, None, None, again)
    return Attached(run, metrics, emit, connection, welcome, again)


class Attached:
    """Relays between the app and the engine of another process.

    When that has ended, the run is viewed, until another process trains it.

    Args:
        connection: None has the run viewed from the beginning.
        again: Connects to the process that trains the run now.
    """

    poll_interval: float | None = 0.5  # of a run that has ended, which is viewed

    def __init__(
        self,
        path: Path,
        metrics: MetricStore,
        emit: Callable[[Event], None],
        connection: Connection | None,
        welcome: Welcome | None,
        again: Callable[[], Connection] | None = None,
    ) -> None:
        self.path, self.metrics, self._emit = path, metrics, emit
        self._connection, self._again = connection, again
        self._welcome = welcome
        self._status = welcome.status if welcome else Status(State.PREPARING)
        self._unanswered: dict[int, Command] = {}  # by the ids of the requests
        # once the other process has ended
        self._viewer = None if connection else Viewer(path, metrics, emit)
        self._look_at = 0.0  # when to look for another process that trains the run
        self._restarts_until = 0.0  # all processes of the run are started again, probably

    @property
    def status(self) -> Status:
        return self._viewer.status if self._viewer else self._status

    def open(self, running: bool, request_id: int = 0) -> None:
        """Announce the run. It trains or not as it did, whatever is asked for."""
        if self._viewer:
            self._viewer.open(running, request_id)
        elif self._welcome:
            self._announce(self._welcome, request_id)

    @property
    def restarts(self) -> bool:
        """Whether the run will be trained again in a moment, by as many processes as before."""
        return time.monotonic() < self._restarts_until

    def _announce(self, welcome: Welcome, request_id: int = 0) -> None:
        opened = self._described(welcome)
        self.metrics.clear()
        self._status = welcome.status
        self._emit(structs.replace(opened, request_id=request_id))
        self._emit(StateChanged(self._status.state, self._status.step))
        who = f"; {welcome.controller} is in control" if welcome.controller else ""
        self._emit(
            Warned(
                f"attached to {opened.attached}, which trains this run{who}: quitting leaves it in "
                f"training"
            )
        )

    def _described(self, welcome: Welcome) -> RunOpened:
        return structs.replace(welcome.opened, attached=f"process {welcome.pid}")

    def advance(self) -> bool:
        """Take in what the other process told."""
        if self._viewer:
            self._look_for_engine()
        if self._viewer:
            return self._viewer.advance()
        while self._connection:
            try:
                told = self._connection.take()
            except TimeoutError:
                break
            self._take_in(told)
        return False

    def _look_for_engine(self) -> None:
        """Attach to the process that trains the run now, if there is one."""
        now = time.monotonic()
        if self._again is None or now < self._look_at or not is_locked(self.path):
            return
        self._look_at = now + LOOK_SECONDS
        with suppress(Unreachable):
            connection = self._again()
            self._welcome = welcomed(connection)
            self._connection, self._viewer = connection, None
            self._restarts_until = 0.0
            self._announce(self._welcome)

    def handle(self, command: Command) -> None:
        if self._viewer:
            self._viewer.handle(command)
        elif self._connection:
            if command.request_id:
                self._unanswered[command.request_id] = command
            if isinstance(command, Inspect) and len(encode(command)) > MOST_BYTES:
                small = {k: one for k, one in command.options.items() if k != "like"}
                command = structs.replace(command, options=small)
            self._connection.send(command)

    def looks_inside(self, command: Inspect) -> bool:
        """Whether the other process is to answer, whose weights are those of the present step."""
        return not command.run and command.moment == NOW and bool(self._connection)

    def close(self, save: bool, request_id: int = 0) -> None:
        """Detach."""
        if self._connection:
            self._connection.close()
            self._connection = None
        self._status = structs.replace(self.status, state=State.STOPPED, message="")
        self._viewer = None
        self._emit(StateChanged(State.STOPPED, self._status.step, request_id=request_id))

    # -- what the other process tells ------------------------------------------------------------

    def _take_in(self, told: Told | None) -> None:
        if isinstance(told, Update):
            self._status = told.status
            for rows in told.rows:
                self._add_rows(rows)
            if told.marks:
                self._add_marks(told.marks)
        elif isinstance(told, Welcome):  # this process was too slow, and begins anew
            self._announce(told)
        elif told is None or isinstance(told, Goodbye):
            self._lose(told.why if told else "", crashed=told is None)
        elif not isinstance(told, Records):  # which are in the run's folder
            self._unanswered.pop(told.request_id, None)
            self._emit(told)

    def _add_rows(self, rows: Rows) -> None:
        column = self.metrics.column(rows.name)
        steps, values = rows_from_bytes(rows.steps, rows.values)
        if rows.first < len(column):  # the run went back: what it left stays as a shadow
            old_steps, old_values, _ = column.snapshot()
            left = int(steps[-1]) if len(steps) else -1
            self.metrics.add_ghost(
                rows.name, old_steps[old_steps > left], old_values[old_steps > left]
            )
            column.truncate(-1)
        self.metrics.extend(rows.name, steps, values)

    def _add_marks(self, marks: Marks) -> None:
        metrics = self.metrics
        metrics.marks, metrics.events, metrics.bests = marks.marks, marks.events, marks.bests
        metrics.references = marks.references
        metrics.version += 1

    def _hang_up(self, why: str) -> None:
        """Close the connection, and refuse what was not answered."""
        if self._connection:
            self._connection.close()
            self._connection = None
        for command in self._unanswered.values():
            self._emit(command.refused(why))
        self._unanswered.clear()

    def _lose(self, why: str, crashed: bool = False) -> None:
        """Go on as a viewer of what the other process left."""
        assert self._connection
        why = why or self._connection.lost
        self._hang_up(why or "the process that trained this run has ended before it answered")
        told = why or self._expect_restart(crashed)
        self.metrics.clear()
        try:
            viewer = Viewer(self.path, self.metrics, self._emit)
        except (InputError, OSError, ValueError) as error:
            self._status = structs.replace(self._status, state=State.STOPPED, message="")
            self._emit(StateChanged(State.STOPPED, self._status.step))
            self._emit(Warned(f"the process that trained this run has ended: {error}"))
            return
        self._viewer = viewer
        viewer.open(False)
        if told:
            self._emit(Warned(told))

    @property
    def _processes(self) -> int:
        """By how many processes the run is trained, or was."""
        assert self._welcome
        return int(self._welcome.opened.runtime.get("processes", 1))

    def _expect_restart(self, crashed: bool) -> str:
        """Return what to say of a process of several that is lost; empty if it is no such case."""
        processes = self._processes
        if not crashed or processes == 1 or self._status.state in (State.STOPPED, State.FINISHED):
            return ""
        self._restarts_until = time.monotonic() + RESTART_SECONDS
        return (
            f"a process of this run was lost: all {processes} are started again, and this app is "
            f"attached again then"
        )
