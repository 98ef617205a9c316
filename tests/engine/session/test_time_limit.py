"""A run that ends by the clock: when it ends, its schedule, and the same bits afterwards."""

from __future__ import annotations

import pytest

from engine.protocol import Adjust, Adjusted, State
from engine.repair.replay import replay
from tests.engine.conftest import MakeConfig, Rig, assert_same_bits, bits

MINUTES = 0.01


@pytest.mark.parametrize("first_plan", [3, 30, 100_000])
def test_a_run_ends_by_the_clock_and_its_learning_rate_with_it(
    rig: Rig, make_config: MakeConfig, first_plan: int
) -> None:
    session = rig.new(make_config(train__max_minutes=MINUTES, train__max_steps=first_plan))
    rig.until(session, lambda: session.status.state is State.FINISHED)
    status, optim = session.status, session.trainer.config.optim
    assert 0.95 * MINUTES * 60 < status.train_seconds < 1.3 * MINUTES * 60
    assert status.step == status.total_steps == session.trainer.config.train.max_steps
    assert status.learning_rate < optim.min_lr + 0.1 * (optim.learning_rate - optim.min_lr)
    told = rig.said(Adjusted)
    assert told and all(one.clock and set(one.changes) == {"train.max_steps"} for one in told)
    assert not session.recorder.metrics.marks  # the chart is not full of them


def test_what_the_clock_decided_is_replayed_to_the_bit(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(train__max_minutes=MINUTES, train__max_steps=30))
    rig.until(session, lambda: session.status.state is State.FINISHED)
    again = replay(rig.close(session), lambda told: None)
    assert again.differs_at is None and again.last_step == session.status.step


def test_a_killed_run_takes_the_same_way_again(rig: Rig, make_config: MakeConfig) -> None:
    config = make_config(train__max_minutes=MINUTES, train__max_steps=30, checkpoint__interval=20)
    session = rig.new(config)
    rig.until(session, lambda: len(rig.said(Adjusted)) >= 2)
    rig.to_step(session, session.trainer.step + 5)
    session.outlet.flush()
    step, there = session.trainer.step, bits(session)
    path = rig.crash(session)
    session = rig.open(path)
    assert session.trainer.step < step
    rig.to_step(session, step)
    assert_same_bits(bits(session), there)
    rig.until(session, lambda: session.status.state is State.FINISHED)


def test_more_minutes_continue_a_finished_run(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(train__max_minutes=MINUTES / 2, train__max_steps=30))
    rig.until(session, lambda: session.status.state is State.FINISHED)
    first = session.status.step
    rig.send(session, Adjust({"train.max_minutes": MINUTES}))
    assert session.status.state is State.PAUSED
    assert session.trainer.total_steps > first
    path = rig.close(session)
    session = rig.open(path)
    rig.until(session, lambda: session.status.state is State.FINISHED)
    assert session.status.step > first
    assert session.status.train_seconds > 0.95 * MINUTES * 60
