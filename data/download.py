"""Downloads with a timeout and cancellation.

A failure after which another source may be tried is a `DownloadError`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from data.errors import Cancelled, InputError

SILENCE_SECONDS = 3.0  # timeout of connecting, and of each read
URL_SECONDS = 15.0
POLL_SECONDS = 0.05
CHUNK_BYTES = 1 << 16
MOST_REDIRECTS = 5
AUTHORIZATION = "Authorization"
MOST_BYTES = 1 << 38  # 256 GiB
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DownloadError(Exception):
    """A download failed; the message says why.

    Attributes:
        status: What the server answered, such as 404; 0 if it did not.
        code: The name that it gave to what is wrong, as the Hugging Face hub does; else empty.
    """

    def __init__(self, problem: str, status: int = 0, code: str = "") -> None:
        super().__init__(problem)
        self.status, self.code = status, code


class NotHere(InputError):
    """Something would have to be downloaded, and that was not asked for."""


@dataclass(frozen=True)
class Watcher:
    """Callbacks of something that takes a while.

    Attributes:
        report: Called with a line on what is being done.
        cancelled: Polled about every 50 ms; true raises `Cancelled`.
        may_download: Whether it was asked for what may be downloaded.
    """

    report: Callable[[str], None] = lambda line: None
    cancelled: Callable[[], bool] = lambda: False
    may_download: bool = True

    def check_may_download(self, name: str, size: int = 0) -> None:
        """Check that something may be downloaded that is not here.

        Args:
            size: Its bytes, about; 0 if they are not known.

        Raises:
            NotHere: It may not.
        """
        if not self.may_download:
            about = f": {size / 1e6:,.1f} MB to download" if size else ""
            raise NotHere(f"{name} is not on this machine yet{about}")

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


NOBODY = Watcher()


def is_offline() -> bool:
    """Return whether GPT_TUI_OFFLINE forbids downloads."""
    return os.environ.get("GPT_TUI_OFFLINE", "") not in ("", "0")


class _Transfer(threading.Thread):
    """A request in a thread of its own, which can be abandoned.

    DNS lookups and slowly arriving headers have no timeout of their own, so that a limit on the
    whole request must be enforced from outside.

    Args:
        sink: Receives the body.
        have: Bytes of it that are there already.
        version: What the server called the version of these; empty if there are none.
        token: Tells the server, and no other, who asks; empty for nobody.
    """

    def __init__(
        self,
        url: str,
        sink: IO[bytes],
        max_bytes: int,
        silence_seconds: float,
        have: int = 0,
        version: str = "",
        token: str = "",
    ) -> None:
        super().__init__(name="download", daemon=True)
        self._token = token
        self._url, self._sink = url, sink
        self._max_bytes = max_bytes
        self._silence_seconds = silence_seconds
        self._headers = {"Range": f"bytes={have}-", "If-Range": version} if have else {}
        self.abandoned = threading.Event()
        self.received = have
        self.version = version
        self.total: int | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._receive()
        except Exception as error:
            self.error = error  # raised again in the caller's thread

    def _receive(self) -> None:
        from urllib.request import Request, build_opener  # takes 20 ms and is rarely needed

        # Not urlopen, which reads the proxy settings only once per process.
        opener = build_opener(_redirects())
        request = Request(self._url, headers=self._headers)
        if self._token:
            request.add_unredirected_header(AUTHORIZATION, f"Bearer {self._token}")
        with opener.open(request, timeout=self._silence_seconds) as answer:
            if self._headers and not self._goes_on(answer.headers.get("Content-Range", "")):
                self._sink.seek(0)
                self._sink.truncate()
                self.received = 0
            self.version = answer.headers.get("ETag", "")
            length = answer.headers.get("Content-Length", "")
            self.total = self.received + int(length) if length.isdecimal() else None
            self._check_size(self.total or 0)
            while not self.abandoned.is_set() and (chunk := answer.read1(CHUNK_BYTES)):
                self._check_size(self.received + len(chunk))
                self._sink.write(chunk)
                self.received += len(chunk)

    def _goes_on(self, content_range: str) -> bool:
        return content_range.startswith(f"bytes {self.received}-")

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise DownloadError(f"the response is longer than {self._max_bytes:,} bytes")


def _redirects() -> Any:
    from urllib.request import HTTPRedirectHandler

    class Redirects(HTTPRedirectHandler):
        """Follows a few, to other addresses of the web alone."""

        max_redirections = MOST_REDIRECTS

        def redirect_request(
            self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str
        ) -> Any:
            if not newurl.lower().startswith(("http://", "https://")):
                raise DownloadError(f"the server redirects to {newurl[:60]}, which is not the web")
            found = super().redirect_request(req, fp, code, msg, headers, newurl)
            token = req.unredirected_hdrs.get(AUTHORIZATION)
            if found and token and _origin(newurl) == _origin(req.full_url):
                found.add_unredirected_header(AUTHORIZATION, token)
            return found

    return Redirects()


def _origin(url: str) -> tuple[str, str]:
    """Return the server of an address, and whether the way to it is safe."""
    from urllib.parse import urlsplit

    parts = urlsplit(url.lower())
    return parts.scheme, parts.netloc


def fetch_url(
    url: str,
    watcher: Watcher,
    *,
    max_bytes: int,
    token: str = "",
    silence_seconds: float = SILENCE_SECONDS,
    total_seconds: float = URL_SECONDS,
) -> bytes:
    """Download a URL, with the environment's proxies and certificates.

    Args:
        max_bytes: A longer response is an error, before it fills the memory.
        token: See ``_Transfer``.
        silence_seconds: Timeout of connecting, and of each read.
        total_seconds: Timeout of the whole download, whatever the server does.

    Raises:
        Cancelled: `watcher.cancelled` returned true.
        DownloadError: No response, an incomplete or too long one, or an HTTP error.
    """
    body = io.BytesIO()
    transfer = _Transfer(url, body, max_bytes, silence_seconds, token=token)
    _receive(transfer, watcher, total_seconds, math.inf)
    return body.getvalue()


def fetch_file(
    url: str,
    path: Path,
    watcher: Watcher,
    *,
    max_bytes: int = MOST_BYTES,
    sha256: str = "",
    token: str = "",
    stall_seconds: float = URL_SECONDS,
) -> None:
    """Download a URL to a file, or go on where an earlier download was cut.

    What has arrived is kept beside it (``.part``) until all of it has.

    Args:
        max_bytes: A longer response is an error.
        sha256: Of the whole file; empty if it is not known.
        token: See ``_Transfer``.
        stall_seconds: Without any byte, whatever the server does.

    Raises:
        Cancelled: `watcher.cancelled` returned true.
        DownloadError: No response, an incomplete, too long or wrong one, or an HTTP error.
        OSError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part, noted = (path.with_name(f"{path.name}{end}") for end in (".part", ".version"))
    with part.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DownloadError("another program is downloading it") from None
        version = noted.read_text("utf-8") if noted.exists() else ""
        if not version:
            file.truncate(0)
        have = file.seek(0, os.SEEK_END)
        transfer = _Transfer(url, file, max_bytes, SILENCE_SECONDS, have, version, token)
        try:
            _receive(transfer, watcher, math.inf, stall_seconds)
        except BaseException as error:
            noted.write_text(transfer.version, "utf-8")  # with none, the next begins anew
            if isinstance(error, OSError) or not transfer.received:
                part.unlink(missing_ok=True)
                noted.unlink(missing_ok=True)
            raise
        file.flush()
        noted.unlink(missing_ok=True)
        if sha256 and _sha256_of(part, watcher) != sha256:
            part.unlink()
            raise DownloadError(f"the {transfer.received:,} bytes received have a different hash")
        os.fsync(file.fileno())
        part.replace(path)


