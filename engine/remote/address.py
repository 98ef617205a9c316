"""Where the socket of an engine is, and who may use it.

Sockets are in a private folder, not in the run's: a path may have 107 bytes only, and network
folders refuse sockets. The run's folder says where, on which machine and of which process.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import socket
import stat
import struct
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from data.errors import InputError
from data.files import write_atomically
from data.reading import convert, parse_json, read_regular
from engine.remote.wire import PROTOCOL, encode

RECORD_FILE = "engine.json"
LONGEST_PATH = 103  # bytes, on macOS; Linux has 107


class Address(Struct, frozen=True):
    """What the run's folder says about the process that trains it."""

    host: str
    pid: int
    socket: str
    protocol: int = PROTOCOL


def host_name() -> str:
    return socket.gethostname()


def who_am_i() -> str:
    """Return user, machine and process, as others are told."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in containers
        user = str(os.getuid())
    return f"{user}@{host_name()} (process {os.getpid()})"


def sockets_folder() -> Path:
    """Return the private folder for sockets, and make it if need be.

    Raises:
        InputError: It cannot be made, or is not private.
    """
    place = os.environ.get("XDG_RUNTIME_DIR", "")
    shared = Path(tempfile.gettempdir(), f"gpt-tui-{os.getuid()}")
    folder = Path(place, "gpt-tui") if place and _is_private(Path(place)) else shared
    with suppress(OSError):
        folder.mkdir(mode=0o700)
    if not _is_private(folder):
        raise InputError(
            f"{folder} is not a private folder of yours, so that runs cannot be attached to: "
            f"remove it, or name another one in XDG_RUNTIME_DIR"
        )
    return folder


def _is_private(folder: Path) -> bool:
    try:
        there = os.lstat(folder)
    except OSError:
        return False
    private = not stat.S_IMODE(there.st_mode) & 0o077
    return stat.S_ISDIR(there.st_mode) and there.st_uid == os.getuid() and private


def socket_of(run: Path) -> Path:
    """Return the path of the socket for a run.

    Raises:
        InputError: As ``sockets_folder``; or the path is too long for a socket.
    """
    name = hashlib.sha256(os.path.realpath(run).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    path = sockets_folder() / f"{name}.sock"
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise InputError(
            f"the path of the folder for sockets, {path.parent}, is too long: name a shorter one "
            f"in XDG_RUNTIME_DIR"
        )
    return path


def listen(path: Path) -> socket.socket:
    """Bind a socket that only its owner may use, in place of one that a killed program left.

    Raises:
        OSError: It cannot be made.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with suppress(FileNotFoundError):
        path.unlink()  # the run is locked by this process: nobody else listens there
    before = os.umask(0o177)
    try:
        made.bind(str(path))
    finally:
        os.umask(before)
    made.listen(16)
    return made


def is_own(connection: socket.socket) -> bool:
    """Return whether the other end belongs to this user; the folder is private in any case."""
    if not sys.platform.startswith("linux"):
        return True
    size = struct.calcsize("3i")
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    _, user, _ = struct.unpack("3i", told)
    return user in (os.getuid(), 0)


def write_address(run: Path, path: Path) -> None:
    """Note in the run's folder where its engine can be reached."""
    told = Address(host_name(), os.getpid(), str(path))
    write_atomically(run / RECORD_FILE, encode(told))


def read_address(run: Path) -> Address | None:
    """Return where the engine of a run can be reached; None if that is not told."""
    try:
        body = read_regular(run / RECORD_FILE, 4096)
        return convert(parse_json(body), Address, RECORD_FILE)
    except (OSError, ValueError, InputError):
        return None


def remove_address(run: Path, path: Path) -> None:
    """Remove the socket and what the run's folder says about it."""
    for one in (path, run / RECORD_FILE):
        with suppress(OSError):
            one.unlink()
