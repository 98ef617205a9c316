"""The median stopping rule on histories made by hand: who is stopped, and what is said."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config.schema import Config
from engine.sweeps.median_rule import History, MedianRule, best_by, rule_warnings, verdict

NAN = math.nan
THREE: list[History] = [
    {10: 3.0, 20: 2.0, 30: 1.5},
    {10: 3.2, 20: 2.2, 30: 1.4},
    {10: 3.1, 20: 2.1},
]
AT_ONCE = MedianRule(after_runs=3, after_steps=1)


def stops(own: History, others: list[History], step: int = 20, **rule: int) -> bool:
    return bool(verdict(MedianRule(**{"after_steps": 1, **rule}), own, others, step, 40))


# ---- what is compared ----------------------------------------------------------------------------


def test_a_run_worse_than_half_of_the_others_is_told_so_with_the_figures() -> None:
    assert verdict(AT_ONCE, {10: 3.5, 20: 2.3}, THREE, 20, 1040) == (
        "stopped at step 20 of 1,040 by the median stopping rule: best validation loss 2.3000, "
        "median of 3 other runs at that step 2.1000"
    )
    assert verdict(AT_ONCE, {10: 3.5, 20: 2.05}, THREE, 20, 1040) == ""


def test_who_is_as_good_as_the_median_goes_on() -> None:
    assert not stops({20: 2.1}, THREE)
    assert stops({20: math.nextafter(2.1, 3)}, THREE)


def test_the_best_so_far_counts_not_the_latest() -> None:
    assert not stops({10: 1.9, 20: 7.0}, THREE)
    assert stops({10: 2.4, 20: 2.3, 30: 0.1}, THREE)  # what came later does not count
    assert not stops({20: 2.3}, [{10: 2.0, 20: 9.0}, {20: 9.0}, {20: 2.3}, {20: 3.0}])


def test_of_an_even_number_the_median_lies_between_the_middle_two() -> None:
    others: list[History] = [{20: 1.0}, {20: 2.0}, {20: 3.0}, {20: 4.0}]
    assert not stops({20: 2.5}, others)
    assert stops({20: 2.6}, others)


def test_others_count_at_the_steps_they_came_to_whenever_they_were_measured() -> None:
    every_15: list[History] = [{15: 2.0, 30: 1.0}] * 3
    assert stops({20: 2.1}, every_15)  # held to what they had at 15
    assert not stops({20: 1.9}, every_15)
    stopped_at_10: list[History] = [{10: 0.5}] * 3
    assert not stops({20: 9.0}, stopped_at_10)
    assert not stops({20: 9.0}, [*stopped_at_10, *THREE[:2]])


def test_without_an_evaluation_at_the_step_nothing_is_decided() -> None:
    assert not stops({10: 9.0}, THREE)
    assert not stops({}, THREE)


# ---- when it begins ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_first_runs_are_trained_whole(number: int) -> None:
    assert not stops({20: 9.0}, THREE[:number])
    assert stops({20: 9.0}, THREE[: number + 1], after_runs=number + 1)


def test_nobody_is_stopped_in_the_warm_up_a_quarter_if_nothing_is_said() -> None:
    others: list[History] = [dict.fromkeys(range(101), 1.0)] * 3
    own = dict.fromkeys(range(101), 9.0)

    def first_stop(rule: MedianRule) -> int:
        return next(step for step in range(101) if verdict(rule, own, others, step, 100))

    assert first_stop(MedianRule()) == 25
    assert first_stop(MedianRule(after_steps=60)) == 60


def test_the_last_step_is_no_early_one() -> None:
    assert verdict(AT_ONCE, {30: 9.0}, [{30: 1.0}] * 3, 30, 30) == ""


# ---- what is no number ---------------------------------------------------------------------------


def test_a_loss_that_is_no_number_is_the_worst_there_is() -> None:
    assert stops({10: NAN, 20: NAN}, THREE)
    assert not stops({10: 2.0, 20: NAN}, THREE)
    assert stops({20: 5.0}, [*THREE, {20: NAN}, {20: math.inf}], after_runs=5)
    assert not stops({20: NAN}, [{20: NAN}] * 3)
    assert best_by({10: NAN, 20: NAN}, 20) == math.inf


@given(
    st.dictionaries(st.integers(1, 9), st.floats(), max_size=9),
    st.lists(st.dictionaries(st.integers(1, 9), st.floats(), max_size=9), max_size=9),
    st.integers(1, 9),
)
def test_a_stopped_run_is_above_the_median_whatever_the_histories(
    own: dict[int, float], others: list[dict[int, float]], step: int
) -> None:
    why = verdict(AT_ONCE, own, others, step, 10)
    bests = [best for one in others if (best := best_by(one, step)) is not None]
    best = best_by(own, step)
    worse = len(bests) >= 3 and best is not None and best > statistics.median(bests)
    assert bool(why) == (worse and step in own)


# ---- what it cannot do ---------------------------------------------------------------------------


def sweep(key: str, *values: object, **others: object) -> list[Config]:
    base = {"train.max_steps": 100, "eval.interval": 20}
    named = {name.replace("__", "."): value for name, value in others.items()}
    return [Config().replace({**base, **named, key: value}) for value in values]


def test_a_rule_that_can_stop_nobody_says_why() -> None:
    rule, four = MedianRule(), (1e-4, 1e-3, 1e-2, 1e-1)
    rate = "optim.learning_rate"
    assert rule_warnings(rule, sweep(rate, *four)) == []
    assert "there are 3" in rule_warnings(rule, sweep(rate, *four[:3]))[0]
    for interval in (0, 100, 500):
        assert (
            "lower eval.interval"
            in rule_warnings(rule, sweep(rate, *four, eval__interval=interval))[0]
        )
    assert rule_warnings(rule, sweep(rate, *four, eval__interval=99)) == []
    late = MedianRule(after_steps=81)
    assert "lower eval.interval" in rule_warnings(late, sweep(rate, *four))[0]
    batches = rule_warnings(rule, sweep("train.batch_size", 1, 2, 4, 8))
    assert batches == [
        "the median stopping rule stops no run: runs that differ in train.batch_size are evaluated "
        "differently and not compared"
    ]
