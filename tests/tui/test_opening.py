"""Runs that are opened again, engines that fail, and texts that stand in."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from textual.message import Message

from engine.config.presets import preset_config
from engine.config.schema import Config
from engine.protocol import (
    Event,
    Failed,
    Refused,
    RunOpened,
    SampleFinished,
    Saved,
    State,
    StateChanged,
    Stop,
)
from engine.runs.folder import typed_name
from engine.runs.timeline import read_samples
from engine.training.trainer import Trainer
from tests.engine.run_folders import forget_prepared_texts
from tests.tui.conftest import PATIENCE, SMALL, EventT, Open, Person, checkpoints
from tui.control.run import Launch, RunControl
from tui.screens.engine_events import EngineEvent


def values(person: Person) -> list[float]:
    """The training curve."""
    column = person.app.control.metrics.column("train_loss")
    return [float(value) for value in column.snapshot()[1]]


async def test_a_run_comes_back_with_all_it_had(open_app: Open) -> None:
    async with open_app({"eval.interval": 5}) as person:
        await person.press("space")
        await person.until(lambda: person.status.step >= 12)
        await person.pause()
        await person.edit("optim.learning_rate", "2e-3")
        records = person.cockpit.samples.records
        await person.until(lambda: all(one.finished for one in records))
        await person.press("escape", "s")
        await person.until(lambda: records[-1].finished and not records[-1].automatic)
        await person.press("ctrl+c", "ctrl+c")
        await person.until_gone()
        step, texts, run = person.status.step, person.texts(), person.run
        curve = values(person)

    async with open_app(run=run) as person:
        await person.until_state(State.PAUSED)
        assert person.status.step == step
        assert person.texts() == texts
        assert values(person) == curve
        assert person.app.control.draft.base.optim.learning_rate == 0.002
        assert [m.label for m in person.app.control.metrics.marks] == ["learning_rate 0.003→0.002"]
        await person.press("space")
        await person.until(lambda: person.status.step > step)
        assert person.heard(RunOpened)[-1].step == step
        assert person.run == run


async def test_a_screen_that_hears_late_shows_each_text_once(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_app() as person:
        late: list[EngineEvent] = []
        post = person.cockpit.post_message

        def hold(message: Message) -> bool:
            if not isinstance(message, EngineEvent):
                return post(message)
            late.append(message)
            return True

        with monkeypatch.context() as busy:
            busy.setattr(person.cockpit, "post_message", hold)
            await person.press("space")
            run = Path((await hear(person, RunOpened)).path)
            await hear(person, SampleFinished)
        assert len(read_samples(run)) == 1
        for message in late:
            person.cockpit.post_message(message)
        await person.until(lambda: person.texts() == [read_samples(run)[0]["text"]], "the text")


async def hear(person: Person, kind: type[EventT]) -> EventT:
    """Wait for what the engine says, whether or not the screen hears it."""
    deadline = time.monotonic() + PATIENCE
    while not person.heard(kind):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    return person.heard(kind)[-1]


async def test_a_run_without_its_text_is_shown_and_goes_on_when_the_text_is_named(
    open_app: Open, tmp_path: Path
) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await person.press("w")
        await person.until_heard(Saved)
        run = person.run
    text = Path(person.app.control.launch.config.data.corpus)
    away = text.rename(tmp_path / "away.txt")
    forget_prepared_texts()
    try:
        async with open_app(run=run) as person:
            opened = await person.until_heard(RunOpened)
            assert opened.watching and opened.step == person.status.step > 0
            command = f"gpt-tui open {typed_name(run)} --data PATH"
            await person.until(lambda: command in person.notice.replace("\n", " "))
            steps, losses = person.app.control.metrics.column("train_loss").snapshot()[:2]
            assert len(steps) == len(losses) == opened.step
            await person.until(lambda: person.texts(), "the kept samples")
            await person.press("space")  # it is still shown afterwards
            await person.until(lambda: len(person.heard(RunOpened)) == 2)
            assert person.footer()["space"] == "Resume"
        async with open_app(run=run, data=str(away)) as person:
            await person.until_state(State.PAUSED)
            assert not person.app.control.watching
        forget_prepared_texts()
        async with open_app(run=run) as person:  # it was remembered
            await person.until_state(State.PAUSED)
    finally:
        away.rename(text)


async def test_a_new_run_that_cannot_begin_leaves_the_old_one_to_go_on_with(
    open_app: Open,
) -> None:
    async with open_app() as person:
        step = await person.start_and_pause()
        first = person.run
        await person.edit("data.corpus", "/no/such/file.txt")
        await person.press("escape", "n", "enter")
        await person.until_heard(Refused, command="Start")
        await person.until(lambda: "/no/such/file.txt" in person.notice)
        assert checkpoints(first) == [step]
        await person.press("space")
        await person.until(lambda: person.status.step > step)
        assert person.run == first


async def test_a_name_outlives_a_start_that_was_refused(open_app: Open) -> None:
    async with open_app({"data.corpus": "/no/such/file.txt"}, name="mine") as person:
        good = person.app.control.launch.config.replace({"data.corpus": "python-docs"})
        await person.press("space")
        await person.until_heard(Refused, command="Start")
        person.app.control.draft.edit("data.corpus", good.data.corpus)
        await person.start()
        assert person.run.name == "mine"


async def test_a_failure_is_shown_and_the_run_can_be_opened_again(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_app() as person:
        saved = await person.start_and_pause()
        await person.press("w")
        await person.until_heard(Saved, step=saved)

        def broken(*_: object) -> None:
            raise RuntimeError("the matrix is tired")

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "step_quanta", broken)
            await person.press("full_stop", "full_stop")  # the first one may be half-way already
            await person.until_heard(Failed)
            await person.until_heard(StateChanged, state=State.FAILED)
        assert "RuntimeError: the matrix is tired" in person.notice
        assert f"space continues from the checkpoint of step {saved}" in person.notice
        assert "the matrix is tired" in (person.run / "log.txt").read_text()
        assert person.footer()["space"] == "Resume"

        await person.press("space")
        await person.until_state(State.RUNNING)
        await person.until(lambda: person.status.step > saved)
        assert person.heard(RunOpened)[-1].step == saved
        assert person.notice == ""


async def test_a_failure_while_opening_is_shown(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no room")

    async with open_app() as person:
        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "__init__", broken)
            await person.press("space")
            await person.until_state(State.FAILED)
        await person.until(lambda: "RuntimeError: no room" in person.notice)
        assert not list(person.app.control.launch.runs_dir.glob("*"))
        await person.start()


async def test_a_text_that_stands_in_is_named(open_app: Open) -> None:
    config = preset_config("tiny").replace(SMALL)
    async with open_app(config=config) as person:
        await person.start()
        note = person.heard(RunOpened)[-1].note
        assert note
        await person.until(lambda: person.notice == note)
        title = str(person.cockpit.query_one("#chart-frame").border_title)
        assert title == "loss · python-docs (stand-in)"
        assert "python-docs (stand-in)" in person.app.control.facts.corpus


async def test_a_run_that_another_program_trains_is_controlled_from_here(
    open_app: Open, runs_dir: Path, config: Config
) -> None:
    heard: list[Event] = []
    other = RunControl(Launch(config, runs_dir), heard.append)
    other.begin()
    other.start()
    try:
        while other.status.step < 5:
            await asyncio.sleep(0.01)
        run = Path(next(event.path for event in heard if isinstance(event, RunOpened)))
        async with open_app(run=run) as person:
            opened = await person.until_heard(RunOpened)
            assert opened.attached and not opened.watching
            assert f"attached to process {os.getpid()}" in person.cockpit.notice.text
            await person.press("space")
            await person.until_state(State.PAUSED)
            assert str(other.status.state) == "paused"
            await person.press("s")
            await person.until(lambda: bool(person.texts()), "the text")
            await person.press("space")
            await person.until_state(State.RUNNING)
            await person.press("q")  # asks nothing
            assert person.app.leaving.code is not None
        assert other.status.state is State.RUNNING
    finally:
        assert other.end(30)


async def test_a_run_of_a_program_that_takes_no_commands_is_watched_and_then_taken_over(
    open_app: Open, runs_dir: Path, config: Config
) -> None:
    heard: list[Event] = []
    other = RunControl(Launch(config, runs_dir), heard.append)
    other.engine._serves = False  # as of an earlier version
    other.begin()
    other.start()
    try:
        while other.status.step < 5:
            await asyncio.sleep(0.01)
        run = Path(next(event.path for event in heard if isinstance(event, RunOpened)))
        async with open_app(run=run) as person:
            opened = await person.until_heard(RunOpened)
            assert opened.watching
            assert "another program trains this run" in person.cockpit.notice.text
            step = person.status.step
            await person.until(lambda: person.status.step > step + 5, "steps of the other program")
            assert person.status.message == "watching: training"
            assert not person.footer().keys() & {"space", "s", "v", "w"}
            other.send(Stop())
            await person.until_state(State.STOPPED)
            await person.until(lambda: "it can be continued here" in person.cockpit.notice.text)
            assert person.footer()["space"] == "Resume"
            await person.press("space")
            await person.until(lambda: person.app.control.is_open, "the run")
            last = person.status.step
            await person.until(lambda: person.status.step > last + 2)
    finally:
        assert other.end(PATIENCE)
