"""Going back: to any step, to the bit; what is left behind stays, and a crash changes nothing."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from data.errors import InputError
from engine.checkpoint.load import load_model
from engine.checkpoint.store import find_checkpoint, read_checkpoint
from engine.protocol import (
    Adjust,
    Evaluated,
    Fork,
    Forked,
    Pause,
    Refused,
    Resume,
    Rewind,
    Rewound,
    State,
    StateChanged,
    Stop,
    StopGoingBack,
    Warned,
)
from engine.runs.checkpoint_names import (
    branch_of,
    is_full,
    list_checkpoints,
    list_snapshots,
    step_of,
)
from engine.session.session import Session
from tests.engine.conftest import MakeConfig, Rig, assert_same_bits, bits

RICH: dict[str, Any] = {
    "model__n_layer": 1,
    "model__dropout": 0.2,
    "train__grad_accum_steps": 2,
    "optim__ema_decay": 0.9,
    "train__max_steps": 40,
    "eval__interval": 6,
    "checkpoint__interval": 10,
}
FAR_APART = RICH | {"eval__interval": 15, "checkpoint__interval": 15}


def run_state(session: Session, metric: str = "train_loss") -> dict[int, float]:
    """A metric as a reader of the run sees it."""
    session.outlet.flush()
    steps, values = session.files.database.curve(metric, session.run_state.lineage())
    return dict(zip(steps.tolist(), values.tolist(), strict=True))


def go_back(rig: Rig, session: Session, step: int) -> None:
    session.handle(Rewind(step))
    rig.rest(session)
    assert rig.said(Rewound)[-1].step == step == session.trainer.step


@pytest.mark.parametrize(  # the beginning, a checkpoint, and steps that are trained again
    ("optimizer", "step"),
    [
        ("adamw", 0),
        ("adamw", 20),
        ("adamw", 23),
        ("muon", 7),
        ("muon", 20),
        ("sgd", 0),
        ("sgd", 23),
    ],
)
def test_going_back_is_being_there_again_to_the_bit(
    rig: Rig, make_config: MakeConfig, optimizer: str, step: int
) -> None:
    config = make_config(**RICH, optim__optimizer=optimizer)
    session, other = rig.new(config), rig.new(config)
    rig.to_step(session, 25)
    go_back(rig, session, step)
    rig.to_step(other, step)
    assert_same_bits(bits(session), bits(other))
    assert session.status.state is State.PAUSED
    session.handle(Resume())
    for one in (session, other):
        rig.to_step(one, 30)
    assert_same_bits(bits(session), bits(other))
    assert run_state(session) == run_state(other)
    assert run_state(session, "val_loss") == run_state(other, "val_loss")


def test_the_time_trained_is_that_of_the_step_gone_back_to(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(**RICH))
    rig.to_step(session, 25)
    known = run_state(session, "train_seconds")
    go_back(rig, session, 17)  # trained again from step 10
    assert session.status.train_seconds == pytest.approx(known[17])
    session.handle(Resume())
    rig.to_step(session, 18)
    assert run_state(session, "train_seconds")[18] > known[17]


def test_settings_changed_on_the_way_change_again_and_those_after_it_do_not(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(**RICH))
    seen = {}
    for step, rate in ((12, 5e-3), (15, 2e-2), (21, 1e-3)):
        rig.to_step(session, step)
        session.handle(Adjust({"optim.learning_rate": rate}))
    rig.to_step(session, 24)
    seen = run_state(session)
    go_back(rig, session, 18)
    assert session.trainer.config.optim.learning_rate == 2e-2
    assert rig.said(Rewound)[-1].config == session.trainer.config.to_dict()
    session.handle(Resume())
    rig.to_step(session, 24)
    again = run_state(session)
    assert {s: seen[s] for s in range(1, 23)} == {s: again[s] for s in range(1, 23)}
    assert seen[23] != again[23]  # the change of step 21 belongs to what was left behind


def test_what_is_left_behind_stays_as_a_ghost_and_can_be_read(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(**RICH))
    rig.to_step(session, 24)
    before = run_state(session)
    go_back(rig, session, 9)
    metrics = session.recorder.metrics
    assert metrics.column("train_loss").last_step == 9
    (ghost,) = metrics.ghosts("train_loss")
    assert ghost.snapshot()[0].tolist() == list(range(10, 25))
    assert ghost.snapshot()[1].tolist() == [before[step] for step in range(10, 25)]
    assert {(branch_of(p), step_of(p)) for p in list_checkpoints(session.files.path)} >= {
        (0, 24),
        (1, 9),
    }
    session.handle(Adjust({"optim.learning_rate": 5e-3}))
    session.handle(Resume())
    rig.to_step(session, 12)
    path = rig.close(session)

    opened = rig.open(path, running=False)
    assert opened.trainer.step == 12
    assert opened.recorder.metrics.ghosts("train_loss")[0].last_step == 24
    marks = [(mark.step, mark.label) for mark in opened.recorder.metrics.marks]
    assert marks == [(9, "learning_rate 0.01→0.005")]
    assert sorted(run_state(opened)) == list(range(1, 13))


def test_the_best_weights_may_be_kept_without_what_training_needs(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(**RICH | {"train__max_steps": 90}))
    rig.to_step(session, 80)  # the full checkpoints of the beginning are light by now
    run = session.files.path
    light = [path for path in list_snapshots(run) if not is_full(path)]
    evaluated = run_state(session, "val_loss")
    step = next(s for path in light if (s := step_of(path)) in evaluated and s > 6)
    go_back(rig, session, step)
    assert session.run_state.losses.best_step == step
    session.handle(Adjust({"optim.learning_rate": 10.0}))
    session.handle(Resume())
    rig.to_step(session, step + 30)
    rig.close(session)
    assert session.run_state.losses.best_step == step, "nothing after it is any good"
    best = find_checkpoint(run, "best")
    assert step_of(best) == step
    assert not is_full(best)
    assert load_model(run, "best") is not None


def test_what_was_best_after_the_step_gone_back_to_is_so_no_more(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(**RICH))
    rig.to_step(session, 24)
    best = session.run_state.losses.best_step
    assert best
    go_back(rig, session, 3)  # nothing was measured so early
    path = rig.close(session)
    assert session.run_state.losses.best_step is None
    assert find_checkpoint(path, "best") == find_checkpoint(path, "latest")
    assert step_of(find_checkpoint(path, "best")) == 3


def test_the_checkpoints_to_choose_from_are_named_once_and_in_order(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(**RICH))
    rig.to_step(session, 24)
    go_back(rig, session, 10)
    session.handle(Resume())
    rig.to_step(session, 24)
    path = rig.close(session)
    steps = [step_of(one) for one in list_snapshots(path)]
    assert len(steps) > len(set(steps))
    named = ", ".join(str(step) for step in sorted(set(steps)))
    with pytest.raises(InputError, match=f"it has best, latest and steps {named}, of which"):
        find_checkpoint(path, "7")


def test_one_can_go_back_again_and_again(rig: Rig, make_config: MakeConfig) -> None:
    config = make_config(**RICH)
    session, other = rig.new(config), rig.new(config)
    rig.to_step(session, 22)
    for step in (15, 11, 3):
        go_back(rig, session, step)
        session.handle(Resume())
        rig.to_step(session, step + 6)
    for one in (session, other):
        rig.to_step(one, 14)
    assert_same_bits(bits(session), bits(other))
    assert run_state(session) == run_state(other)
    assert len(session.files.database.branches()) == 4


def test_a_finished_run_can_go_back_and_finish_again(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(**RICH))
    rig.rest(session)
    first = session.status
    go_back(rig, session, 33)
    assert session.status.best_step is not None and session.status.best_step <= 33
    session.handle(Resume())
    rig.rest(session)
    assert session.status.state is State.FINISHED
    assert session.status.val_loss == first.val_loss


def _is_going_back(session: Session) -> bool:
    return session._rewinder.under_way


@pytest.mark.parametrize("quanta", [1, 4, 9])
def test_a_run_killed_or_closed_on_its_way_back_is_where_it_was(
    rig: Rig, make_config: MakeConfig, quanta: int
) -> None:
    session = rig.new(make_config(**FAR_APART))
    rig.to_step(session, 18)
    session.handle(Pause())
    expected = bits(session)
    for end in (rig.crash, rig.close):
        session.handle(Rewind(8))
        rig.until(session, partial(_is_going_back, session))
        for _ in range(quanta):
            session.advance()
        assert session._rewinder.under_way
        session = rig.open(end(session), running=False)
        assert session.trainer.step == 18
        assert_same_bits(bits(session), expected)
        assert session.files.database.branches() == session.files.database.branches()[:1]


def test_while_a_run_goes_back_other_commands_have_to_wait(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(**RICH))
    rig.to_step(session, 18)
    session.handle(Rewind(8))
    rig.until(session, lambda: session._rewinder.under_way)
    (refused,) = rig.send(session, Adjust({"optim.learning_rate": 1e-3}))
    assert isinstance(refused, Refused) and "is going back" in refused.message
    session.advance()
    assert "going back: step" in session.status.message
    rig.rest(session)
    assert session.status.message == ""


@pytest.mark.parametrize("quanta", [0, 5])
@pytest.mark.parametrize("state", [State.RUNNING, State.PAUSED, State.FINISHED])
@pytest.mark.parametrize("command", [Rewind(8, request_id=7), Fork(step=8, request_id=7)])
def test_a_way_back_can_be_stopped_and_nothing_has_changed(
    rig: Rig, make_config: MakeConfig, command: Rewind | Fork, state: State, quanta: int
) -> None:
    session = rig.new(make_config(**FAR_APART | {"train__max_steps": 18}))
    rig.to_step(session, 18 if state is State.FINISHED else 17)
    if state is State.FINISHED:
        rig.rest(session)
    elif state is State.PAUSED:
        session.handle(Pause())
    expected, losses = bits(session), session.run_state.losses
    session.handle(command)
    if quanta:
        rig.until(session, partial(_is_going_back, session))
    for _ in range(quanta):
        session.advance()
    way = session.status.going_back
    assert way is not None and way.step == 8 and (way.seconds_left is None) == (quanta == 0)
    (answer,) = rig.send(session, StopGoingBack(request_id=8))
    assert isinstance(answer, StateChanged) and answer.request_id == 8
    rig.until(session, lambda: session.status.going_back is None)
    assert rig.said(Refused)[-1].request_id == 7
    assert "the run is at step 1" in rig.said(Refused)[-1].message
    assert_same_bits(bits(session), expected)
    assert session.run_state.losses == losses
    rig.until(session, lambda: session.status.state is state)
    assert not rig.said(Rewound) and not rig.said(Forked)
    assert len(session.files.database.branches()) == 1
    rig.rest(session)
    assert sorted(run_state(session)) == list(range(1, session.trainer.step + 1))


def test_the_checkpoint_that_a_way_back_begins_at_is_not_dropped_before_it(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(**RICH | {"eval__interval": 0}))
    rig.to_step(session, 38)
    session.handle(Pause())
    first = step_of(list_checkpoints(session.files.path)[0])
    assert first > 0  # the oldest one: saving step 38 would reduce it to its weights
    session.handle(Rewind(first + 2))
    rig.until(session, lambda: "step" in session.status.message.partition(":")[2])
    assert session.status.message == f"going back: step {first} of {first + 2}"


@pytest.mark.parametrize("paused", [False, True])
def test_an_evaluation_that_a_way_back_made_give_way_is_made_once_that_is_stopped(
    rig: Rig, make_config: MakeConfig, paused: bool
) -> None:
    session = rig.new(make_config(**RICH))
    rig.to_step(session, 18)  # its evaluation comes next
    if paused:
        session.handle(Pause())
    session.handle(Rewind(8))
    session.handle(StopGoingBack())
    if paused:
        rig.rest(session)
        session.handle(Resume())
    rig.to_step(session, 19)
    assert [one.step for one in rig.said(Evaluated)][-1] == 18


@pytest.mark.parametrize("step", [-1, 6, 7, 100])
def test_a_step_that_is_not_in_the_past_is_refused(
    rig: Rig, make_config: MakeConfig, step: int
) -> None:
    session = rig.new(make_config())
    rig.to_step(session, 6)
    (refused,) = rig.send(session, Rewind(step))
    assert isinstance(refused, Refused)
    assert "the steps it can: from 0 to 5" in refused.message
    assert session.trainer.step == 6


def test_a_damaged_checkpoint_on_the_way_is_passed_over(rig: Rig, make_config: MakeConfig) -> None:
    config = make_config(**RICH)
    session, other = rig.new(config), rig.new(config)
    rig.to_step(session, 25)
    rig.until(session, lambda: not session.saving.busy)
    (damaged,) = [p for p in list_checkpoints(session.files.path) if step_of(p) == 20]
    (damaged / "model.safetensors").write_bytes(b"x")
    go_back(rig, session, 22)
    (warned,) = rig.said(Warned)
    assert "step-00000020 is damaged" in warned.message
    rig.to_step(other, 22)
    assert_same_bits(bits(session), bits(other))


def test_the_checkpoint_gone_back_to_is_the_latest(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(**RICH))
    rig.to_step(session, 25)
    go_back(rig, session, 12)
    path = rig.crash(session)
    latest = path / "checkpoints" / (path / "checkpoints" / "latest").read_text().strip()
    snapshot = read_checkpoint(latest)
    assert (snapshot.step, snapshot.state["branch"]) == (12, 1)
    opened = rig.open(path)
    rig.to_step(opened, 14)
    assert sorted(run_state(opened)) == list(range(1, 15))
    assert np.isfinite(list(run_state(opened).values())).all()
    assert not isinstance(opened.status.state, Stop)


def test_a_loss_that_was_no_number_is_not_the_best_of_a_run_that_goes_back(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(**RICH))
    rig.to_step(session, 13)
    session.outlet.flush()
    session.files.database.add_metrics(0, [("val_loss", 12, float("nan"))])
    expected = run_state(session, "val_loss")[6]
    go_back(rig, session, 12)
    assert (session.status.best_step, session.status.best_val_loss) == (6, expected)
