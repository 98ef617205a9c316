"""Advice in the cockpit: said in a line, followed, hidden or silenced with one key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from engine.protocol import (
    Adjusted,
    Advised,
    Refused,
    Rewound,
    Silenced,
    State,
    StateChanged,
    Unsilenced,
)
from engine.training.trainer import Trainer
from tests.tui.conftest import Open, Person

TOO_HIGH = Advised(
    "learning rate too high",
    "the loss has climbed from 2.10 to 2.65: the learning rate is too high",
    "set learning_rate to 0.0003",
    {"optim.learning_rate": 3e-4},
)


async def hear(person: Person, advice: Advised) -> None:
    """Have the engine say it."""
    person.app._post_event(advice)
    await person.until(lambda: advice.message in person.notice, "the advice")


@pytest.fixture
def broken_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradients of the sixth step are not numbers, unless the learning rate is a low one."""
    update = Trainer._update

    def diverge(self: Trainer) -> None:
        if self.step == 5 and self.config.optim.learning_rate > 1e-3:
            for parameter in self.model.parameters():
                parameter.grad = torch.full_like(parameter, torch.nan)
        update(self)

    monkeypatch.setattr(Trainer, "_update", diverge)


async def test_advice_names_the_keys_that_act_on_it(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await hear(person, TOO_HIGH)
        assert person.notice.splitlines() == [
            TOO_HIGH.message,
            "Y set learning_rate to 0.0003 · esc hide · X never again",
        ]


async def test_y_does_what_is_advised_and_takes_it_away(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await hear(person, TOO_HIGH)
        await person.press("Y")
        adjusted = await person.until_heard(Adjusted)
        assert adjusted.changes == {"optim.learning_rate": [3e-3, 3e-4]}
        assert person.notice == ""
        assert person.cockpit.why_not("follow_advice", ())


@pytest.mark.parametrize(
    ("words", "event"), [("set learning_rate", Adjusted), ("never again", Silenced)]
)
async def test_a_click_on_what_can_be_done_does_it(
    open_app: Open, words: str, event: type[Adjusted | Silenced]
) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await hear(person, TOO_HIGH)
        column = person.notice.splitlines()[1].index(words) + 1  # behind the padding
        await person.pilot.click(person.cockpit.notice, offset=(column, 1))
        await person.until_heard(event)
        assert person.notice == ""


async def test_escape_hides_it_and_it_can_be_followed_nevertheless(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await hear(person, TOO_HIGH)
        await person.press("escape")
        assert person.notice == ""
        assert not person.heard(Adjusted) and not person.heard(Silenced)
        await person.press("Y")
        adjusted = await person.until_heard(Adjusted)
        assert adjusted.changes == {"optim.learning_rate": [3e-3, 3e-4]}
        assert person.cockpit.why_not("follow_advice", ()) == "there is no advice to follow"


async def test_hidden_advice_is_over_once_its_setting_is_changed(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await hear(person, TOO_HIGH)
        await person.press("escape")
        await person.edit("optim.learning_rate", "0.001")
        await person.until_heard(Adjusted)
        await person.until(lambda: person.cockpit.why_not("follow_advice", ()), "no advice")


async def test_a_capital_x_silences_it_for_good(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await hear(person, TOO_HIGH)
        await person.press("X")
        assert (await person.until_heard(Silenced)).kind == TOO_HIGH.kind
        assert person.notice == ""
        (entry,) = person.journal("silenced")
        assert entry["detail"] == {"advice": "learning rate too high"}


async def test_silenced_advice_is_brought_back_from_the_palette(open_app: Open) -> None:
    async with open_app() as person:
        offered = "Show all advice again"
        assert offered not in palette(person)  # no run is there yet
        await person.start_and_pause()
        await hear(person, TOO_HIGH)
        await person.press("X")
        await person.until_heard(Silenced)
        await person.until(lambda: offered in person.told())
        palette(person)[offered]()
        assert (await person.until_heard(Unsilenced)).kinds == [TOO_HIGH.kind]
        palette(person)[offered]()
        await person.until_heard(Refused, command="Unsilence")
        await person.until(lambda: "no kind of advice was silenced" in person.notice)


def palette(person: Person) -> dict[str, Callable[[], Any]]:
    """What the command palette offers: title -> what it does."""
    commands = person.app.get_system_commands(person.cockpit)
    return {one.title: one.callback for one in commands}


async def test_advice_is_gone_once_its_setting_was_changed_by_hand(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await hear(person, TOO_HIGH)
        await person.edit("optim.weight_decay", "0.2")
        await person.until(lambda: len(person.heard(Adjusted)) == 1)
        assert TOO_HIGH.message in person.notice
        await person.back_to_keys()
        await person.edit("optim.learning_rate", "0.001")
        await person.until(lambda: len(person.heard(Adjusted)) == 2)
        assert person.notice == ""


async def test_in_a_field_its_keys_are_letters(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await hear(person, TOO_HIGH)
        await person.press("p", "Y", "X")
        assert TOO_HIGH.message in person.notice
        assert not person.heard(Adjusted) and not person.heard(Silenced)


async def test_from_what_is_no_number_y_goes_back_and_on_with_a_lower_rate(
    open_app: Open, broken_gradient: None
) -> None:
    async with open_app({"checkpoint.interval": 3}) as person:
        await person.press("space")
        advice = await person.until_heard(Advised)
        await person.until_state(State.PAUSED)
        assert person.notice.splitlines() == [
            "the gradient of step 6 is not finite: update skipped, run paused",
            "Y go back to step 3, learning_rate 0.0003 · space skip the batch · q stop",
        ]
        await person.press("X")  # this cannot be silenced
        assert advice.message in person.notice
        await person.press("Y")
        assert (await person.until_heard(Rewound)).step == 3
        await person.until(lambda: person.status.step > 10, "steps after the broken one")
        assert person.status.state is State.RUNNING
        assert person.heard(Adjusted)[-1].changes["optim.learning_rate"] == [3e-3, 3e-4]
        assert len(person.heard(Advised)) == 1


async def test_from_what_is_no_number_space_goes_on_without_the_batch(
    open_app: Open, broken_gradient: None
) -> None:
    async with open_app() as person:
        await person.press("space")
        await person.until_heard(Advised)
        await person.until_state(State.PAUSED)
        await person.press("space")
        await person.until(lambda: person.status.step > 10, "steps after the broken one")
        assert not person.heard(Rewound)
        assert person.notice == ""


async def test_a_run_that_stopped_early_says_why_and_what_goes_on(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"eval.interval": 2, "eval.patience": 1, "optim.learning_rate": 9.0}
    async with open_app(settings | {"optim.warmup_steps": 0}, size=(120, 40)) as person:
        await person.press("space")
        await person.until_heard(StateChanged, state=State.FINISHED)
        await person.until(lambda: "finished" in person.notice)
        why, finished, ways = person.notice.splitlines()
        assert why == "stopped early: no lower validation loss in 1 evaluation (eval.patience)"
        assert finished.startswith("finished: ")
        assert "raise eval.patience (e) to continue" in ways


async def test_advice_on_a_jump_offers_the_step_before_it_and_can_be_hidden(
    open_app: Open,
) -> None:
    jump = Advised(
        "spike",
        "the loss jumped from 1.90 to 3.40 at step 9 and stays there",
        "go back to step 3, learning_rate 0.003",
        {"optim.learning_rate": 3e-3},
        rewind_to=3,
    )
    async with open_app({"checkpoint.interval": 3}) as person:
        await person.start()
        await person.until(lambda: person.status.step > 9)
        await hear(person, jump)
        assert person.notice.splitlines()[1] == (
            "Y go back to step 3, learning_rate 0.003 · esc hide · X never again"
        )
        await person.press("Y")
        rewound = await person.until_heard(Rewound)
        assert rewound.step == 3
        await person.until(lambda: person.status.state is State.RUNNING, "training again")
        assert not person.heard(Adjusted), "the step had these settings"
