"""A fork: a new run with the weights and the past of another, which stays as it is."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from data.errors import InputError
from engine.protocol import (
    Adjust,
    Fork,
    Forked,
    Pause,
    Refused,
    Resume,
    Rewind,
    Rewound,
    Sample,
    SampleStarted,
    Save,
    State,
    Warned,
)
from engine.runs.checkpoint_names import is_pinned, list_checkpoints
from engine.runs.records import StoredSample
from engine.runs.summary import read_summary
from engine.session.fork import fork
from engine.session.rewind import visit
from tests.engine.conftest import MakeConfig, Rig, assert_same_bits, bits
from tests.engine.session.test_rewind import RICH, run_state


def fork_now(rig: Rig, session: Any, changes: dict[str, Any] | None = None) -> Path:
    (forked,) = rig.send(session, Fork(changes or {}))
    assert isinstance(forked, Forked), forked
    return Path(forked.path)


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
def test_a_fork_without_changes_goes_on_as_its_parent_to_the_bit(
    rig: Rig, make_config: MakeConfig, optimizer: str
) -> None:
    parent = rig.new(make_config(**RICH, optim__optimizer=optimizer))
    rig.to_step(parent, 11)
    parent.handle(Adjust({"optim.learning_rate": 5e-3}))
    rig.to_step(parent, 14)
    child = rig.open(fork_now(rig, parent))
    assert child.trainer.step == 14 and child.trainer.config.optim.learning_rate == 5e-3
    for one in (parent, child):
        rig.to_step(one, 20)
    assert_same_bits(bits(parent), bits(child))
    assert run_state(parent) == run_state(child)


def test_a_fork_has_trained_as_long_as_its_parent_by_then(
    rig: Rig, make_config: MakeConfig
) -> None:
    parent = rig.new(make_config(**RICH))
    rig.to_step(parent, 20)
    known = run_state(parent, "train_seconds")
    parent.handle(Fork({}, None, 17))  # trained again from step 10
    rig.rest(parent)
    path = Path(rig.said(Forked)[-1].path)
    unopened, child = read_summary(path), rig.open(path)
    for told in (unopened, child.status):
        assert told.train_seconds == pytest.approx(known[17])
        assert told.tokens == 17 * child.status.tokens_per_step


def test_only_a_fork_that_was_opened_before_can_have_been_left_open(
    rig: Rig, make_config: MakeConfig
) -> None:
    parent = rig.new(make_config(**RICH))
    rig.to_step(parent, 8)
    path = fork_now(rig, parent)
    child = rig.open(path)
    assert not rig.said(Warned)
    rig.to_step(child, 11)
    child.outlet.flush()
    child.files.close()  # as when it is killed
    rig.open(path)
    assert "was not closed the last time" in rig.said(Warned)[-1].message


def test_changed_settings_hold_from_the_fork_on(rig: Rig, make_config: MakeConfig) -> None:
    parent = rig.new(make_config(**RICH))
    rig.to_step(parent, 14)
    child = rig.open(fork_now(rig, parent, {"optim.learning_rate": 1e-3, "train.seed": 5}))
    assert child.trainer.config.optim.learning_rate == 1e-3
    for one in (parent, child):
        rig.to_step(one, 16)
    ours, theirs = run_state(child), run_state(parent)
    assert {s: ours[s] for s in range(1, 15)} == {s: theirs[s] for s in range(1, 15)}
    assert ours[15] != theirs[15]
    assert child.files.database.meta()["parent"] == {
        "run": parent.files.path.name,
        "step": 14,
        "branch": 0,
        "changes": {"optim.learning_rate": [1e-2, 1e-3], "train.seed": [1337, 5]},
    }


def test_dropout_may_change_in_a_fork(rig: Rig, make_config: MakeConfig) -> None:
    parent = rig.new(make_config(**RICH))
    rig.to_step(parent, 4)
    other = parent.trainer.config.model.dropout + 0.25
    child = rig.open(fork_now(rig, parent, {"model.dropout": other}))
    for one in (parent, child):
        rig.to_step(one, 5)
    assert child.trainer.config.model.dropout == other
    assert run_state(child)[5] != run_state(parent)[5]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model.n_layer": 3}, "model.n_layer cannot change in a fork: the weights were made"),
        ({"data.corpus": "python-docs"}, "data.corpus cannot change in a fork"),
        ({"optim.optimizer": "sgd"}, "the optimizer's state would not fit"),
        ({"train.max_steps": 14}, "begin at step 14 and end at step 14"),
        ({"optim.learning_rate": -1}, "optim.learning_rate must be above 0"),
    ],
)
def test_what_does_not_fit_the_weights_is_refused_and_nothing_is_made(
    rig: Rig, make_config: MakeConfig, changes: dict[str, Any], why: str
) -> None:
    parent = rig.new(make_config(**RICH))
    rig.to_step(parent, 14)
    (refused,) = rig.send(parent, Fork(changes))
    assert isinstance(refused, Refused) and why in refused.message
    assert [path.name for path in rig.runs_dir.iterdir()] == [parent.files.path.name]


def test_a_fork_goes_back_to_where_it_began_and_no_further(
    rig: Rig, make_config: MakeConfig
) -> None:
    parent = rig.new(make_config(**RICH))
    rig.to_step(parent, 14)
    expected = bits(parent)
    child = rig.open(fork_now(rig, parent, {"checkpoint.keep": 2, "checkpoint.interval": 3}))
    rig.to_step(child, 30)
    (refused,) = rig.send(child, Rewind(13))
    assert isinstance(refused, Refused) and "from 14 to 29" in refused.message
    child.handle(Rewind(14))
    rig.rest(child)
    assert rig.said(Rewound)[-1].step == 14
    assert_same_bits(bits(child), expected)
    assert child.status.val_loss == parent.status.val_loss
    assert child.status.best_step is None, "the best weights, of step 12, are its parent's"
    assert is_pinned(list_checkpoints(child.files.path)[0])


@pytest.mark.parametrize("step", [0, 9, 13, None])
def test_any_step_of_a_run_in_training_can_be_visited_and_forked(
    rig: Rig, make_config: MakeConfig, step: int | None
) -> None:
    parent = rig.new(make_config(**RICH))
    rig.to_step(parent, 9)
    expected = {9: bits(parent)}
    rig.to_step(parent, 21)
    rig.until(parent, lambda: not parent.saving.busy)
    before = parent.files.database.journal()
    with visit(parent.files.path, step, lambda message: None) as there:
        assert there.step == (20 if step is None else step)
        path = fork(there, {}, "child")
    assert parent.files.database.journal() == before
    child = rig.open(path, running=False)
    if step in expected:
        assert_same_bits(bits(child), expected[step])
    assert sorted(run_state(child)) == list(range(1, child.trainer.step + 1))
    assert child.status.state is State.PAUSED


def test_a_step_the_run_never_was_at_cannot_be_visited(rig: Rig, make_config: MakeConfig) -> None:
    parent = rig.new(make_config(**RICH))
    rig.to_step(parent, 12)
    path = rig.close(parent)
    refusal = "has steps 0 to 12, and not 13"
    with pytest.raises(InputError, match=refusal), visit(path, 13, lambda message: None):
        pass


@pytest.mark.parametrize("running", [True, False])
def test_a_run_forked_at_a_step_before_goes_on_as_if_nobody_had_asked(
    rig: Rig, make_config: MakeConfig, running: bool
) -> None:
    config = make_config(**RICH)
    parent, other = rig.new(config), rig.new(config)
    for one in (parent, other):
        rig.to_step(one, 13)
        one.handle(Pause())
        one.handle(Save())
        rig.until(one, partial(lambda session: session.status.saved_step == 13, one))
        if running:
            one.handle(Resume())
        one.handle(Adjust({"optim.learning_rate": 4e-3}))
    parent.advance()  # half a step, if it is running
    parent.handle(Fork({}, None, 7))
    rig.until(parent, lambda: bool(rig.said(Forked)))
    assert rig.said(Forked)[-1].step == 7
    for one in (parent, other):
        one.handle(Resume())
        rig.to_step(one, 20)
    assert_same_bits(bits(parent), bits(other))
    assert run_state(parent) == run_state(other)
    child = rig.open(Path(rig.said(Forked)[-1].path))
    rig.to_step(child, 12)
    assert {s: run_state(child)[s] for s in range(1, 13)} == {
        s: run_state(other)[s] for s in range(1, 13)
    }


def test_a_text_can_be_written_with_kept_weights_of_a_step_before(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(**RICH))
    rig.to_step(session, 8)
    session.handle(Sample({"seed": 5}))
    rig.to_step(session, 14)
    (refused,) = rig.send(session, Sample({"seed": 5}, 7))
    assert isinstance(refused, Refused) and "weights of step 7 are not kept" in refused.message
    session.handle(Sample({"seed": 5}, 6))

    def kept() -> list[StoredSample]:
        return [one for one in session.files.database.samples() if one["step"] == 6]

    rig.until(session, lambda: len(kept()) == 2)  # the automatic one, and this one
    assert len([event for event in rig.said(SampleStarted) if event.step == 6]) == 2
    assert kept()[0]["val_loss"] is not None


def test_what_a_run_has_left_can_still_be_forked(rig: Rig, make_config: MakeConfig) -> None:
    config = make_config(**RICH)
    parent, other = rig.new(config), rig.new(config)
    rig.to_step(parent, 24)
    rig.to_step(other, 22)
    expected = bits(other)
    parent.handle(Rewind(9))
    rig.rest(parent)
    parent.handle(Adjust({"optim.learning_rate": 1e-3}))
    parent.handle(Resume())
    rig.to_step(parent, 15)
    path = rig.close(parent)
    with visit(path, 22, lambda message: None) as there:
        child = fork(there, {}, "old-future")
    with visit(path, 12, lambda message: None) as there:
        assert there.trainer.config.optim.learning_rate == 1e-3  # the present line comes first
    assert_same_bits(bits(rig.open(child, running=False)), expected)
