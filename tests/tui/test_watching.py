"""Of a run that another process trains: who is in control, and keys pressed before it is open."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from engine.config.schema import Config
from engine.protocol import (
    Command,
    Controlled,
    Evaluated,
    Event,
    Refused,
    RunOpened,
    State,
    Stop,
    TakeControl,
)
from engine.remote.client import Connection, connect, welcomed
from tests.tui.conftest import PATIENCE, Open, Person
from tui.control.run import Launch, RunControl
from tui.screens.dialogs import NewRunDialog, TakeControlDialog
from tui.screens.inside import InsideScreen
from tui.widgets.status_bar import StatusBar

Trained = Callable[[], AbstractAsyncContextManager[tuple[Path, RunControl]]]

pytestmark = pytest.mark.usefixtures("sockets")


@pytest.fixture
def trained(runs_dir: Path, config: Config) -> Trained:
    """A run in training by another engine, and that engine."""

    @asynccontextmanager
    async def start() -> AsyncIterator[tuple[Path, RunControl]]:
        heard: list[Event] = []
        other = RunControl(Launch(config, runs_dir), heard.append)
        other.begin()
        other.start()
        try:
            while other.status.step < 5:
                assert not [one for one in heard if isinstance(one, Refused)]
                await asyncio.sleep(0.01)
            yield Path(next(one.path for one in heard if isinstance(one, RunOpened))), other
        finally:
            assert other.end(PATIENCE)

    return start


def in_control(run: Path, role: str = "control") -> Connection:
    connection = connect(run, role)
    welcomed(connection)
    return connection


async def until_told(connection: Connection, wanted: Controlled) -> None:
    while await asyncio.to_thread(connection.take, PATIENCE) != wanted:
        pass


def first_line(person: Person) -> str:
    return person.cockpit.query_one(StatusBar).render().plain.splitlines()[0]


async def test_keys_pressed_before_the_run_is_open_take_effect_then(
    open_app: Open, preparation: threading.Event
) -> None:
    async with open_app() as person:
        await person.press("space", "space")  # begins paused
        await person.until_state(State.PREPARING)
        await person.press("v")
        assert person.told() == "v takes effect once the run is open"
        await person.press("i")  # whatever they do
        preparation.set()
        await person.until_heard(Evaluated)
        await person.until(lambda: person.app.screen is not person.cockpit, "the inside")


async def test_keys_kept_for_a_run_that_cannot_be_opened_are_forgotten(
    open_app: Open, preparation: threading.Event
) -> None:
    async with open_app() as person:
        await person.press("space")
        await person.until_state(State.PREPARING)
        await person.press("v")
        person.app.control.send(Stop())  # cancels it
        preparation.set()
        await person.until_state(State.IDLE)
        assert person.cockpit._kept_keys == []


async def test_space_before_one_is_attached_pauses_what_trains(
    open_app: Open, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = RunControl.begin
    async with trained() as (run, other):
        monkeypatch.setattr(RunControl, "begin", lambda self: None)  # it takes its time
        async with open_app(run=run, attaches=True) as person:
            await person.press("space")
            assert person.told() == "space takes effect once the run is open"
            begin(person.app.control)
            await person.until(lambda: other.status.state is State.PAUSED, "the pause")


async def test_a_new_run_leaves_the_one_in_the_background_in_training(
    open_app: Open, trained: Trained
) -> None:
    async with trained() as (run, other), open_app(run=run, attaches=True) as person:
        await person.until_state(State.RUNNING)
        await person.press("n")
        await person.until(lambda: person.shows(NewRunDialog), "the question")
        dialog = person.app.screen
        assert isinstance(dialog, NewRunDialog)
        assert f"{run.name} goes on: process {os.getpid()} trains it." in str(dialog.question)
        await person.press("enter")
        await person.until(lambda: not person.app.control.attached, "the new run")
        assert other.status.state is State.RUNNING


async def test_who_watches_sees_who_is_in_control_and_can_take_it(
    open_app: Open, trained: Trained
) -> None:
    async with trained() as (run, other):
        first = in_control(run)
        async with open_app(run=run, attaches=True, size=(120, 30)) as person:
            await person.until(lambda: person.app.control.others_control, "who is in control")
            assert "watching, " in first_line(person) and " is in control" in first_line(person)
            footer = person.footer()
            assert footer["G"] == "Take control" and not footer.keys() & {"space", "s", "v"}
            await person.press("space")
            assert person.told().endswith("is in control: G takes over")
            await person.press("G")
            await person.until(lambda: person.shows(TakeControlDialog), "the question")
            await person.press("enter")
            await person.until(lambda: person.app.control.is_open, "control")
            assert "watching" not in first_line(person)
            assert "is in control" not in person.notice
            footer = person.footer()
            assert footer["space"] == "Pause" and "G" not in footer
            await person.press("space")
            await person.until(lambda: other.status.state is State.PAUSED, "the pause")
            first.send(TakeControl(request_id=7))
            await until_told(first, Controlled(request_id=7))
            await person.until(lambda: person.app.control.others_control, "the mark")
            assert "has taken control" in person.notice
            first.close()  # nobody is in control then, and who is there may act
            await person.until(lambda: person.app.control.is_open, "free control")
            assert "has taken control" not in person.notice
            await person.press("space")
            await person.until(lambda: other.status.state is State.RUNNING, "training")


async def test_inside_it_is_told_that_the_engine_has_ended_and_the_kept_weights_are_shown(
    open_app: Open, trained: Trained
) -> None:
    async with (
        trained() as (run, other),
        open_app(run=run, attaches=True, size=(120, 30)) as person,
    ):
        await person.until(lambda: bool(person.app.control.attached), "the run")
        await person.press("i")
        await person.until(lambda: person.shows(InsideScreen), "the inside")
        screen = person.app.screen
        assert isinstance(screen, InsideScreen)
        await person.until(lambda: bool(screen.state.answer), "an answer")
        other.send(Stop(save=True))
        await person.until(lambda: "it can be continued here" in person.told(), "the end")
        last = person.status.saved_step
        await person.until(
            lambda: screen.state.answer and screen.state.answer.step == last, "kept weights"
        )
        assert "kept: nothing trains this run now" in str(screen._facts(120).rows)
        assert not screen.state.main.problems


async def test_a_key_is_acknowledged_before_what_trains_has_answered(
    open_app: Open, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trained() as (run, other), open_app(run=run, attaches=True) as person:
        await person.until(lambda: bool(person.app.control.attached), "the run")
        send, held = other.engine.send, list[Command]()
        monkeypatch.setattr(other.engine, "send", held.append)  # a step that takes long
        await person.press("space")
        assert first_line(person).startswith("● pausing…")
        await person.until(lambda: bool(held), "the command")
        monkeypatch.setattr(other.engine, "send", send)
        send(held[0])
        await person.until_state(State.PAUSED)
        await person.until(lambda: first_line(person).startswith("‖ paused"), "the answer")


async def test_who_only_watches_is_told_so_and_offered_nothing(
    open_app: Open, trained: Trained
) -> None:
    async with trained() as (run, _), open_app(run=run, attaches=True, role="watch") as person:
        await person.until(lambda: person.app.control.others_control, "the mark")
        assert first_line(person).startswith("● training  watching  ")
        assert not person.footer().keys() & {"G", "space", "s"}
        await person.press("G")
        assert "only watched here (--watch)" in person.told()
