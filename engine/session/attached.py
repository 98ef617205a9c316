"""A run that another process of this machine trains, as if it were trained here.

``Attached`` has the methods of ``Session``: commands go to the engine of the other process, and its
events, status and curves come from there. Closing it leaves the run in training.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from msgspec import structs

from data.errors import InputError
from engine.inspect.background import NOW
from engine.metrics import MetricStore
from engine.protocol import Command, Event, Inspect, RunOpened, State, StateChanged, Status, Warned
from engine.remote.client import Connection, connect, welcomed
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
from engine.session.viewer import Viewer


def attach(
    run: Path,
    metrics: MetricStore,
    emit: Callable[[Event], None],
    wake: Callable[[], None],
    role: str = "control",
) -> Attached:
    """Attach to the process of this machine that trains a run.

    Args:
        wake: Called from another thread when ``advance`` has something to do.

    Raises:
        Unreachable: There is no engine to talk to.
    """
    connection = connect(run, role, wake)
    return Attached(run, metrics, emit, connection, welcomed(connection))


class Attached:
    """Relays between the app and the engine of another process."""

    poll_interval: float | None = 0.5  # of a run that has ended, which is viewed

    def __init__(
        self,
        path: Path,
        metrics: MetricStore,
        emit: Callable[[Event], None],
        connection: Connection,
        welcome: Welcome,
    ) -> None:
        self.path, self.metrics, self._emit = path, metrics, emit
        self._connection: Connection | None = connection
        self._welcome = welcome
        self._status = welcome.status
        self._unanswered: dict[int, Command] = {}  # by the ids of the requests
        self._viewer: Viewer | None = None  # once the other process has ended

    @property
    def status(self) -> Status:
        return self._viewer.status if self._viewer else self._status

    def open(self, running: bool, request_id: int = 0) -> None:
        """Announce the run. It trains or not as it did, whatever is asked for."""
        self._announce(self._welcome, request_id)

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
            return self._viewer.advance()
        while self._connection:
            try:
                told = self._connection.take()
            except TimeoutError:
                break
            self._take_in(told)
        return False

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
        self._status = dataclasses.replace(self.status, state=State.STOPPED, message="")
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
            self._lose(told.why if told else "")
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

    def _lose(self, why: str) -> None:
        """Go on as a viewer of what the other process left."""
        assert self._connection
        why = why or self._connection.lost
        self._hang_up(why or "the process that trained this run has ended before it answered")
        if why:
            self._emit(Warned(why))
        self.metrics.clear()
        try:
            viewer = Viewer(self.path, self.metrics, self._emit)
        except (InputError, OSError, ValueError) as error:
            self._status = dataclasses.replace(self._status, state=State.STOPPED, message="")
            self._emit(StateChanged(State.STOPPED, self._status.step))
            self._emit(Warned(f"the process that trained this run has ended: {error}"))
            return
        self._viewer = viewer
        viewer.open(False)
