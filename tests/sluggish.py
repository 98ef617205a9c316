"""A pytest plugin: the app's widgets come late, at random, as on a machine that is busy elsewhere.

What looks at the screen, or presses a key, before the last key's work is done passes on a quiet
machine and fails on a loaded one, one time in many. Here such a test fails within a run or two:
``make test-sluggish``.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextvars import Context
from typing import TypeVarTuple

SHARE_LATE = 0.1
MOST_LATE = 0.05  # seconds
Ts = TypeVarTuple("Ts")


class SluggishLoop(asyncio.SelectorEventLoop):
    """Every now and then wakes a widget late; each still gets its messages in order."""

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        owner = getattr(callback, "__self__", None)
        is_widget = isinstance(owner, asyncio.Task) and owner.get_name().startswith("message pump")
        if is_widget and random.random() < SHARE_LATE:
            late = random.uniform(0.0, MOST_LATE)
            return self.call_later(late, callback, *args, context=context)
        return super().call_soon(callback, *args, context=context)


class SluggishPolicy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return SluggishLoop()


asyncio.set_event_loop_policy(SluggishPolicy())
