"""A run that another machine trains, as if it were trained here: through ssh.

What the screens read of a run is a copy of its records, which is gone with the app. A link that is
lost is made again, and everything is told anew; training does not notice.
"""

from __future__ import annotations

import secrets
import shlex
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import structs

from engine.metrics import MetricStore
from engine.program import program
from engine.protocol import (
    Command,
    Event,
    Inspect,
    Open,
    Refused,
    RunOpened,
    Start,
    State,
    StateChanged,
    Warned,
)
from engine.remote.client import Connection, Dismissed, Unreachable, welcomed
from engine.remote.host import Host, asks
from engine.remote.records import RecordsCopy
from engine.remote.relay import ENDED
from engine.remote.ssh import SshConnection
from engine.remote.wire import Goodbye, Records, Told, Welcome
from engine.session.attached import Attached

FIRST_SECONDS = 120.0  # also for a person who is asked for passwords
AGAIN_SECONDS = 30.0
PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0)  # seconds between attempts; the last one stays


class Elsewhere:
    """The way to a run on another machine.

    Args:
        run: As it is named there.

    Raises:
        Unreachable: There is none, or no engine at its end.
    """

    def __init__(self, host: Host, run: str, role: str = "control") -> None:
        self.host, self.run, self.role = host, run, role
        self._token = secrets.token_hex(8)
        self._first: tuple[Connection, Welcome] | None = None
        self.copy: RecordsCopy | None = None
        self._first = self.connect(batch=False)

    @property
    def address(self) -> str:
        return f"{self.host.name}:{self.run}"

    @property
    def typed(self) -> str:
        """How the run is named after ``gpt-tui attach``."""
        return f"{self.address}{self.host.typed}"

    @property
    def folder(self) -> Path:
        """The folder with the copy of its records."""
        assert self.copy
        return self.copy.folder

    @property
    def config(self) -> dict[str, object]:
        """The settings of the run, as it was found."""
        assert self._first
        return self._first[1].opened.config

    def is_asked_for(self, command: Start | Open) -> bool:
        return isinstance(command, Open) and Path(command.run) == self.folder

    def take_first(self, wake: Callable[[], None]) -> tuple[Connection, Welcome]:
        """Return the connection that was made before the app had the terminal; later a new one."""
        found, self._first = self._first, None
        connection, welcome = found or self.connect()
        connection.wake_by(wake)
        return connection, welcome

    def connect(self, batch: bool = True) -> tuple[Connection, Welcome]:
        """Connect, and wait for the first records.

        Raises:
            Unreachable: As above.
        """
        connection = SshConnection(self.host, self.run, self.role, batch=batch, token=self._token)
        try:
            return connection, self._met(connection, AGAIN_SECONDS if batch else FIRST_SECONDS)
        except BaseException:
            connection.close()
            raise
        finally:
            connection.echoes = False

    def _met(self, connection: Connection, seconds: float) -> Welcome:
        until = time.monotonic() + seconds
        host = self.host.name
        silent = f"{host} does not answer within {seconds:.0f} s: see what 'ssh {host} true' says"
        welcome = welcomed(connection, seconds, silent)
        others: list[Told] = []
        while True:
            try:
                told = connection.take(max(0.0, until - time.monotonic()))
            except TimeoutError:
                raise Unreachable(silent) from None
            if told is None or isinstance(told, Goodbye):
                raise Dismissed(told.why) if told else Unreachable(connection.lost)
            if isinstance(told, Records):
                break
            others.append(told)
        connection.put_back(others)
        self.copy = self.copy or RecordsCopy(Path(welcome.opened.path).name)
        try:
            self.copy.begin(told)
        except (OSError, sqlite3.Error) as error:
            raise Dismissed(f"the run's records cannot be kept here ({error})") from None
        return welcome

    def close(self) -> None:
        """Remove what was kept here."""
        if self._first:
            self._first[0].close()
        if self.copy:
            self.copy.remove()


