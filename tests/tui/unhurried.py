"""A pilot who presses the next key, and looks, when the last one's work is done.

Textual's own pilot waits until each widget has dealt with what it had been sent when the wait
began. What a widget then tells another may still be on its way, which on a busy machine is the
rule: a test that looks then sees half a footer, and a key overtakes the change of focus before it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from textual.app import App
from textual.message_pump import MessagePump
from textual.pilot import Pilot

MOST_ROUNDS = 30  # an app whose engine trains is never quite still
MOST_TURNS = 100

wait_once = Pilot._wait_for_screen
press_at_once = Pilot.press


async def wait_for_screen(pilot: Pilot[Any], timeout: float = 30.0) -> bool:
    """Wait until nothing is on its way between widgets, and none is at work."""
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
