"""Every key of the table does what the table says, on a screen that a person can get to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.style import Style
from textual.dom import DOMNode

from data.prepared.texts import known_texts
from engine.runs.summary import read_summary
from tests.tui.conftest import Open, Person
from tui.control.keymap import GROUPS
from tui.screens.columns_dialog import ColumnsDialog
from tui.screens.compare import CompareScreen
from tui.screens.data import DataScreen
from tui.screens.data_texts import RemoveTextDialog
from tui.screens.dialogs import (
    ForkDialog,
    GoBackDialog,
    GpusDialog,
    NewRunDialog,
    OpenRunDialog,
    QuitDialog,
    TakeControlDialog,
)
from tui.screens.inside import InsideScreen
from tui.screens.kept_steps import Way
from tui.screens.key_preferences import KeyPreferencesScreen
from tui.screens.keyed import KeyedScreen
from tui.screens.lecture import LectureScreen
from tui.screens.lr_finder import LRFinderScreen
from tui.screens.preferences import PreferencesScreen
from tui.screens.presets import DeletePresetDialog, PresetsScreen
from tui.screens.queue import QueueScreen
from tui.screens.queue_dialog import QueueDialog
from tui.screens.runs import RunsScreen
from tui.screens.sweep_plot import SweepPlotScreen
from tui.screens.timeline import TimelineScreen
from tui.widgets.tick_box import TickBox


async def to_cockpit(person: Person) -> None:
    """Where the app begins."""


async def to_settings(person: Person) -> None:
    await person.press("e")


async def to_choice(person: Person) -> None:
    await person.press("e")
    person.cockpit.settings.list.go_to("optim.schedule")
    await person.press("enter")


async def to_number(person: Person) -> None:
    await person.press("e")
    person.cockpit.settings.list.go_to("optim.learning_rate")
    await person.press("enter")


async def to_field(person: Person) -> None:
    await person.press("p")


async def to_runs(person: Person) -> None:
    await person.press("r")


async def to_queue(person: Person) -> None:
    await person.press("Q")


async def to_timeline(person: Person) -> None:
    person.app.push_screen(TimelineScreen(person.app.control))


async def to_inside(person: Person) -> None:
    await person.press("i")


async def to_data(person: Person) -> None:
    await person.press("D")


async def to_compare(person: Person) -> None:
    person.app.push_screen(CompareScreen([person.run, person.run]))
    await person.until(lambda: person.shows(CompareScreen))
    person.app.screen.set_focus(None)  # as with the texts; the table has keys of its own


async def to_plot(person: Person) -> None:
    run = read_summary(person.run)
    settings = ["optim.learning_rate", "train.seed"]
    person.app.push_screen(SweepPlotScreen([run, run], settings, {}, lambda _: Style()))


async def to_presets(person: Person) -> None:
    await person.press("ctrl+o")


async def to_lecture(person: Person) -> None:
    await person.press("L")


async def to_delete_preset(person: Person) -> None:
    person.app.push_screen(DeletePresetDialog("mine"))


async def to_remove_text(person: Person) -> None:
    (counting,) = [one for one in known_texts() if one.name == "counting"]
    kept = replace(counting, name="tinyshakespeare", prepared=())
    person.app.push_screen(RemoveTextDialog(kept))


async def to_preferences(person: Person) -> None:
    await person.press("O")


async def to_keys(person: Person) -> None:
    person.app.push_screen(KeyPreferencesScreen(person.app.preferences))


async def to_columns(person: Person) -> None:
    person.app.push_screen(ColumnsDialog("auto", ["name", "state"]))


async def to_lr_finder(person: Person) -> None:
    control = person.app.control
    person.app.push_screen(LRFinderScreen(control, control.draft.base, -1))


async def to_page(person: Person) -> None:
    await person.press("question_mark")


async def to_new_run(person: Person) -> None:
    person.app.push_screen(NewRunDialog(person.app.control.draft, "one"))


async def to_gpus(person: Person) -> None:
    person.app.push_screen(GpusDialog(4))


async def to_control(person: Person) -> None:
    person.app.push_screen(TakeControlDialog("me@box (process 1)"))


async def to_fork(person: Person) -> None:
    person.app.push_screen(ForkDialog(person.app.control.draft, "one", 3))


async def to_back(person: Person) -> None:
    person.app.push_screen(GoBackDialog(Way(40, 20), 60, "esc"))


async def to_open(person: Person) -> None:
    person.app.push_screen(OpenRunDialog(person.app.control, "one"))


async def to_quit(person: Person) -> None:
    person.app.push_screen(QuitDialog(lambda: person.status))


async def to_add(person: Person) -> None:
    person.app.push_screen(QueueDialog(person.app.control))


async def to_box(person: Person) -> None:
    await to_add(person)
    await person.until(lambda: person.shows(QueueDialog))
    person.app.screen.set_focus(person.app.screen.query_one(TickBox))


WAYS: dict[str, tuple[Callable[[Person], Awaitable[None]], type[KeyedScreen[Any]] | None]] = {
    "app": (to_cockpit, None),
    "cockpit": (to_cockpit, None),
    "settings": (to_settings, None),
    "choice": (to_choice, None),
    "number": (to_number, None),
    "field": (to_field, None),
    "table": (to_runs, RunsScreen),
    "runs": (to_runs, RunsScreen),
    "queue": (to_queue, QueueScreen),
    "inside": (to_inside, InsideScreen),
    "data": (to_data, DataScreen),
    "compare": (to_compare, CompareScreen),
    "plot": (to_plot, SweepPlotScreen),
    "columns": (to_columns, ColumnsDialog),
    "presets": (to_presets, PresetsScreen),
    "lecture": (to_lecture, LectureScreen),
    "ask_remove_text": (to_remove_text, RemoveTextDialog),
    "ask_delete_preset": (to_delete_preset, DeletePresetDialog),
    "preferences": (to_preferences, PreferencesScreen),
    "keys": (to_keys, KeyPreferencesScreen),
    "timeline": (to_timeline, TimelineScreen),
    "lr_finder": (to_lr_finder, LRFinderScreen),
    "page": (to_page, None),
    "ask_new_run": (to_new_run, NewRunDialog),
    "ask_gpus": (to_gpus, GpusDialog),
    "ask_control": (to_control, TakeControlDialog),
    "ask_back": (to_back, GoBackDialog),
    "ask_fork": (to_fork, ForkDialog),
    "ask_open": (to_open, OpenRunDialog),
    "ask_quit": (to_quit, QuitDialog),
    "ask_queue": (to_box, QueueDialog),  # in its field enter is the field's
    "box": (to_box, QueueDialog),
}

OF_A_WIDGET = ("settings", "choice", "number", "field", "table", "page", "box")


def test_there_is_a_way_to_the_keys_of_every_group() -> None:
    assert WAYS.keys() == GROUPS.keys()


async def test_every_key_of_the_table_calls_its_action(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    missed = []
    async with open_app(size=(120, 40)) as person:
        await person.start_and_pause()
        monkeypatch.setattr(KeyedScreen, "check_action", lambda *_: True)
        monkeypatch.setattr(TimelineScreen, "check_action", lambda *_: True)
        for name, (go, kind) in WAYS.items():
            with monkeypatch.context() as patch:
                await go(person)
                if kind is not None:
                    await person.until(lambda kind=kind: person.shows(kind), name)  # type: ignore[misc]
                await person.until(lambda: bool(person.footer()))
                if name in OF_A_WIDGET:  # the runs screen has a table once its runs are read
                    await person.until(lambda: person.app.screen.focused is not None, name)
                missed += await try_keys(person, name, patch)
            while person.app.screen is not person.cockpit:
                person.app.pop_screen()
            await person.pilot.pause(0)
            person.cockpit.leave_all_fields()
            await person.pilot.pause(0)
    assert not missed, "\n".join(missed)


async def try_keys(person: Person, name: str, patch: pytest.MonkeyPatch) -> list[str]:
    """Press the keys of a group; return those which did not call their action."""
    missed = []
    for key in GROUPS[name].keys:
        called: list[tuple[Any, ...]] = []
        screen = person.app.screen
        node, action, parameters = person.app._parse_action(key.action, owner_of(person, name))
        patch.setattr(node, f"action_{action}", lambda *a, called=called: called.append(a))
        for one in key.keys.split(","):
            called.clear()
            await person.press(one)
            if called != [parameters] or person.app.screen is not screen:
                missed.append(f"{name}.{key.name}: {one} called {action}{parameters}: {called}")
    return missed


def owner_of(person: Person, name: str) -> DOMNode:
    """Return the widget or the screen that has the keys of a group."""
    focused = person.app.screen.focused
    if name == "app":
        return person.app
    if name in OF_A_WIDGET:
        assert focused is not None, name
        return focused
    return person.app.screen


def test_every_action_of_the_table_is_told(open_app: Open) -> None:
    keys = [key for group in GROUPS.values() for key in group.keys]
    assert all(one.help and one.label and not one.help.endswith(".") for one in keys)


def test_no_two_actions_of_a_group_have_a_key() -> None:
    for name, group in GROUPS.items():
        taken = [one for key in group.keys for one in key.keys.split(",")]
        assert len(taken) == len(set(taken)), name


def test_names_are_of_one_action() -> None:
    for group in GROUPS.values():
        names = [key.name for key in group.keys]
        assert len(names) == len(set(names))
