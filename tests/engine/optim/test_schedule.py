"""The learning rate, against closed forms."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.config.schema import SETTINGS, OptimConfig
from engine.optim.schedule import learning_rate, schedule_ahead

SCHEDULES = SETTINGS["optim.schedule"].choices


def optim(**changes: object) -> OptimConfig:
    return OptimConfig(
        **{"learning_rate": 1.0, "min_lr": 0.1, "warmup_steps": 10} | changes  # type: ignore[arg-type]
    )


def nanogpts_rate(step: int, peak: float, floor: float, warmup: int, decay_steps: int) -> float:
    """``get_lr`` of nanoGPT's train.py, with its names changed."""
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if step > decay_steps:
        return floor
    ratio = (step - warmup) / (decay_steps - warmup)
    return floor + 0.5 * (1.0 + math.cos(math.pi * ratio)) * (peak - floor)


@given(step=st.integers(0, 3000), warmup=st.integers(0, 400), decay_steps=st.integers(401, 2500))
def test_cosine_is_nanogpts_formula(step: int, warmup: int, decay_steps: int) -> None:
    config = optim(warmup_steps=warmup, decay_steps=decay_steps)
    expected = nanogpts_rate(step, 1.0, 0.1, warmup, decay_steps)
    assert learning_rate(config, step, 2000) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warm_up_rises_by_equal_steps_to_the_peak(schedule: str) -> None:
    rates = [learning_rate(optim(schedule=schedule), step, 100) for step in range(11)]
    assert rates == pytest.approx([(step + 1) / 11 for step in range(11)])


def test_linear_falls_by_equal_steps_and_stays_at_the_floor() -> None:
    config = optim(schedule="linear")
    rates = [learning_rate(config, step, 110) for step in range(10, 121)]
    assert rates[:101] == pytest.approx([1 - 0.9 * i / 100 for i in range(101)])
    assert rates[100:] == [0.1] * 11


def test_cosine_is_half_way_at_half_time() -> None:
    assert learning_rate(optim(), 60, 110) == pytest.approx(0.55)
    assert learning_rate(optim(), 110, 110) == learning_rate(optim(), 10**6, 110) == 0.1


def test_constant_stays_at_the_peak() -> None:
    assert {learning_rate(optim(schedule="constant"), s, 50) for s in (10, 49, 50, 10**6)} == {1.0}


def test_decay_ends_at_decay_steps_if_they_are_set_and_with_the_run_if_not() -> None:
    early = optim(decay_steps=40)
    assert learning_rate(early, 39, 110) > 0.1
    assert learning_rate(early, 40, 110) == 0.1
    assert learning_rate(optim(), 109, 110) > 0.1


@pytest.mark.parametrize("schedule", sorted({*SCHEDULES} - {"constant"}))
@pytest.mark.parametrize("total", [1, 5, 10])
def test_a_warm_up_as_long_as_the_run_rises_to_its_end_and_never_divides_by_zero(
    schedule: str, total: int
) -> None:
    rates = [learning_rate(optim(schedule=schedule), step, total) for step in range(13)]
    assert rates[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert rates[10:] == [0.1] * 3


# Warm-up, stable, decay


def wsd_rate(step: int, warmup: int, cooldown: int, end: int) -> float:
    """Up in equal steps, level, down in equal steps to the floor, level."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if step >= end:
        return 0.1
    down = min(cooldown, end - warmup)
    return 1 - 0.9 * max(0, step - (end - down)) / down


@given(
    step=st.integers(0, 1500),
    warmup=st.integers(0, 300),
    cooldown=st.integers(1, 1200),
    end=st.integers(1, 1000),
)
def test_wsd_is_level_and_then_falls_by_equal_steps(
    step: int, warmup: int, cooldown: int, end: int
) -> None:
    config = optim(schedule="wsd", warmup_steps=warmup, cooldown_steps=cooldown)
    expected = wsd_rate(step, warmup, cooldown, end)
    assert learning_rate(config, step, end) == pytest.approx(expected, rel=1e-12)


def test_a_cool_down_that_is_left_open_takes_the_last_fifth() -> None:
    config = optim(schedule="wsd")
    rates = [learning_rate(config, step, 200) for step in range(211)]
    assert set(rates[10:161]) == {1.0}
    assert rates[160:201] == pytest.approx([1 - 0.9 * i / 40 for i in range(41)])
    assert rates[200:] == [0.1] * 11
    assert [learning_rate(config, step, 1) for step in (10, 11)] == [0.1, 0.1]


@given(now=st.integers(10, 5000), length=st.integers(1, 500))
def test_a_cool_down_can_begin_at_any_step_without_a_jump(now: int, length: int) -> None:
    """By saying where it ends and how long it takes."""
    before = learning_rate(optim(schedule="wsd"), now, 10**6)
    config = optim(schedule="wsd", decay_steps=now + length, cooldown_steps=length)
    rates = [learning_rate(config, now + i, 10**6) for i in range(length + 2)]
    assert rates[0] == before == 1.0
    assert rates[:-1] == pytest.approx([1 - 0.9 * i / length for i in range(length + 1)])
    assert rates[-1] == 0.1


# All of them


@given(
    schedule=st.sampled_from(SCHEDULES),
    warmup=st.integers(0, 50),
    cooldown=st.integers(0, 150),
    end=st.integers(1, 120),
)
def test_after_warm_up_no_rate_ever_rises_or_leaves_floor_and_peak(
    schedule: str, warmup: int, cooldown: int, end: int
) -> None:
    assume(warmup < end)
    config = optim(schedule=schedule, warmup_steps=warmup, cooldown_steps=cooldown)
    rates = [learning_rate(config, step, end) for step in range(warmup, 150)]
    assert rates[0] == 1.0
    assert all(a >= b for a, b in itertools.pairwise(rates))
    assert min(rates) == (1.0 if schedule == "constant" else 0.1)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_schedule_ahead_is_the_rate_of_each_step_to_come(schedule: str) -> None:
    one = optim(schedule=schedule, cooldown_steps=100)
    steps, rates = schedule_ahead(one, 700, 10_000, points=50)
    assert (steps[0], steps[-1]) == (700, 9_999)
    assert steps == sorted(set(steps)) and len(steps) < 60
    assert rates == [learning_rate(one, step, 10_000) for step in steps]


def test_the_schedule_ahead_has_its_corners() -> None:
    one = optim(schedule="wsd", cooldown_steps=111)
    steps, _ = schedule_ahead(one, 0, 10_000, points=20)
    assert {10, 9_889, 9_999} <= set(steps)


def test_nothing_is_ahead_of_a_finished_run() -> None:
    assert schedule_ahead(optim(), 100, 100) == ([], [])
