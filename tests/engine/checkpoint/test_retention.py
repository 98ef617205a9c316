"""Which checkpoints stay: rules on lists, then a run whose past can be looked at."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from engine.checkpoint import store
from engine.checkpoint.load import load_model
from engine.checkpoint.retention import MOST_LIGHT, Kept, Plan, Rules, plan, thinned
from engine.checkpoint.store import read_checkpoint
from engine.protocol import Pause, Pin, Pinned, Refused, Resume, Rewind, Save
from engine.runs.checkpoint_names import is_full, list_checkpoints, list_snapshots, pin, step_of
from engine.runs.timeline import read_moments
from tests.engine.conftest import MakeConfig, Rig, assert_same_bits, weights


def at(*steps: int, full: bool = True) -> list[Kept]:
    return [Kept(str(step), step, full, 10) for step in steps]


def test_the_newest_full_ones_stay_and_older_ones_become_light() -> None:
    assert plan(at(1, 2, 3, 4, 5), (), Rules(2, 0, 1000)) == Plan(lighten=("1", "2", "3"))


def test_without_room_for_a_history_they_go() -> None:
    assert plan(at(1, 2, 3, 4, 5), (), Rules(2)) == Plan(drop=("1", "2", "3"))


def test_latest_best_and_pinned_ones_stay_as_they_are() -> None:
    assert plan(at(1, 2, 3, 4, 5), {"1", "3"}, Rules(2, 0, 1000)) == Plan(lighten=("2",))


def test_every_kth_stays_full() -> None:
    kept = at(*range(5, 60, 5))
    assert plan(kept, (), Rules(2, 20, 0)).drop == ("5", "10", "15", "25", "30", "35", "45")


def test_light_ones_do_not_count_among_the_newest() -> None:
    kept = [*at(1, 2), *at(3, 4, 5, full=False)]
    assert plan(kept, (), Rules(2, 0, 1000)) == Plan()


def test_a_thinned_history_is_denser_near_now() -> None:
    left = [one.step for one in thinned(at(*range(10, 3010, 10), full=False), 200)]
    assert len(left) == 20
    assert left[-1] == 3000  # the newest is there
    gaps = [after - before for before, after in itertools.pairwise(left)]
    assert gaps[-1] <= 20 and gaps[0] >= 150
    assert sum(gaps[-5:]) < sum(gaps[:5])


def test_a_history_that_grows_step_by_step_keeps_that_shape() -> None:
    history: list[Kept] = []
    for step in range(10, 20_010, 10):
        history = thinned([*history, *at(step, full=False)], 300)
    left = [one.step for one in history]
    assert len(left) == 30 and left[-1] == 20_000
    assert left[0] < 10_000  # and reaches far back
    gaps = [after - before for before, after in itertools.pairwise(left)]
    assert sum(gaps[-10:]) < sum(gaps[:10])


@given(st.lists(st.integers(0, 10**6), unique=True), st.integers(0, 3000), st.integers(1, 10))
def test_the_budget_holds_whatever_the_steps(steps: list[int], budget: int, keep: int) -> None:
    kept = at(*sorted(steps))
    decided = plan(kept, (), Rules(keep, 0, budget))
    assert 10 * len(decided.lighten) <= budget and len(decided.lighten) <= MOST_LIGHT
    newest = {one.name for one in kept[-keep:]}
    assert not newest & {*decided.drop, *decided.lighten}
    assert len(decided.drop) + len(decided.lighten) + min(keep, len(kept)) == len(kept)


# In a run


def test_the_weights_of_each_evaluation_can_be_looked_at(rig: Rig, make_config: MakeConfig) -> None:
    config = make_config(train__max_steps=36, eval__interval=3, checkpoint__interval=12)
    session = rig.new(config.replace({"checkpoint.keep": 2}))
    seen = {}
    while session.trainer.step < 36:
        rig.to_step(session, session.trainer.step + 1)
        seen[session.trainer.step] = weights(session.trainer.model)
    rig.rest(session)
    run = session.files.path
    steps = [step_of(path) for path in list_snapshots(run)]
    assert steps == list(range(3, 37, 3))
    light = [step_of(path) for path in list_snapshots(run) if not is_full(path)]
    assert light
    for step in light:
        assert_same_bits(weights(load_model(run, str(step))), seen[step])
    assert len(list_checkpoints(run)) >= 2
    path = next(path for path in list_snapshots(run) if not is_full(path))
    with pytest.raises(InputError, match="holds the weights alone"):
        read_checkpoint(path)


def test_a_pinned_checkpoint_stays_full(rig: Rig, make_config: MakeConfig) -> None:
    config = make_config(checkpoint__interval=2, checkpoint__keep=2, train__max_steps=30)
    session = rig.new(config)
    rig.to_step(session, 3)
    session.saving.collect(None)  # without another step, however slow the disk
    pin(list_checkpoints(session.files.path)[0])
    rig.rest(session)
    assert [step_of(path) for path in list_checkpoints(session.files.path)] == [2, 28, 30]


def test_without_a_history_only_full_checkpoints_are_kept(
    rig: Rig, make_config: MakeConfig
) -> None:
    config = make_config(
        train__max_steps=30, eval__interval=3, checkpoint__interval=5, checkpoint__history_mb=0
    )
    session = rig.new(config)
    rig.rest(session)
    assert all(map(is_full, list_snapshots(session.files.path)))
    assert len(list_snapshots(session.files.path)) <= 4


def test_weights_a_person_pins_stay_whatever_the_rules_say(
    rig: Rig, make_config: MakeConfig
) -> None:
    config = make_config(
        checkpoint__interval=2, checkpoint__keep=2, checkpoint__history_mb=0, train__max_steps=40
    )
    session = rig.new(config)
    rig.to_step(session, 5)
    rig.send(session, Pause())  # while it is written, no newer ones take its place
    rig.until(session, lambda: not session.saving.busy)
    (pinned,) = rig.send(session, Pin(4))
    assert pinned == Pinned(4, True)
    (refused,) = rig.send(session, Pin(3))
    assert isinstance(refused, Refused) and "weights of step 3 are not kept" in refused.message
    rig.send(session, Resume())
    rig.to_step(session, 20)
    rig.until(session, lambda: not session.saving.busy)
    steps = [step_of(path) for path in list_checkpoints(session.files.path)]
    assert steps[0] == 4 and len(steps) == 3
    moments = {one.step: one for one in read_moments(session.files.path, 0)}
    # a checkpoint that is due while one is being written is left out
    assert moments[4].pinned and not moments[steps[1]].pinned
    rig.send(session, Pin(4, keep=False))
    rig.rest(session)
    assert [step_of(path) for path in list_checkpoints(session.files.path)] == [38, 40]


def test_of_several_weights_of_a_step_the_timeline_has_those_to_go_on_from(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(checkpoint__interval=2, train__max_steps=40))
    rig.to_step(session, 5)
    session.handle(Rewind(4))
    rig.rest(session)
    rig.send(session, Save())
    rig.rest(session)
    first, second = [one for one in list_snapshots(session.files.path) if step_of(one) == 4]
    store._lighten(second)
    assert (is_full(first), is_full(second)) == (True, False)
    moments = {one.step: one for one in read_moments(session.files.path, 1)}
    assert moments[4].weights == "full"
