"""Keys that come all at once, as over a slow line, mean what they mean one by one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.events import Key, Paste
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from engine.protocol import SampleStarted, State
from tests.tui.conftest import PATIENCE, Open, never_idle
from tui.screens.timeline import TimelineScreen
from tui.terminal.keys import KeysInOrder


def burst(app: App[Any], *keys: str) -> None:
    """Press keys without a moment between them."""
    for key in keys:
        app.post_message(Key(key, key if len(key) == 1 else None))


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_letters_after_the_key_that_opens_a_field_go_into_it(open_app: Open) -> None:
    async with open_app() as person:
        burst(person.app, "p", *"qsn", "enter", "escape", "space")
        await person.until(lambda: person.status.step >= 2, "training")
        assert person.app.control.sampling_value("sample.prompt") == "qsn"
        await person.pause()
        burst(person.app, "p", "end", *"xyz", "enter", "escape")
        asked: SampleStarted = await person.until_heard(SampleStarted, automatic=False)
        assert asked.settings["prompt"] == "qsnxyz"
        await person.until(lambda: person.cockpit.focused is None)
        assert person.app.screen is person.cockpit


async def test_a_setting_is_changed_in_one_go(open_app: Open) -> None:
    async with open_app() as person:
        person.cockpit.settings.list.go_to("optim.learning_rate")
        burst(person.app, "e", "enter", "ctrl+u", *"2e-3", "enter", "escape", "space")
        await person.until(lambda: person.status.step >= 2, "training")
        assert person.app.control.draft.base.optim.learning_rate == 0.002


async def test_through_a_new_screen_into_its_field_and_back(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        burst(person.app, "b", "g", "1", "enter", "left", "g", "2", "enter")
        await person.until(lambda: isinstance(person.app.screen, TimelineScreen), "the timeline")
        screen = person.app.screen
        assert isinstance(screen, TimelineScreen)
        await person.until(lambda: screen.step == 2)
        burst(person.app, "q", "question_mark", "escape", "full_stop")
        step = person.status.step
        await person.until(lambda: person.status.step == step + 1)
        assert person.app.screen is person.cockpit


async def test_what_is_pasted_waits_its_turn(open_app: Open) -> None:
    async with open_app() as person:
        burst(person.app, "p")
        person.app.post_message(Paste("pasted"))
        burst(person.app, "e", "enter", "escape", "space")
        await person.until_state(State.RUNNING)
        assert person.app.control.sampling_value("sample.prompt") == "pastede"


class Field(ModalScreen[str]):
    """A dialog that answers with what was typed."""

    def compose(self) -> ComposeResult:
        yield Input()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)


class Leaver(Static, can_focus=True):
    """Is gone once z is pressed."""

    async def key_z(self) -> None:
        await self.remove()


class Asking(KeysInOrder[None]):
    BINDINGS = [Binding("a", "ask", "Ask")]

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[str | None] = []

    def compose(self) -> ComposeResult:
        yield Leaver()

    def action_ask(self) -> None:
        self.push_screen(Field(), self.answers.append)


@pytest.fixture
async def asking(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Asking]:
    never_idle(monkeypatch)
    app = Asking()
    async with app.run_test():
        yield app


async def test_dialog_after_dialog(asking: Asking) -> None:
    burst(asking, *"aba", "enter", *"aa", "enter", "a", "enter")
    await until(lambda: len(asking.answers) == 3)
    assert asking.answers == ["ba", "a", ""]


async def test_keys_outlive_the_widget_that_had_them(asking: Asking) -> None:
    burst(asking, *"zab", "enter")
    await until(lambda: asking.answers == ["b"])