def _sha256_of(path: Path, watcher: Watcher) -> str:
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            if watcher.cancelled():
                raise Cancelled
            sha.update(chunk)
    return sha.hexdigest()


def _receive(
    transfer: _Transfer, watcher: Watcher, total_seconds: float, stall_seconds: float
) -> None:
    """Wait for a transfer.

    Raises:
        Cancelled: `watcher.cancelled` returned true.
        DownloadError: It failed, took too long, stalled, or ended too early.
        OSError: Its file cannot be written.
    """
    transfer.start()
    received, since = transfer.received, time.monotonic()
    try:
        for _ in watcher.ticks(total_seconds):
            transfer.join(POLL_SECONDS)
            if not transfer.is_alive():
                watcher.progress(transfer.received, transfer.total)
                break
            if transfer.received != received:
                received, since = transfer.received, time.monotonic()
                watcher.progress(received, transfer.total)
            if time.monotonic() - since > stall_seconds:
                raise DownloadError(f"nothing arrived for {stall_seconds:g} seconds")
    finally:
        transfer.abandoned.set()
    if transfer.error is not None:
        raise _as_download_error(transfer.error) from transfer.error
    if transfer.total is not None and transfer.received < transfer.total:
        raise DownloadError(
            f"the connection ended after {transfer.received:,} of {transfer.total:,} bytes"
        )


def _as_download_error(error: Exception) -> Exception:
    """Convert a network error to a `DownloadError` of one line; return other errors unchanged."""
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError

    if isinstance(error, HTTPError):
        error.close()
        said = f"the server answered {error.code} {error.reason}"
        return DownloadError(said, error.code, error.headers.get("X-Error-Code", ""))
    if isinstance(error, URLError) and isinstance(error.reason, Exception):
        return _as_download_error(error.reason)
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return error  # of the file
    if isinstance(error, OSError):
        return DownloadError(error.strerror or str(error) or type(error).__name__)
    if isinstance(error, HTTPException | ValueError):  # ValueError: a malformed proxy setting
        return DownloadError(str(error) or type(error).__name__)
    return error
