"""What a thread of a screen found reaches the screen only while it is there."""

from __future__ import annotations

import asyncio
import threading

import pytest
from textual.app import ComposeResult
from textual.widgets import Static

from tests.tui.conftest import Open
from tui.screens.keyed import KeyedScreen


class Child(Static):
    """Its screen is removed after it, and hears of a thread meanwhile."""

    def on_unmount(self) -> None:
        assert isinstance(self.screen, ReadingScreen)
        self.screen.call_from_worker(self.screen.take, "while it was removed")


class ReadingScreen(KeyedScreen[None]):
    """A screen whose thread reads until it is told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[str] = []
        self.go_on = threading.Event()
        self.called = threading.Event()

    def compose(self) -> ComposeResult:
        yield Child()

    def on_mount(self) -> None:
        self.run_worker(self._read, thread=True)

    def _read(self) -> None:
        self.call_from_worker(self.take, "at once")
        assert self.go_on.wait(30)
        self.call_from_worker(self.take, "late")
        self.called.set()

    def take(self, what: str) -> None:
        self.query_one(Child)  # as every screen asks for its widgets
        self.taken.append(what)


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_screen_that_was_left_hears_nothing(open_app: Open, leaves: bool) -> None:
    async with open_app() as person:
        screen = ReadingScreen()
        await person.app.push_screen(screen)
        await person.until(lambda: screen.taken, "the first of it")
        if leaves:
            await screen.dismiss()
        screen.go_on.set()
        assert await asyncio.to_thread(screen.called.wait, 30)
        await person.pilot.pause()
        assert screen.taken == ["at once"] + ["late"] * (not leaves)
