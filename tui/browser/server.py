"""Serve the app to browsers of this machine, and to nobody else.

``textual-serve`` starts a program for each page and passes its screen on. It asks nobody who they
are, so that any web page one visits could drive the app: here each request must name this server,
come from its own page and have its cookie.
"""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from textual_serve.server import Server

from tui.terminal.stdout import put

HOST = "127.0.0.1"
NAMES = ("localhost", HOST)
COOKIE = "gpt-tui"
FOLDER = Path(__file__).parent


class BrowserServer(Server):
    """Serves one command; ``address`` has the secret that lets a browser in.

    Args:
        command: Of the program that each page starts.
        port: Where to listen.
        title: Of the page.
    """

    def __init__(self, command: Sequence[str], port: int, title: str) -> None:
        super().__init__(
            shlex.join(command), HOST, port, title, f"http://{HOST}:{port}", templates_path=FOLDER
        )
        self._token = secrets.token_urlsafe(32)
        os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}  # what the page draws

    @property
    def address(self) -> str:
        return f"{self.public_url}/?token={self._token}"

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(self._guarded())
        app.router.add_get("/page.js", self._script)
        return app

    async def _script(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(FOLDER / "page.js")

    async def on_startup(self, app: web.Application) -> None:
        put(f"{self.title} is at\n  {self.address}\nCtrl-C ends the page, not the training")

    def initialize_logging(self) -> None:
        """Leave out each request."""

    def _guarded(self) -> Middleware:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if why := self._refusal(request):
                raise web.HTTPForbidden(text=why)
            if "token" in request.query:
                # not kept in the history, nor sent on to another page
                answer: web.StreamResponse = web.Response(status=303, headers={"Location": "/"})
                answer.set_cookie(COOKIE, self._token, httponly=True, samesite="Strict", path="/")
            else:
                answer = await handler(request)
            if not answer.prepared:
                answer.headers.update(self._headers())
            return answer

        return guard

    def _refusal(self, request: web.Request) -> str:
        """Return why a request is refused; empty if it is not."""
        hosts = {f"{name}:{self.port}" for name in NAMES}
        if request.host not in hosts:  # a name that somebody else lets point here
            return f"this page is at {self.public_url}"
        origin = request.headers.get("Origin")
        if origin is None:
            foreign = request.path == "/ws"  # browsers always say where a socket is opened from
        else:
            foreign = origin not in {f"http://{host}" for host in hosts}
        if foreign:
            return "this page may not be used from another one"
        given = request.query.get("token") or request.cookies.get(COOKIE, "")
        if not secrets.compare_digest(given.encode(), self._token.encode()):
            return "open the address that gpt-tui web has printed: it has a secret at its end"
        if request.path.startswith("/download/") or request.path in ("/static/", "/static"):
            return "there is nothing here"
        return ""

    def _headers(self) -> dict[str, str]:
        own = " ".join(f"ws://{name}:{self.port}" for name in NAMES)
        return {
            "Content-Security-Policy": (
                f"default-src 'self'; connect-src 'self' {own}; img-src 'self' data:; "
                f"style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
            ),
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
