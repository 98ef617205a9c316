"""An app of our own, with the real engine on a small text, and someone at its keyboard."""

from __future__ import annotations

import asyncio
import builtins
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input

from data.download import Watcher
from engine.config.presets import preset_config
from engine.config.schema import Config
from engine.protocol import Event, State, Status
from engine.runs import open as opening
from engine.runs import text
from engine.runs.database import RunDatabase
from engine.runs.records import JournalEntry
from tests.tui.unhurried import have_patience
from tui.app import GptTuiApp
from tui.control.preferences import Preferences
from tui.control.run import Launch
from tui.screens.cockpit import CockpitScreen
from tui.widgets.keys_footer import KeysFooter
from tui.widgets.settings_list import SettingsList

PATIENCE = 60.0  # seconds, on a machine that is busy with other things, too
SMALL: dict[str, Any] = {
    "model.n_layer": 1,
    "train.batch_size": 4,
    "train.max_steps": 100_000,
    "eval.interval": 0,
    "eval.batches": 1,
    "checkpoint.interval": 0,
    "sample.max_tokens": 20,
    "system.device": "cpu",
    "system.threads": 1,
    "system.micro_batch_size": 16,
}
EventT = TypeVar("EventT", bound=Event)


class ListeningApp(GptTuiApp):
    """Remembers what the engine said."""

    def __init__(self, launch: Launch, preferences: Preferences | None = None) -> None:
        self.heard: list[Event] = []
        super().__init__(launch, preferences=preferences)

    def _post_event(self, event: Event) -> None:
        self.heard.append(event)
        super()._post_event(event)


@dataclass
class Person:
    """Presses keys, looks at the screen and has patience, but not for ever."""

    app: ListeningApp
    pilot: Pilot[int]

    @property
    def cockpit(self) -> CockpitScreen:
        return self.app.cockpit

    @property
    def status(self) -> Status:
        return self.app.control.status

    @property
    def run(self) -> Path:
        path = self.app.control.run_path
        assert path is not None
        return path

    def shows(self, kind: builtins.type[Screen[Any]]) -> bool:
        """Whether a screen of this kind is in front."""
        return isinstance(self.app.screen, kind)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause(0)

    async def type(self, text: str) -> None:
        await self.press(*text)

    async def clear(self) -> None:
        """Empty the field with the focus; letters would overtake the key if they did not wait."""
        field = self.cockpit.focused
        assert isinstance(field, Input)
        await self.press("end", "ctrl+u")
        await self.until(lambda: field.value == "", "an empty field")

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Wait for something to become true."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what or 'it'} did not come to be:\n{self.describe()}")
            await asyncio.sleep(0.01)
        await asyncio.sleep(0)  # what the engine's thread has sent reaches the widgets' queues,
        await self.pilot.pause(0)  # and what is in them is dealt with

    async def until_state(self, state: State) -> None:
        await self.until(lambda: self.status.state is state, f"state {state}")

    async def until_heard(self, kind: builtins.type[EventT], **fields: Any) -> EventT:
        """Wait for an event of this kind; returns the latest."""
        await self.until(lambda: self.heard(kind, **fields), f"{kind.__name__} {fields}")
        return self.heard(kind, **fields)[-1]

    def heard(self, kind: builtins.type[EventT], **fields: Any) -> list[EventT]:
        return [
            event
            for event in self.app.heard
            if isinstance(event, kind)
            and all(getattr(event, name) == value for name, value in fields.items())
        ]

    async def start(self) -> None:
        """Begin to train, and see the first steps."""
        await self.press("space")
        await self.until(lambda: self.status.state is State.RUNNING and self.status.step >= 2)

    async def pause(self) -> int:
        """Stop for now; returns the step."""
        await self.press("space")
        await self.until_state(State.PAUSED)
        return self.status.step

    async def start_and_pause(self) -> int:
        await self.start()
        return await self.pause()

    async def edit(self, key: str, text: str, confirm: bool = True) -> None:
        """Change a setting the way a person does: e, to its row, enter, type, enter."""
        await self.press("e")
        self.cockpit.settings.list.go_to(key)
        await self.pilot.pause(0)
        await self.press("enter")
        editor = self.cockpit.settings.editor
        await self.until(lambda: editor.has_focus, "the field")
        await self.clear()
        await self.type(text)
        assert editor.value == text
        if confirm:
            await self.press("enter")

    def row_of(self, key: str) -> int:
        """The row of a setting in the list, as it is scrolled."""
        shown = self.cockpit.settings.list
        return shown.get_option_index(key) - shown.scroll_offset.y

    async def click_setting(self, key: str, column: int = 6) -> None:
        """Click on the row of a setting."""
        await self.pilot.click(SettingsList, offset=(column, self.row_of(key)))
        await self.pilot.pause(0)

    async def back_to_keys(self) -> None:
        """Out of all fields and lists."""
        while self.cockpit.focused is not None:
            await self.press("escape")

    async def until_gone(self) -> int:
        """Wait for the app to end; returns its exit code."""
        await self.until(lambda: self.app.return_value is not None, "the end")
        assert self.app.return_value is not None
        return self.app.return_value

    def footer(self) -> dict[str, str]:
        """What the footer offers: key -> words."""
        shown = [one for one in self.app.screen.active_bindings.values() if one.enabled]
        by_action = {one.binding.action: one.binding for one in reversed(shown)}
        return {one.key: one.description for one in by_action.values() if one.show}

    def told(self) -> str:
        """The messages in the footers of all open screens."""
        stack = self.app.screen_stack
        footers = [one for screen in stack for one in screen.query(KeysFooter)]
        return "\n".join(one.message for one in footers if one.message)

    def texts(self) -> list[str]:
        return [record.text for record in self.cockpit.samples.records]

    def journal(self, kind: str) -> list[JournalEntry]:
        database = RunDatabase(self.run / "run.db", read_only=True)
        try:
            return database.journal(kind)
        finally:
            database.close()

    def describe(self) -> str:
        lines = [f"  {event}" for event in self.app.heard[-8:]]
        lines += [str(self.status), f"screen {self.app.screen}", f"notice {self.notice!r}"]
        return "\n".join(lines)

    @property
    def notice(self) -> str:
        return self.cockpit.notice.text


