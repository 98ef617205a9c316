"""A run that another process of this machine trains, as if it were trained here.

``Attached`` has the methods of ``Session``: commands go to the engine of the other process, and its
events, status and curves come from there. Closing it leaves the run in training.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from msgspec import structs

from data.errors import InputError
from engine.metrics import MetricStore
from engine.protocol import Command, Event, State, StateChanged, Status, Warned
from engine.remote.client import Connection, Told, connect, welcomed
from engine.remote.wire import Goodbye, Marks, Rows, Update, Welcome
from engine.session.viewer import Viewer


class Attached:
    """Relays between the app and the engine of another process.

    Args:
        wake: Called from another thread when ``advance`` has something to do.

    Raises:
        Unreachable: There is no engine to talk to.
    """

    poll_interval: float | None = 0.5  # of a run that has ended, which is viewed

    def __init__(
        self,
        path: Path,
        metrics: MetricStore,
        emit: Callable[[Event], None],
        wake: Callable[[], None],
        role: str = "control",
    ) -> None:
        self.path, self.metrics, self._emit = path, metrics, emit
        self._connection: Connection | None = connect(path, role, wake)
        self._welcome = welcomed(self._connection)
        self._status = self._welcome.status
        self._viewer: Viewer | None = None  # once the other process has ended

    @property
    def status(self) -> Status:
        return self._viewer.status if self._viewer else self._status

    def open(self, running: bool, request_id: int = 0) -> None:
        """Announce the run. It trains or not as it did, whatever is asked for."""
        self._announce(self._welcome, request_id)

    def _announce(self, welcome: Welcome, request_id: int = 0) -> None:
        where = f"process {welcome.pid}"
        self.metrics.clear()
        self._status = welcome.status
        self._emit(structs.replace(welcome.opened, attached=where, request_id=request_id))
        self._emit(StateChanged(self._status.state, self._status.step))
        who = f"; {welcome.controller} is in control" if welcome.controller else ""
        self._emit(
            Warned(
                f"attached to {where}, which trains this run{who}: quitting leaves it in training"
            )
        )

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
            self._connection.send(command)

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
        else:
            self._emit(told)

    def _add_rows(self, rows: Rows) -> None:
        column = self.metrics.column(rows.name)
        steps = np.frombuffer(rows.steps, "<i8").astype(np.int64)
        values = np.frombuffer(rows.values, "<f8").astype(np.float64)
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

    def _lose(self, why: str) -> None:
        """Go on as a viewer of what the other process left."""
        assert self._connection
        why = why or self._connection.lost
        self._connection.close()
        self._connection = None
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
