"""Early stopping: the run ends as any other, says why, and goes on when it is given more time."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from engine.protocol import Adjust, Evaluate, Refused, Resume, Rewind, State, StateChanged
from engine.session.ending import evaluations_without_improvement, why_stopped_early
from engine.session.session import Session
from engine.training.trainer import Evaluation, Trainer
from tests.engine.conftest import MakeConfig, Rig

COURSE = {4: 3.0, 8: 2.0, 12: 2.5, 16: 2.4, 20: 2.3, 24: 2.2, 28: 2.1, 32: 1.9}

Evaluates = Callable[[dict[int, float]], None]


@pytest.fixture
def evaluates(monkeypatch: pytest.MonkeyPatch) -> Evaluates:
    """Have evaluations find these losses at these steps; whole-split ones find 2.6 anywhere."""

    def settle(losses: dict[int, float]) -> None:
        def quanta(
            trainer: Trainer, whole: bool = False, model: Any = None
        ) -> Generator[None, None, Evaluation]:
            yield
            loss = 2.6 if whole else losses.get(trainer.step, 9.0)
            return Evaluation(trainer.step, loss, 1, 1 if whole else 2)

        monkeypatch.setattr(Trainer, "evaluate_quanta", quanta)

    settle(COURSE)
    return settle


@pytest.fixture
def impatient(rig: Rig, make_config: MakeConfig, evaluates: Evaluates) -> Session:
    """A run of 40 steps that waits for two evaluations."""
    config = make_config(train__max_steps=40, eval__interval=4, eval__patience=2)
    return rig.new(config)


def last_words(rig: Rig) -> str:
    return str(rig.said(StateChanged)[-1].message)


def test_it_ends_when_patience_does_and_says_why(rig: Rig, impatient: Session) -> None:
    rig.rest(impatient)
    assert (impatient.status.state, impatient.trainer.step) == (State.FINISHED, 16)
    assert last_words(rig) == (
        "stopped early: no lower validation loss in 2 evaluations (eval.patience)"
    )
    assert impatient.status.total_steps == 40
    assert impatient.run_state.losses.final_step == 16
    assert impatient.status.val_measured == "whole split"
    assert impatient.files.database.journal("finished")[-1]["step"] == 16


def test_without_patience_set_no_evaluation_ends_a_run(
    rig: Rig, make_config: MakeConfig, evaluates: Evaluates
) -> None:
    session = rig.new(make_config(train__max_steps=40, eval__interval=4))
    rig.rest(session)
    assert session.trainer.step == 40
    assert last_words(rig) == ""


@pytest.mark.parametrize("close", [Rig.close, Rig.crash])
def test_an_ended_run_is_still_ended_when_it_is_opened(
    rig: Rig, impatient: Session, close: Callable[[Rig, Session], Any]
) -> None:
    rig.rest(impatient)
    session = rig.open(close(rig, impatient))
    rig.rest(session)
    assert (session.status.state, session.trainer.step) == (State.FINISHED, 16)
    assert last_words(rig).startswith("stopped early")
    (refused,) = rig.send(session, Resume())
    assert isinstance(refused, Refused)
    assert "raise eval.patience to continue" in refused.message


@pytest.mark.parametrize(
    ("change", "ends"),
    [
        ({"eval.patience": 5}, 40),  # a lower one comes at step 32
        ({"eval.patience": 3}, 28),
        ({"train.max_steps": 60}, 24),
        ({"eval.patience": 0}, 40),
    ],
)
def test_more_patience_or_more_steps_go_on_from_there(
    rig: Rig, impatient: Session, change: dict[str, Any], ends: int
) -> None:
    rig.rest(impatient)
    rig.send(impatient, Adjust(change))
    assert impatient.status.state is State.PAUSED
    rig.send(impatient, Resume())
    rig.rest(impatient)
    assert (impatient.status.state, impatient.trainer.step) == (State.FINISHED, ends)


def test_a_closed_run_is_given_more_patience_as_it_is_opened(rig: Rig, impatient: Session) -> None:
    rig.rest(impatient)
    session = rig.open(rig.close(impatient), eval__patience=3)
    rig.rest(session)
    assert session.trainer.step == 28


@pytest.mark.parametrize("step", [9, 13, 15])
def test_a_killed_run_ends_where_it_would_have(rig: Rig, impatient: Session, step: int) -> None:
    rig.to_step(impatient, step)
    session = rig.open(rig.crash(impatient))
    rig.rest(session)
    assert (session.status.state, session.trainer.step) == (State.FINISHED, 16)


def test_a_run_killed_before_its_end_was_measured_measures_it(rig: Rig, impatient: Session) -> None:
    rig.until(impatient, lambda: evaluations_without_improvement(impatient.run_state) == 2)
    impatient.saving.collect(None)
    impatient.saving.begin()
    impatient.saving.collect(None)
    session = rig.open(rig.crash(impatient))
    rig.rest(session)
    assert (session.status.state, session.trainer.step) == (State.FINISHED, 16)
    assert session.run_state.losses.final_step == 16


def test_looking_changes_nothing(rig: Rig, impatient: Session) -> None:
    for step in (9, 10, 11, 13, 14):
        rig.to_step(impatient, step)
        rig.send(impatient, Evaluate())
    rig.send(impatient, Evaluate(whole=True))
    rig.rest(impatient)
    assert impatient.trainer.step == 16


def test_going_back_takes_the_evaluations_back_too(
    rig: Rig, impatient: Session, evaluates: Evaluates
) -> None:
    rig.rest(impatient)
    impatient.handle(Rewind(10))
    rig.rest(impatient)
    assert evaluations_without_improvement(impatient.run_state) == 0
    assert why_stopped_early(impatient.run_state) == ""
    evaluates(COURSE | {12: 1.8, 16: 1.85})
    impatient.handle(Resume())
    rig.rest(impatient)
    assert impatient.trainer.step == 20


def test_a_loss_that_is_no_number_is_no_improvement(
    rig: Rig, make_config: MakeConfig, evaluates: Evaluates
) -> None:
    evaluates({4: 2.0, 8: float("nan"), 12: float("nan")})
    config = make_config(train__max_steps=40, eval__interval=4, eval__patience=2)
    session = rig.new(config)
    rig.rest(session)
    assert session.trainer.step == 12


def test_the_evaluations_of_the_interval_are_marked_in_the_journal(
    rig: Rig, impatient: Session
) -> None:
    rig.to_step(impatient, 5)
    rig.send(impatient, Evaluate())
    rig.rest(impatient)
    entries = impatient.files.database.journal("evaluated")
    marked = [(one["step"], one["detail"]["scheduled"]) for one in entries]
    assert marked == [(4, True), (5, False), (8, True), (12, True), (16, True), (16, False)]
