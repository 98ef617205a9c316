"""T: the learning-rate finder, from the key to the setting."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Static

from engine.protocol import Adjusted, LearningRateFinderPrepared, LearningRateFound, Refused, State
from tests.tui.conftest import Open, Person
from tui.screens.lr_finder import LRFinderScreen


def words(person: Person) -> str:
    return str(person.app.screen.query_one("#rate-words", Static).render())


async def rates_tried(person: Person) -> LearningRateFound:
    """Press t, and wait for what comes out."""
    await person.press("T")
    assert isinstance(person.app.screen, LRFinderScreen)
    tried = await person.until_heard(LearningRateFound)
    await person.until(lambda: "Suggestion" in words(person), "a suggestion on the screen")
    return tried


async def test_before_the_first_run_enter_takes_the_suggestion_over_as_if_it_was_typed(
    open_app: Open, runs_dir: Path
) -> None:
    async with open_app() as person:
        tried = await rates_tried(person)
        rate = tried.changes["optim.learning_rate"]
        assert f"optim.learning_rate {rate:g} (now 0.003)" in words(person)
        assert "60% of its fall" in words(person)
        assert person.footer()["enter"] == "Take it over"
        await person.press("enter")
        assert person.app.screen is person.cockpit
        assert person.app.control.draft.edits == {"optim.learning_rate": rate}
        assert list(runs_dir.glob("*")) == []
        await person.start()
        assert person.app.control.draft.base.optim.learning_rate == rate


async def test_with_a_paused_run_the_suggestion_is_a_live_setting(open_app: Open) -> None:
    async with open_app() as person:
        step = await person.start_and_pause()
        tried = await rates_tried(person)
        assert (person.status.state, person.status.step) == (State.PAUSED, step)
        await person.press("enter")
        adjusted = await person.until_heard(Adjusted)
        rate = tried.changes["optim.learning_rate"]
        assert adjusted.changes == {"optim.learning_rate": [0.003, rate]}
        await person.until(lambda: not person.app.control.draft.edits)


async def test_escape_after_the_test_leaves_everything_as_it_was(open_app: Open) -> None:
    async with open_app() as person:
        await rates_tried(person)
        await person.press("escape")
        assert person.app.screen is person.cockpit
        assert person.app.control.draft.edits == {}
        assert person.heard(Adjusted) == []


async def test_escape_ends_a_test_under_way_and_the_next_one_hears_nothing_of_it(
    open_app: Open,
) -> None:
    async with open_app({"model.n_embd": 128, "train.grad_accum_steps": 8}) as person:
        await person.press("T")
        first = await person.until_heard(LearningRateFinderPrepared, message="")
        await person.press("escape", "T")
        await person.until(lambda: len(person.heard(LearningRateFinderPrepared, message="")) == 2)
        second = person.heard(LearningRateFinderPrepared)[-1]
        ended = LearningRateFound("", request_id=first.request_id)
        assert person.heard(LearningRateFound) == [ended]
        assert "throw-away" in words(person)
        await person.press("escape")
        await person.until_heard(LearningRateFound, request_id=second.request_id)
        assert person.app.control.draft.edits == {}


async def test_while_a_run_trains_it_says_to_pause_first(open_app: Open) -> None:
    async with open_app() as person:
        await person.start()
        await person.press("T")
        assert person.app.screen is person.cockpit
        assert person.told().startswith("pause first (space)")
        assert person.status.state is State.RUNNING


async def test_edits_that_do_not_go_together_are_said_and_nothing_is_tested(open_app: Open) -> None:
    async with open_app() as person:
        await person.edit("model.n_head", "3")
        await person.back_to_keys()
        await person.press("T")
        assert person.app.screen is person.cockpit
        assert "not divisible by model.n_head 3" in person.notice


async def test_a_refusal_stands_on_the_screen(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.training.memory_probe.available_bytes", lambda device: 1000)
    async with open_app() as person:
        await person.press("T")
        await person.until_heard(Refused, command="FindLearningRate")
        await person.until(lambda: "GB of memory" in words(person))
        assert "enter" not in person.footer()
        await person.press("escape")
        assert person.notice == ""


async def test_a_run_that_begins_meanwhile_calls_the_test_off(open_app: Open) -> None:
    async with open_app({"model.n_embd": 128, "train.grad_accum_steps": 8}) as person:
        await person.press("T")
        await person.until_heard(LearningRateFinderPrepared, message="")
        person.app.control.start()
        await person.until_heard(LearningRateFound, message="")
        await person.until(lambda: "called off" in words(person))
        await person.press("escape")
        await person.until_state(State.RUNNING)
