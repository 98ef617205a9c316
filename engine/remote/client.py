"""A connection to the engine of another process."""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from data.errors import InputError
from engine.protocol import Event
from engine.remote.address import Address, host_name, read_address, sockets_folder, who_am_i
from engine.remote.wire import PROTOCOL, Goodbye, Hello, Update, Welcome, encode, from_engine

CONNECT_SECONDS = 5.0
WELCOME_SECONDS = 60.0  # an engine answers between two micro-batches, and a large one takes long
MOST_BYTES = 1 << 28  # of a line from an engine: millions of steps at once

Told = Welcome | Goodbye | Update | Event


class Unreachable(InputError):
    """There is no engine to talk to."""


class Connection:
    """Sends commands and collects what the engine tells, in a thread of its own.

    Args:
        wake: Called in that thread when there is something to take.

    Raises:
        Unreachable: No engine answers.
    """

    def __init__(
        self, address: Address, role: str, wake: Callable[[], None] = lambda: None
    ) -> None:
        self._wake = wake
        self._told: deque[Told | None] = deque()  # None: the connection has ended
        self._arrived = threading.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(CONNECT_SECONDS)
        try:
            self._socket.connect(address.socket)
            self._socket.sendall(encode(Hello(PROTOCOL, who_am_i(), role)))
        except OSError as error:
            self._socket.close()
            raise Unreachable(f"its engine does not answer ({error.strerror or error})") from None
        self._socket.settimeout(None)
        self.lost = ""  # why the connection has ended, if not because the engine has
        threading.Thread(target=self._listen, name="attached", daemon=True).start()

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

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _listen(self) -> None:
        try:
            with self._socket.makefile("rb") as lines:
                while line := lines.readline(MOST_BYTES):
                    self._add(from_engine(line))
        except ValueError as error:
            self.lost = f"the engine said what this version does not understand ({error})"
        except OSError:
            pass  # closed here, or the engine was killed
        self._add(None)

    def _add(self, told: Told | None) -> None:
        self._told.append(told)
        self._arrived.set()
        self._wake()


def connect(run: Path, role: str, wake: Callable[[], None] = lambda: None) -> Connection:
    """Connect to the engine that trains a run.

    Raises:
        Unreachable: It is trained on another machine, or by a program that cannot be talked to.
    """
    address = read_address(run)
    if address is None:
        raise Unreachable("the program that trains it takes no commands from others")
    if address.host != host_name():
        raise Unreachable(f"it is trained on {address.host}: attach to it there")
    return Connection(address, role, wake)


def welcomed(connection: Connection) -> Welcome:
    """Wait for the first message of an engine.

    Raises:
        Unreachable: It says nothing, or why not.
    """
    try:
        told = connection.take(WELCOME_SECONDS)
    except TimeoutError:
        told = None
    if isinstance(told, Welcome):
        return told
    connection.close()
    why = told.why if isinstance(told, Goodbye) else connection.lost or "its engine says nothing"
    raise Unreachable(why)


def found_engines() -> list[Welcome]:
    """Ask every engine of this user on this machine what it trains, by the names of the runs.

    Sockets that killed programs left are removed.
    """
    found = []
    for path in sorted(sockets_folder().glob("*.sock")):
        try:
            connection = Connection(Address(host_name(), 0, str(path)), "watch")
        except Unreachable:
            with suppress(OSError):
                path.unlink()
            continue
        with suppress(Unreachable):
            found.append(welcomed(connection))
            connection.close()
    return sorted(found, key=lambda one: one.opened.path)
