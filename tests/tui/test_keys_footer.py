"""The footer: what leads out and to the help is never cut off, however small the terminal."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

import pytest
from rich.cells import cell_len
from textual.events import AppBlur
from textual.widgets import OptionList

import tui.screens
from tests.tui.conftest import Open, Person
from tui.screens.key_preferences import KeyPreferencesScreen
from tui.screens.keyed import KeyedModalScreen
from tui.screens.preferences import OF_KEYS
from tui.screens.runs import RunsScreen
from tui.widgets.keys_footer import FooterKey, KeysFooter, those_that_fit


def actions(person: Person) -> list[str]:
    """What the footer offers; nothing of it may be cut."""
    footer = person.app.screen.query_one(KeysFooter)
    keys = footer.keys
    assert cell_len(footer.render().plain.rstrip()) <= person.app.size.width
    return [key.action for key in keys]


def test_what_gives_way_is_the_last_that_can_be_done_without() -> None:
    keys = [
        FooterKey(key, key, word, action)
        for key, word, action in (
            ("a", "Axis", "next_axis"),  # 7 cells, with the space after it
            ("z", "Zoom", "zoom"),  # 7
            ("?", "Help", "app.help"),  # 7
            ("q", "Quit", "app.leave"),  # 7
        )
    ]
    left = {width: [one.key for one in those_that_fit(keys, width)] for width in (28, 27, 20, 3)}
    assert left == {28: [*"az?q"], 27: [*"a?q"], 20: [*"?q"], 3: [*"?q"]}


@pytest.mark.parametrize("size", [(60, 16), (40, 10)])
async def test_the_runs_screen_says_how_to_leave_it(open_app: Open, size: tuple[int, int]) -> None:
    async with open_app(size=size) as person:
        await person.start_and_pause()
        await person.press("r")
        await person.until(lambda: "open" in actions(person), "keys for a run")
        assert actions(person)[-2:] == ["leave", "app.help"]


async def test_the_timeline_says_how_to_leave_it(open_app: Open) -> None:
    async with open_app(size=(40, 10)) as person:
        await person.start_and_pause()
        await person.press("b")
        await person.until(
            lambda: actions(person)[-2:] == ["dismiss", "app.help"], "the key that closes it"
        )


async def test_the_cockpit_says_how_to_leave_it_beside_a_message(open_app: Open) -> None:
    async with open_app(size=(60, 16)) as person:
        await person.start_and_pause()
        person.cockpit.notice.say("something to know")
        person.cockpit.refresh_bindings()
        await person.until(lambda: actions(person)[-2:] == ["app.leave", "app.help"], "the keys")


async def test_with_more_room_there_are_more_keys(open_app: Open) -> None:
    async with open_app(size=(40, 10)) as person:
        await person.start_and_pause()
        await person.press("r")
        await person.until(lambda: "open" in actions(person), "keys for a run")
        few = len(actions(person))
        await person.pilot.resize_terminal(120, 40)
        await person.until(lambda: len(actions(person)) > few, "more keys")


async def test_a_click_on_a_key_presses_it(open_app: Open) -> None:
    async with open_app(size=(120, 40)) as person:
        await person.start_and_pause()
        footer = person.app.screen.query_one(KeysFooter)
        before = footer.keys[: [key.key for key in footer.keys].index("r")]
        await person.pilot.click(KeysFooter, offset=(sum(key.width for key in before), 0))
        await person.until(lambda: person.shows(RunsScreen), "the runs screen")


async def test_it_follows_a_terminal_without_the_focus(open_app: Open) -> None:
    async with open_app(size=(120, 40)) as person:
        await person.start_and_pause()
        person.app.post_message(AppBlur())
        await person.pilot.resize_terminal(60, 16)
        assert actions(person)[-2:] == ["app.leave", "app.help"]
        person.app.control.resume()
        await person.until(
            lambda: "Pause" in person.app.screen.query_one(KeysFooter).render().plain,
            "the state's keys",
        )


def dialogs(
    kind: type[KeyedModalScreen[Any]] = KeyedModalScreen,
) -> set[type[KeyedModalScreen[Any]]]:
    """All kinds of screens over another one."""
    for module in pkgutil.iter_modules(tui.screens.__path__, "tui.screens."):
        importlib.import_module(module.name)
    return {kind, *(one for below in kind.__subclasses__() for one in dialogs(below))}


@pytest.mark.parametrize("kind", sorted(dialogs() - {KeyedModalScreen}, key=str), ids=str)
def test_each_dialog_covers_the_footer_below_with_its_own(
    kind: type[KeyedModalScreen[Any]],
) -> None:
    assert "yield KeysFooter()" in inspect.getsource(kind.compose)


async def test_the_preferences_and_their_keys_show_their_own_keys(open_app: Open) -> None:
    async with open_app() as person:
        await person.press("O")
        await person.until(lambda: "reset" in actions(person), "the keys of the preferences")
        assert actions(person) == ["leave_field", "reset", "app.help"]
        rows = person.app.screen.query_one("#preferences", OptionList)
        rows.highlighted = rows.get_option_index(OF_KEYS)
        await person.press("enter")
        await person.until(lambda: person.shows(KeyPreferencesScreen), "the list of keys")
        await person.until(lambda: "add" in actions(person), "the keys of the list of keys")
        assert "train" not in actions(person) and "app.help" in actions(person)
