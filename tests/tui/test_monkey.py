"""Random keys, clicks and resizes: no screen loses the focus, every one says how to leave it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys

import pytest
from textual.events import Key
from textual.screen import Screen
from textual.widget import Widget

from tests.tui.conftest import Open, Person
from tui.control.keymap import GROUPS
from tui.screens.help import TextScreen
from tui.screens.keyed import KeyedScreen

SIZES = [(80, 24), (120, 40), (200, 50), (60, 16), (40, 10)]
NOT_PRESSED = {"ctrl+z", "ctrl+c", "ctrl+q"}  # suspend and quit
KEYS = sorted(
    {one for group in GROUPS.values() for key in group.keys for one in key.keys.split(",")}
    - NOT_PRESSED
)
KEYS += ["tab", "shift+tab", "enter", "escape", "1", "9", "colon", "backspace", "ctrl+u"] * 2
EVENTS_PER_LOOK = 20  # after so many, the way out is tried
WAYS_OUT = 12  # presses of Escape that lead from anywhere to the cockpit


async def monkey(person: Person, seed: int, events: int) -> None:
    """Do random things, and look after each."""
    chance = random.Random(seed)
    done: list[str] = []
    try:
        for number in range(events):
            done.append(await one_event(person, chance))
            look(person)
            if number % EVENTS_PER_LOOK == EVENTS_PER_LOOK - 1:
                await lead_out(person)
                done.append("(led out)")
            if person.app.return_value is not None:
                break
    except BaseException:
        print(f"seed {seed}, the last events: {' '.join(done[-60:])}", file=sys.stderr)
        raise


async def one_event(person: Person, chance: random.Random) -> str:
    kind = chance.random()
    if kind < 0.80:
        key = chance.choice(KEYS)
        await person.press(key)
        return key
    if kind < 0.85:  # several at once
        keys = chance.choices(KEYS, k=4)
        for key in keys:
            person.app.post_message(Key(key, key if len(key) == 1 else None))
        await person.pilot.pause(0)
        return "+".join(keys)
    if kind < 0.97:
        width, height = person.app.size
        at = chance.randrange(width), chance.randrange(height)
        times = chance.choice([1, 1, 2])
        with contextlib.suppress(Exception):  # the screen is gone by the second click
            await person.pilot.click(offset=at, times=times)
        return f"click{at}x{times}"
    size = chance.choice(SIZES)
    await person.pilot.resize_terminal(*size)
    return f"{size[0]}x{size[1]}"


def look(person: Person) -> None:
    """Something has the focus and can be seen, or the keys of the screen work; help is there."""
    app = person.app
    assert app._exception is None
    if app.return_value is not None:
        return
    screen = app.screen
    focused = screen.focused
    assert focused is None or is_there(focused, screen), f"{focused} has the focus and is hidden"
    if isinstance(screen, KeyedScreen):
        actions = {one.binding.action for one in screen.active_bindings.values()}
        helped = "app.help" in actions or isinstance(screen, TextScreen)
        assert helped, f"no key for help on {screen}: {actions}"
        assert actions & WAYS, f"no key leads out of {screen} ({focused}): {actions}"


WAYS = {
    "app.leave",
    "leave",
    "close",
    "dismiss",
    "dismiss(None)",
    "answer('')",
    "screen.dismiss",
    "screen.leave_field",
    "screen.leave_settings",
}


def is_there(widget: Widget, screen: Screen[object]) -> bool:
    shown = all(one.display for one in widget.ancestors_with_self if isinstance(one, Widget))
    return widget.screen is screen and widget.is_attached and (shown or is_small(screen))


def is_small(screen: Screen[object]) -> bool:
    return screen.size.width < 60 or screen.size.height < 16


async def lead_out(person: Person) -> None:
    """Escape leads to the cockpit, whose keys work."""
    for _ in range(WAYS_OUT):
        if person.app.return_value is not None:
            return
        if person.app.screen is person.cockpit and person.cockpit.focused is None:
            break
        await person.press("escape")
        await person.pilot.pause(0.02)
    assert person.app.screen is person.cockpit, f"escape does not lead out of {person.app.screen}"
    assert person.cockpit.focused is None
    actions = {one.binding.action for one in person.cockpit.active_bindings.values()}
    assert {"app.leave", "edit", "prompt", "runs", "app.help"} <= actions


async def leave(person: Person) -> None:
    """The loop ends when the app is left, in whatever state it is."""
    if person.app.return_value is None:
        person.app._leave(save=False, code=0)
        await person.until_gone()


@pytest.mark.parametrize("seed", [1])
async def test_whatever_one_does_there_is_a_way_on(open_app: Open, seed: int) -> None:
    async with asyncio.timeout(300):
        async with open_app(size=(120, 40)) as person:
            await person.start()
            await monkey(person, seed, 120)
            await leave(person)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
async def test_so_it_is_for_thousands_of_events(open_app: Open, seed: int) -> None:
    async with asyncio.timeout(900):
        async with open_app(size=random.Random(seed).choice(SIZES)) as person:
            if seed % 2:
                await person.start()
            await monkey(person, seed, 400)
            await leave(person)
