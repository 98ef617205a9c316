"""A connection to the engine of another process."""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from data.errors import InputError
from engine.remote.address import Address, host_name, read_address, sockets_folder, who_am_i
from engine.remote.wire import PROTOCOL, Goodbye, Hello, Told, Welcome, encode, from_engine

CONNECT_SECONDS = 5.0
WELCOME_SECONDS = 60.0  # an engine answers between two micro-batches, and a large one takes long
MOST_BYTES = 1 << 28  # of a line from an engine: millions of steps at once


class Unreachable(InputError):
    """There is no engine to talk to."""


class Dismissed(Unreachable):
    """The other end does not want to be talked to, or has ended: asking again is no use."""


class Connection:
    """Sends commands and collects what the engine tells, in a thread of its own.

    Args:
        channel: Connected to an engine.
        wake: Called in that thread when there is something to take.

    Raises:
        Unreachable: No engine answers.
    """

    def __init__(
        self,
        channel: socket.socket,
        role: str,
        wake: Callable[[], None] = lambda: None,
        token: str = "",
    ) -> None:
        self._socket, self._wake = channel, wake
        self._told: deque[Told | None] = deque()  # None: the connection has ended
        self._arrived = threading.Event()
        try:
            channel.sendall(encode(Hello(PROTOCOL, who_am_i(), role, token)))
        except OSError as error:
            self._fail(error)
        channel.settimeout(None)
        self.lost = ""  # why the connection has ended, if not because the engine has
        threading.Thread(target=self._listen, name="attached", daemon=True).start()

    def _fail(self, error: OSError) -> None:
        self._socket.close()
        raise unanswered(error) from None

    def wake_by(self, wake: Callable[[], None]) -> None:
        """Have another one called, at once if something has come already."""
        self._wake = wake
        if self._told:
            wake()

    def send(self, command: Struct) -> None:
        """Send a command; nothing happens if the connection has ended."""
        with suppress(OSError):
            self._socket.sendall(encode(command))

    def take(self, seconds: float = 0.0) -> Told | None:
        """Return the next message, None for the end of the connection.

        Args:
            seconds: How long to wait for one.

        Raises:
            TimeoutError: There is none.
        """
        while not self._told:
            self._arrived.clear()
            if not self._told and not self._arrived.wait(seconds):
                raise TimeoutError
        return self._told.popleft()

    def put_back(self, told: Sequence[Told]) -> None:
        """Have messages taken again, before those that have come since."""
        self._told.extendleft(reversed(told))

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _listen(self) -> None:
        try:
            with self._socket.makefile("rb") as lines:
                self._skip_noise(lines)
                while line := lines.readline(MOST_BYTES):
                    self._add(from_engine(line))
        except ValueError as error:
            self.lost = f"the engine said what this version does not understand ({error})"
        except OSError:
            pass  # closed here, or the engine was killed
        self.lost = self.lost or self._why_ended()
        self._add(None)

    def _skip_noise(self, lines: BinaryIO) -> None:
        """Skip what is not the engine's."""

    def _why_ended(self) -> str:
        """Return why nothing more comes; empty if the engine has ended."""
        return ""

    def _add(self, told: Told | None) -> None:
        self._told.append(told)
        self._arrived.set()
        self._wake()


def unanswered(error: OSError) -> Unreachable:
    return Unreachable(f"its engine does not answer ({error.strerror or error})")


def dial(address: Address) -> socket.socket:
    """Connect to the socket of an engine on this machine.

    Raises:
        Unreachable: No engine answers.
    """
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    channel.settimeout(CONNECT_SECONDS)
    try:
        channel.connect(address.socket)
    except OSError as error:
        channel.close()
        raise unanswered(error) from None
    return channel


def dial_run(run: Path) -> socket.socket:
    """Connect to the engine that trains a run.

    Raises:
        Unreachable: It is trained on another machine, or by a program that cannot be talked to.
    """
    address = read_address(run)
    if address is None:
        raise Unreachable("the program that trains it takes no commands from others")
    if address.host != host_name():
        raise Unreachable(f"it is trained on {address.host}: attach to it there")
    return dial(address)


def connect(run: Path, role: str, wake: Callable[[], None] = lambda: None) -> Connection:
    """Attach to the engine that trains a run; raises as ``dial_run``."""
    return Connection(dial_run(run), role, wake)


def welcomed(
    connection: Connection,
    seconds: float = WELCOME_SECONDS,
    silent: str = "its engine says nothing",
) -> Welcome:
    """Wait for the first message of an engine.

    Args:
        silent: The reason if it says nothing.

    Raises:
        Unreachable: It says nothing, or why not.
    """
    try:
        told = connection.take(seconds)
    except TimeoutError:
        told = None
    if isinstance(told, Welcome):
        return told
    why = connection.lost or silent  # before it is lost because it is closed
    connection.close()
    if isinstance(told, Goodbye):
        raise Dismissed(told.why)
    raise Unreachable(why)


def found_engines() -> list[Welcome]:
    """Ask every engine of this user on this machine what it trains, by the names of the runs.

    Sockets that killed programs left are removed.
    """
    found = []
    for path in sorted(sockets_folder().glob("*.sock")):
        try:
            connection = Connection(dial(Address(host_name(), 0, str(path))), "watch")
        except Unreachable:
            with suppress(OSError):
                path.unlink()
            continue
        with suppress(Unreachable):
            found.append(welcomed(connection))
            connection.close()
    return sorted(found, key=lambda one: one.opened.path)
