"""The range test on paper: the rates rise geometrically, and a curve of losses suggests one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from data.errors import InputError
from engine.config.presets import preset_config
from engine.config.schema import Config
from engine.lr_finder.ramp import Ramp, Suggestion, at_rate, ramp_for, suggest
from engine.metrics import Column

RISE = Ramp(1e-6, 1.0, 100)
BEST = 3e-3  # where the fall of the curves below is steepest


def curve(noise: float = 0.0, seed: int = 0, fall: float = 1.5, up: float = 0.1) -> np.ndarray:
    """A loss that falls around ``BEST`` and rises beyond ``up``, with the noise of its batches."""
    log = np.log10([RISE.rate(step) for step in range(RISE.steps)])
    down = fall / (1 + np.exp(-4 * (log - math.log10(BEST))))
    rising = 3.0 * np.maximum(0.0, log - math.log10(up)) ** 2
    return 4.17 - down + rising + np.random.default_rng(seed).normal(0, noise, RISE.steps)


def smoothed(losses: np.ndarray) -> np.ndarray:
    column = Column(RISE.smoothing)
    column.extend(range(len(losses)), losses)
    return column.snapshot()[2]


# The rates


@pytest.mark.parametrize(("first", "last", "steps"), [(1e-6, 1, 100), (1e-4, 0.1, 10)])
def test_each_rate_is_the_one_before_times_the_same_factor(
    first: float, last: float, steps: int
) -> None:
    ramp = Ramp(first, last, steps)
    factor = (last / first) ** (1 / (steps - 1))
    expected = [first * factor**step for step in range(steps)]
    assert [ramp.rate(step) for step in range(steps)] == pytest.approx(expected)
    assert ramp.rate(0) == first
    assert ramp.rate(steps - 1) == pytest.approx(last)


def test_a_longer_test_is_smoothed_over_as_much_of_the_rise() -> None:
    assert Ramp(steps=100).smoothing == pytest.approx(0.9)
    assert Ramp(steps=1000).smoothing == pytest.approx(0.99)
    assert Ramp(steps=10).smoothing == 0.0


def test_everything_wrong_with_the_rates_is_said_at_once() -> None:
    for first, last, steps, *words in (
        (1e-2, 1e-2, 100, "--from 0.01 must be below --to 0.01"),
        (0.0, 1.0, 9, "--from must be above 0, not 0", "--steps must be 10 to 100,000, not 9"),
        (math.nan, 1.0, 100, "--from must be above 0, not nan"),
        (1e-6, 11.0, 100, "--to must be at most 10, not 11"),
    ):
        with pytest.raises(InputError) as caught:
            ramp_for(Config(), first, last, steps)
        assert len(caught.value.problems) == len(words)
        assert all(word in str(caught.value) for word in words)


# What a step of the test trains at


def test_both_rates_rise_in_proportion_and_nothing_else_moves_them() -> None:
    config = preset_config("fast").replace({"optim.ema_decay": 0.9, "optim.warmup_steps": 50})
    there = at_rate(config, 0.001)
    assert there.optim.learning_rate == 0.001
    assert there.optim.muon_lr == pytest.approx(0.002)  # the preset has 0.01 and 0.02
    left = set(config.differences(there))
    assert left == {
        "optim.learning_rate",
        "optim.muon_lr",
        "optim.schedule",
        "optim.warmup_steps",
        "optim.ema_decay",
    }


def test_muons_rate_stays_within_its_bound_at_the_end_of_the_rise() -> None:
    muon = Config().replace({"optim.optimizer": "muon"})  # 1e-3 and 2e-2
    assert ramp_for(muon).last == pytest.approx(0.5)
    assert ramp_for(Config()).last == 1.0  # AdamW's rate alone
    with pytest.raises(
        InputError, match=r"at most 0\.5, or optim\.muon_lr would exceed its maximum"
    ):
        ramp_for(muon, last=1.0)


# What a curve suggests


def test_a_clean_curve_suggests_a_rate_in_the_fall() -> None:
    found = suggest(RISE, smoothed(curve()), diverged=False)
    assert found.learning_rate is not None
    assert BEST / 2 < found.learning_rate < BEST * 6
    assert "60% of its fall" in found.why and "it was lowest at" in found.why


def test_noise_hardly_moves_the_suggestion() -> None:
    clean = suggest(RISE, smoothed(curve()), diverged=False).learning_rate
    assert clean is not None
    for seed in range(20):
        noisy = suggest(RISE, smoothed(curve(0.1, seed)), diverged=False).learning_rate
        assert noisy is not None
        assert clean / 1.6 < noisy < clean * 1.6


def test_what_comes_after_the_lowest_loss_does_not_count() -> None:
    whole, cut = smoothed(curve(up=0.02)), smoothed(curve(up=0.02))[:80]
    assert suggest(RISE, whole, True).learning_rate == suggest(RISE, cut, True).learning_rate


@pytest.mark.parametrize("losses", [[4.17, 5.0, 9.0, 14.0], [math.nan], [4.17, math.inf]])
def test_a_loss_that_goes_up_at_once_suggests_a_lower_start(losses: list[float]) -> None:
    found = suggest(RISE, smoothed(np.array(losses)), diverged=True)
    assert found.learning_rate is None
    assert found.why.startswith("no suggestion: the loss rose")
    assert "start from a rate below 1e-6" in found.why


def test_a_loss_that_never_falls_and_rises_at_the_end_is_not_sent_higher() -> None:
    rising = 4.17 + np.linspace(0, 1, RISE.steps) ** 4
    found = suggest(RISE, smoothed(rising), diverged=False)
    assert found.learning_rate is None
    assert "the loss rose" in found.why and "higher" not in found.why


def test_a_loss_that_never_falls_suggests_nothing_but_what_to_do() -> None:
    flat = 4.17 + np.random.default_rng(0).normal(0, 0.02, RISE.steps)
    found = suggest(RISE, smoothed(flat), diverged=False)
    assert found.learning_rate is None
    assert "did not fall by 5% at any rate up to 1" in found.why
    assert "go to a higher rate" in found.why


def test_a_loss_that_still_falls_at_the_end_says_so() -> None:
    falling = 4.17 - np.linspace(0, 1, RISE.steps) ** 4
    found = suggest(RISE, smoothed(falling), diverged=False)
    assert found.learning_rate is not None
    assert "it was still falling at 1" in found.why


# What to set


def test_the_settings_name_muons_rate_too() -> None:
    assert Suggestion(0.0043, "").changes(preset_config("fast")) == {
        "optim.learning_rate": 0.0043,
        "optim.muon_lr": 0.0086,
    }
    assert Suggestion(0.002, "").changes(preset_config("nanogpt-cpu")) == {
        "optim.learning_rate": 0.002
    }


def test_a_floor_above_the_suggestion_is_lowered_with_it() -> None:
    config = preset_config("nanogpt-cpu")  # 1e-3, down to 1e-4
    settings = Suggestion(5e-5, "").changes(config)
    assert settings == {"optim.learning_rate": 5e-5, "optim.min_lr": 5e-6}
    assert config.check(settings)[1] == []
