"""``gpt-tui web``: who may use the page, and a run that is trained and controlled in a browser."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from engine.program import install_command
from tests import chromium
from tests.chromium import Chromium, until_async
from tests.cli.conftest import Cli, start_process
from tests.cli.test_background import Detach, detach
from tui.browser.server import BrowserServer

__all__ = ["detach"]
pytestmark = pytest.mark.usefixtures("sockets")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# Who may use the page


@asynccontextmanager
async def served() -> AsyncIterator[tuple[str, str]]:
    """The page of a command that ends at once: its address, and that with the secret."""
    server = BrowserServer([sys.executable, "-c", ""], free_port(), "a run")
    runner = web.AppRunner(await server._make_app())
    await runner.setup()
    await web.TCPSite(runner, server.host, server.port).start()
    try:
        yield server.public_url, server.address
    finally:
        await runner.cleanup()


async def test_the_printed_address_lets_a_browser_in_and_keeps_its_secret_in_a_cookie() -> None:
    async with served() as (url, address), aiohttp.ClientSession() as session:
        assert (await session.get(url)).status == 403
        answer = await session.get(address, allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        # aiohttp keeps no cookies of a bare address
        session.headers["Cookie"] = cookie.partition(";")[0]
        page = await session.get(url)
        assert page.status == 200 and "a run" in await page.text()
        assert "default-src 'self'" in page.headers["Content-Security-Policy"]
        assert (await session.get(f"{url}/static/js/textual.js")).status == 200
        assert (await session.get(f"{url}/page.js")).status == 200
        for hidden in ("/static/", "/server.py", "/download/x"):
            assert (await session.get(url + hidden)).status in (403, 404), hidden
        own = {"Origin": url}
        async with session.ws_connect(f"{url}/ws", headers=own) as opened:
            assert not opened.closed


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", {"Host": "evil.example"}),
        ("/", {"Host": "evil.example:80"}),
        ("/", {"Origin": "http://evil.example"}),
        ("/", {"Origin": "null"}),
        ("/ws", {"Origin": "http://evil.example"}),
        ("/ws", {"Origin": "http://localhost:1"}),
        ("/ws", {}),
        ("/", {"Cookie": "gpt-tui=guessed"}),
        ("/?token=guessed", {}),
        ("/ws", {"Cookie": "gpt-tui=guessed", "Origin": "own"}),
    ],
)
async def test_a_forged_request_is_refused(path: str, headers: dict[str, str]) -> None:
    async with served() as (url, address), aiohttp.ClientSession() as session:
        first = await session.get(address, allow_redirects=False)
        cookie = first.headers["Set-Cookie"].partition(";")[0]
        headers = {name: url if value == "own" else value for name, value in headers.items()}
        answer = await session.get(url + path, headers={"Cookie": cookie} | headers)
        assert answer.status == 403
        assert len((await answer.text()).splitlines()) == 1


# In a browser


@pytest.mark.skipif(
    chromium.PROGRAM is None, reason="Chromium is not installed (apt install chromium)"
)
async def test_a_run_is_watched_and_paused_in_chromium_and_outlives_the_page(
    cli: Cli, detach: Detach
) -> None:
    detach()
    port = free_port()
    serving = start_process("web", "a", "--port", str(port))
    try:
        assert serving.stdout
        said = ""
        while "token=" not in said:
            said += await asyncio.to_thread(serving.stdout.readline)
        address = re.findall(r"http\S+", said)[0]
        async with Chromium() as browser:
            await browser.go(address)
            shown = "document.body.classList.contains('-first-byte')"
            await until_async(lambda: browser.value(shown))
            assert await browser.value("location.href") == f"http://127.0.0.1:{port}/"
            assert await browser.value("document.cookie") == ""  # no script can read it

            async def paused() -> bool:
                await browser.press(" ")  # until the app has its keys
                await asyncio.sleep(0.5)
                answer = await asyncio.to_thread(cli, "tell", "a", "status", "--json")
                return bool(answer.json["state"] == "paused")

            await until_async(paused)
            foreign = [
                one
                for one in browser.requested
                if not one.startswith((f"http://127.0.0.1:{port}/", "chrome:", "data:"))
            ]
            assert foreign == []
        await until_async(lambda: not attached_to(serving.pid))
        assert cli("tell", "a", "resume", "--json").json["state"] == "training"
    finally:
        serving.send_signal(signal.SIGINT)
        serving.communicate(timeout=20)


def attached_to(process: int) -> list[str]:
    """The programs that a page has started, through a shell."""
    found = Path(f"/proc/{process}/task").glob("*/children")
    return [child for one in found for child in one.read_text().split()]


# What cannot be shown


def test_what_cannot_be_served_is_one_sentence(
    cli: Cli, detach: Detach, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "gpt-tui train --detach starts one" in cli("web").problem
    assert "ghost" in cli("web", "ghost").problem
    detach()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        assert "another program listens there" in cli("web", "--port", port).problem
    assert "port 99999" in cli("web", "a", "--port", "99999").problem
    monkeypatch.setitem(sys.modules, "tui.browser.server", None)
    assert install_command("web") in cli("web", "--port", str(free_port())).problem
