"""Leaving: what is asked, and what each answer leaves in the run folder."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from textual.widgets import Static

from data.sources.files import read_chunks
from engine.protocol import Saved, State, StateChanged
from engine.runs.summary import read_summary
from tests.tui.conftest import Open, Person, checkpoints
from tui.screens.dialogs import QuitDialog


async def ask(person: Person) -> str:
    """Press q; returns what the dialog says."""
    await person.press("q")
    assert isinstance(person.app.screen, QuitDialog)
    return words(person)


def words(person: Person) -> str:
    """What the dialog says."""
    shown = [
        one for one in person.app.screen.query("#dialog Static").results(Static) if one.display
    ]
    return "\n".join(str(one.content) for one in shown)


async def saved_and_one_more(person: Person) -> int:
    """A paused run, one step beyond its checkpoint; returns the checkpoint's step."""
    saved = await person.start_and_pause()
    await person.press("w")
    await person.until_heard(Saved, step=saved)
    await person.press("full_stop")
    await person.until_heard(StateChanged, state=State.PAUSED, step=saved + 1)
    return saved


async def test_a_running_run_asks(open_app: Open) -> None:
    async with open_app() as person:
        await person.start()
        assert "there is no checkpoint yet" in await ask(person)
        await person.press("escape")
        assert person.app.screen is person.cockpit
        step = person.status.step
        await person.until(lambda: person.status.step > step)  # it went on all the while
        assert person.status.state is State.RUNNING


async def test_the_dialog_says_what_would_be_lost(open_app: Open) -> None:
    async with open_app() as person:
        saved = await saved_and_one_more(person)
        question = await ask(person)
        assert f"save step {saved + 1} and quit" in question
        assert "quit now: 1 step will be re-trained" in question
        assert f"the last checkpoint is step {saved}" in question


async def test_the_dialog_keeps_up_with_training(open_app: Open) -> None:
    async with open_app() as person:
        await person.start()
        first = await ask(person)
        await person.until(lambda: words(person) != first)


async def test_save_and_quit(open_app: Open) -> None:
    async with open_app() as person:
        saved = await saved_and_one_more(person)
        await ask(person)
        await person.press("s")
        assert await person.until_gone() == 0
        assert checkpoints(person.run) == [saved, saved + 1]
        assert read_summary(person.run).state == "stopped"


async def test_quit_now(open_app: Open) -> None:
    async with open_app() as person:
        saved = await saved_and_one_more(person)
        await ask(person)
        await person.press("q")
        assert await person.until_gone() == 0
        assert checkpoints(person.run) == [saved]
        run = person.run
    async with open_app(run=run) as person:  # resumable
        await person.until_state(State.PAUSED)
        assert person.status.step == saved
        await person.press("space")
        await person.until(lambda: person.status.step > saved + 1)


async def test_ctrl_c_asks_and_a_second_one_saves_and_quits(open_app: Open) -> None:
    async with open_app() as person:
        saved = await saved_and_one_more(person)
        await person.press("ctrl+c")
        assert isinstance(person.app.screen, QuitDialog)
        await person.press("ctrl+c")
        assert await person.until_gone() == 0
        assert checkpoints(person.run) == [saved, saved + 1]


async def test_a_run_whose_folder_is_gone_is_not_left_as_if_it_could_be_saved(
    open_app: Open,
) -> None:
    async with open_app() as person:
        await saved_and_one_more(person)
        shutil.rmtree(person.run)
        told = await ask(person)
        assert "folder is gone" in told and "are lost" in told and "save" not in told
        await person.press("s", "ctrl+c")
        assert isinstance(person.app.screen, QuitDialog)
        await person.press("escape")
        assert not isinstance(person.app.screen, QuitDialog)


async def test_ctrl_c_asks_from_within_a_field(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await person.press("p", "a", "ctrl+c")
        assert isinstance(person.app.screen, QuitDialog)


async def test_nothing_unsaved_nothing_asked(open_app: Open) -> None:
    async with open_app() as person:
        await person.press("q")
        assert await person.until_gone() == 0
    async with open_app() as person:
        step = await person.start_and_pause()
        await person.press("w")
        await person.until_heard(Saved, step=step)
        await person.press("q")
        assert await person.until_gone() == 0
        assert checkpoints(person.run) == [step]
    async with open_app({"train.max_steps": 5}) as person:
        await person.press("space")
        await person.until_state(State.FINISHED)
        await person.press("q")
        assert await person.until_gone() == 0


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_quitting_while_a_large_text_is_read_is_prompt(
    open_app: Open, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    waiting = threading.Event()

    def slowly(*arguments: Any) -> Iterator[bytes]:
        for chunk in read_chunks(*arguments):
            waiting.set()
            time.sleep(0.02)
            yield chunk

    monkeypatch.setattr("data.sources.files.PIECE_BYTES", 16)  # it takes minutes
    monkeypatch.setattr("data.sources.files.read_chunks", slowly)
    async with open_app() as person:
        await person.press("space")
        await person.until(waiting.is_set)
        began = time.monotonic()
        await person.press(key)
        assert await person.until_gone() == 0
        assert time.monotonic() - began < 3
        assert not list(person.app.control.launch.runs_dir.glob("*"))