Open = Callable[..., AbstractAsyncContextManager[Person]]


@pytest.fixture(scope="session", autouse=True)
def stylesheets_parsed_once() -> Iterator[None]:
    """All apps share what their stylesheets are parsed to, a fifth of the time to start one."""
    parsed: dict[Any, list[RuleSet]] = {}
    parse = Stylesheet._parse_rules

    def parse_once(sheet: Stylesheet, css: str, *args: Any, **kwargs: Any) -> list[RuleSet]:
        key = css, args, tuple(kwargs.items()), tuple(sheet._variables.items())
        if key not in parsed:
            parsed[key] = parse(sheet, css, *args, **kwargs)
        return parsed[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stylesheet, "_parse_rules", parse_once)
        yield


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    have_patience(monkeypatch)


@pytest.fixture
def config(small_text_file: Path) -> Config:
    """Settings that train in no time."""
    return preset_config("tiny").replace({**SMALL, "data.corpus": str(small_text_file)})


@pytest.fixture
def open_app(
    config: Config, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., AbstractAsyncContextManager[Person]]:
    """Opens the app; settings may be changed, and an existing run be named."""
    never_idle(monkeypatch)

    @asynccontextmanager
    async def opened(
        changes: dict[str, Any] | None = None,
        size: tuple[int, int] = (80, 24),
        preferences: Preferences | None = None,
        **launch: Any,
    ) -> AsyncIterator[Person]:
        begin = Launch(config.replace(changes or {}), runs_dir, command_line="gpt-tui")
        app = ListeningApp(replace(begin, **launch), preferences)
        try:
            async with app.run_test(size=size) as pilot:
                yield Person(app, pilot)
        finally:
            assert app.control.end(PATIENCE)

    return opened


@pytest.fixture
def preparation(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Holds up runs that are being prepared until it is set."""
    go_on, load = threading.Event(), text.load_text

    def wait(config: Config, watcher: Watcher) -> Any:
        watcher.report("loading the text")
        assert go_on.wait(PATIENCE)
        return load(config, watcher)

    monkeypatch.setattr(opening, "load_text", wait)
    return go_on


def never_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pilot waits for an idle process, which one that trains never is."""

    async def wait_for_idle(*_: float) -> None:
        await asyncio.sleep(0.002)

    monkeypatch.setattr("textual.app.wait_for_idle", wait_for_idle)
    monkeypatch.setattr("textual.pilot.wait_for_idle", wait_for_idle)


def checkpoints(run: Path) -> list[int]:
    """The steps of a run's checkpoints."""
    folders = (run / "checkpoints").glob("step-*")
    return sorted(int(folder.name.removeprefix("step-")) for folder in folders)
