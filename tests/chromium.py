"""A headless Chromium, driven through its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE_SECONDS = 60.0
ALONE = [  # asks nothing of any other host
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


class Chromium:
    """One page; use it as an asynchronous context manager."""

    async def __aenter__(self) -> Chromium:
        assert PROGRAM
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        place = f"--user-data-dir={self._folder.name}"
        self._process = subprocess.Popen(
            [PROGRAM, *ALONE, place, "--remote-debugging-port=0", "--window-size=1200,800"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._http = aiohttp.ClientSession()
        told = Path(self._folder.name) / "DevToolsActivePort"
        await until_async(lambda: told.exists() and told.read_text().count("\n") >= 1)
        port = told.read_text().split("\n")[0]
        pages = await (await self._http.get(f"http://127.0.0.1:{port}/json")).json()
        (page,) = [one for one in pages if one["type"] == "page"]
        self._socket = await self._http.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0)
        self._calls = 0
        self.requested: list[str] = []  # addresses
        await self.call("Network.enable")
        await self.call("Page.enable")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._socket.close()
        await self._http.close()
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        self._calls += 1
        await self._socket.send_json({"id": self._calls, "method": method, "params": arguments})
        while True:
            told = await self._socket.receive_json(timeout=PATIENCE_SECONDS)
            if told.get("method") == "Network.requestWillBeSent":
                self.requested.append(told["params"]["request"]["url"])
            if told.get("id") == self._calls:
                assert "error" not in told, told
                found: dict[str, Any] = told["result"]
                return found

    async def go(self, address: str) -> None:
        await self.call("Page.navigate", url=address)

    async def value(self, script: str) -> Any:
        found = await self.call("Runtime.evaluate", expression=script, awaitPromise=True)
        return found["result"].get("value")

    async def press(self, key: str, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, text=text or key)

    async def click(self, x: int, y: int) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            await self.call(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1
            )

    async def picture(self) -> bytes:
        found = await self.call("Page.captureScreenshot")
        return base64.b64decode(found["data"])


async def until_async(condition: Any) -> None:
    """Wait until a condition, which may be a coroutine, holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = condition()
        if await found if asyncio.iscoroutine(found) else found:
            return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
