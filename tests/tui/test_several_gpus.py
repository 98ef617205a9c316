"""A machine with several GPUs: how many does a new run use? Here, a process stands for each."""

from __future__ import annotations

import os

import pytest

from engine.config.schema import Config
from engine.protocol import RunOpened, State
from engine.remote.client import found_engines
from tests.tui.conftest import Open
from tui.cli import main
from tui.control import launching
from tui.control.detaching import Background
from tui.screens.dialogs import GpusDialog

ANY = {"system.device": "auto"}


def test_as_many_processes_as_gpus_that_divide_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def processes(gpus: int, **changes: object) -> int:
        monkeypatch.setattr(launching, "gpu_count", lambda: gpus)
        named = {key.replace("__", "."): value for key, value in changes.items()}
        return launching.processes_for(Config().replace({"train.batch_size": 24} | named))

    assert [processes(gpus) for gpus in (0, 1, 2, 3, 4, 7, 8)] == [1, 1, 2, 2, 4, 4, 8]
    assert processes(16) == 8  # of 24 sequences
    assert processes(8, system__device="cpu") == 1


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "gpu_count", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.usefixtures("two_gpus", "sockets")
async def test_a_new_run_is_trained_on_all_of_them_in_the_background_and_controlled_here(
    open_app: Open,
) -> None:
    async with open_app({**ANY, "train.max_steps": 100_000}, name="both") as person:
        await person.press("space")
        await person.until(lambda: person.shows(GpusDialog))
        await person.press("a")
        opened = await person.until_heard(RunOpened)
        assert opened.attached and opened.runtime["processes"] == 2
        assert person.run.name == "both"
        await person.until(lambda: person.status.step > 2)
        await person.press("space")
        await person.until_state(State.PAUSED)
        run = person.run
    assert [one.opened.path for one in found_engines()] == [str(run)]  # it outlives the app
    assert main(["stop", str(run)]) == 0
    assert not found_engines() and os.listdir(run / "checkpoints")


@pytest.mark.usefixtures("two_gpus")
async def test_on_one_of_them_it_is_trained_in_this_app(open_app: Open) -> None:
    async with open_app(ANY) as person:
        await person.press("space")
        await person.until(lambda: person.shows(GpusDialog))
        await person.press("escape")
        assert person.status.state is State.IDLE
        await person.press("space")
        await person.until(lambda: person.shows(GpusDialog))
        await person.press("o")
        await person.until(lambda: person.status.step > 2)
        assert not person.app.control.attached


@pytest.mark.usefixtures("two_gpus")
async def test_what_refuses_to_start_on_all_of_them_is_said(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = Background(1, 1, None, ("reading …",), "it cannot be started here")
    monkeypatch.setattr(launching, "start_in_background", lambda arguments: refused)
    async with open_app(ANY) as person:
        await person.press("space")
        await person.until(lambda: person.shows(GpusDialog))
        await person.press("a")
        await person.until(lambda: person.notice == "it cannot be started here")
