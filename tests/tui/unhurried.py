"""A pilot who presses the next key, and looks, when the last one's work is done.

Textual's own pilot waits until each widget has dealt with what it had been sent when the wait
began. What a widget then tells another may still be on its way, which on a busy machine is the
rule: a test that looks then sees half a footer, and a key overtakes the change of focus before it.

An app whose engine trains is never still, and each wait would be as long as a wait can be. So the
engine makes way meanwhile.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from textual.app import App
from textual.message_pump import MessagePump
from textual.pilot import Pilot

from engine.session.session import Session

MOST_ROUNDS = 30  # in an app that is never quite still
MOST_TURNS = 100
MAKE_WAY = 0.05  # seconds before each quantum; not for ever: what the pilot waits for may need it

wait_once = Pilot._wait_for_screen
press_at_once = Pilot.press
advance = Session.advance
nobody_waits = threading.Event()
nobody_waits.set()


def advance_if_nobody_waits(session: Session) -> bool:
    nobody_waits.wait(MAKE_WAY)
    return advance(session)


async def wait_for_screen(pilot: Pilot[Any], timeout: float = 30.0) -> bool:
    """Wait until nothing is on its way between widgets, and none is at work."""
    nobody_waits.clear()
    try:
        return await _until_still(pilot, timeout)
    finally:
        nobody_waits.set()


async def _until_still(pilot: Pilot[Any], timeout: float) -> bool:
    for _ in range(MOST_ROUNDS):
        pilot.app._check_resize()  # which Textual would do in 8 ms, in case there is more to come
        for _ in range(MOST_TURNS):  # cheap: the loop's other tasks have a turn each
            if not under_way(pilot.app):
                break
            await asyncio.sleep(0)
        if not await wait_once(pilot, timeout):  # dear: each widget is sent a callback
            return False
        if not under_way(pilot.app):
            break
    return True


async def press(pilot: Pilot[Any], *keys: str) -> None:
    for key in keys:
        await press_at_once(pilot, key)


def under_way(app: App[Any]) -> bool:
    pumps: list[MessagePump] = [app]
    if app.screen_stack:
        pumps += app.screen.walk_children(with_self=True)
    return any(pump._next_callbacks or pump.message_queue_size for pump in pumps)


def have_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pilot, "_wait_for_screen", wait_for_screen)
    monkeypatch.setattr(Pilot, "press", press)
    monkeypatch.setattr(Session, "advance", advance_if_nobody_waits)