class AttachedElsewhere(Attached):
    """Relays between the app and the engine of another machine.

    Args:
        wake: Called from another thread when ``advance`` has something to do.

    Raises:
        Unreachable: There is no engine to talk to.
    """

    poll_interval: float | None = None

    def __init__(
        self,
        elsewhere: Elsewhere,
        metrics: MetricStore,
        emit: Callable[[Event], None],
        wake: Callable[[], None],
    ) -> None:
        connection, welcome = elsewhere.take_first(wake)
        super().__init__(elsewhere.folder, metrics, emit, connection, welcome)
        self._elsewhere, self._wake = elsewhere, wake
        self._attempt: _Attempt | None = None  # to make a lost link again
        self._ended = ""  # why there is nothing to send commands to

    def _described(self, welcome: Welcome) -> RunOpened:
        return structs.replace(
            welcome.opened,
            path=str(self.path),
            attached=f"process {welcome.pid} on {self._elsewhere.host.name}",
            elsewhere=self._elsewhere.address,
        )

    def advance(self) -> bool:
        if self._attempt and self._attempt.is_over:
            attempt, self._attempt = self._attempt, None
            self._take_attempt(attempt)
        return super().advance()

    def handle(self, command: Command) -> None:
        if self._connection:
            super().handle(command)
        else:
            host = self._elsewhere.host.name
            lost = f"there is no connection to {host} now: wait until it is there again"
            self._emit(command.refused(self._ended or lost))

    def looks_inside(self, command: Inspect) -> bool:
        """Whether the other machine is to answer: no weights are here."""
        return not command.run

    def close(self, save: bool, request_id: int = 0) -> None:
        if self._attempt:
            self._attempt.end()
        super().close(save, request_id)

    def _take_in(self, told: Told | None) -> None:
        if isinstance(told, Records):
            assert self._elsewhere.copy
            self._elsewhere.copy.add(told)
        elif isinstance(told, Goodbye) and (restart := self._expect_restart(told.why == ENDED)):
            self._hang_up(restart)
            self._status = structs.replace(self._status, message="starting again")
            self._emit(Warned(restart))
            self._attempt = _Attempt(self._elsewhere, self._wake, self._restarts_until)
        elif isinstance(told, Goodbye):
            self._end(told.why)
        elif isinstance(told, Refused):  # with a command that is typed there
            there = self._elsewhere
            message = told.message.replace(f"attach {there.run} ", f"attach {there.typed} ")
            super()._take_in(structs.replace(told, message=message))
        else:
            super()._take_in(told)

    def _lose(self, why: str, crashed: bool = False) -> None:
        """Make the link again."""
        assert self._connection
        why = why or self._connection.lost
        self._hang_up(why)
        host = self._elsewhere.host.name
        self._status = structs.replace(self._status, message=f"no connection to {host}")
        self._emit(Warned(f"{why}; trying again, and training goes on there"))
        self._attempt = _Attempt(self._elsewhere, self._wake)

    def _take_attempt(self, attempt: _Attempt) -> None:
        self._restarts_until = 0.0
        if attempt.found:
            self._connection, welcome = attempt.found
            self._connection.wake_by(self._wake)
            self._announce(welcome)
        else:
            self._end(attempt.why)

    def _end(self, why: str) -> None:
        there = self._elsewhere
        several = f" --procs {self._processes}" if self._processes > 1 else ""
        resumed = f"{there.host.program} train --resume {there.run}{several} --detach"
        again = f"{program()} attach {there.typed}"
        ssh = shlex.join(["ssh", *there.host.options, there.host.name])
        self._ended = f"{why}: {ssh} {resumed} trains it on, then {again}"
        if asks(why):
            self._ended = f"{why}: quit, and {again} lets you answer ssh"
        self._hang_up(self._ended)
        finished = self._status.state is State.FINISHED
        state = State.FINISHED if finished else State.STOPPED
        self._status = structs.replace(self._status, state=state, message="")
        self._emit(StateChanged(state, self._status.step))
        self._emit(Warned(self._ended))


class _Attempt:
    """Makes a link again, in a thread, for as long as that may succeed.

    Args:
        wake: Called at the end.
        until: Until then the run may be in training again, though it is not now.
    """

    def __init__(self, elsewhere: Elsewhere, wake: Callable[[], None], until: float = 0.0) -> None:
        self.found: tuple[Connection, Welcome] | None = None
        self.why = ""
        self.is_over = False
        self._elsewhere, self._wake, self._until = elsewhere, wake, until
        self._ended = threading.Event()
        threading.Thread(target=self._try, name="again", daemon=True).start()

    def end(self) -> None:
        self._ended.set()

    def _try(self) -> None:
        count = 0
        while not self._ended.wait(PAUSES[min(count, len(PAUSES) - 1)]):
            count += 1
            try:
                self.found = self._elsewhere.connect()
            except Dismissed as why:
                self.why = str(why)
                if time.monotonic() > self._until:
                    break
            except Unreachable as why:
                if asks(str(why)):
                    self.why = str(why)
                    break
            else:
                break
        if self.found and self._ended.is_set():
            self.found[0].close()
        self.is_over = True
        self._wake()
