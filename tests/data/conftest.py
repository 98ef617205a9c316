"""A world for the tests of `data`: an empty cache, no network but a server of our own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from data import packages

Answer = Callable[[BaseHTTPRequestHandler], None]
LOCAL = ("127.0.0.1", "localhost")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder, which does not exist yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("GPT_TUI_CACHE", str(folder))
    monkeypatch.delenv("GPT_TUI_OFFLINE", raising=False)
    return folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names other than this machine's do not resolve, proxies are ignored, pip is not called."""
    resolve = socket.getaddrinfo

    def only_local(host: str, *args: Any, **options: Any) -> Any:
        if host not in LOCAL:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *args, **options)

    def no_pip_here(requirement: object, folder: Path) -> list[str]:
        raise AssertionError(f"this test must not ask pip for {requirement}")

    monkeypatch.setattr(socket, "getaddrinfo", only_local)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(packages, "pip_download_command", no_pip_here)
    monkeypatch.setattr(packages, "pip_source_command", no_pip_here)


class Server:
    """Answers every GET with `answer`, and counts them."""

    def __init__(self) -> None:
        self.answer: Answer = send(b"")
        self.requests = 0
        self.closing = threading.Event()  # lets a slow answer end with the test
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests += 1
                server.answer(self)

            def log_message(self, *args: object) -> None:
                """Says nothing: what the server sees is no part of a test's output."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}/input.txt"

    def keep_waiting(self, handler: BaseHTTPRequestHandler) -> None:
        """Answers nothing until the test is over."""
        self.closing.wait()

    def close(self) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def send(body: bytes, *, announced: int | None = None, status: int = 200) -> Answer:
    """Answers with `body`, announcing its length or another one."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body) if announced is None else announced))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()
