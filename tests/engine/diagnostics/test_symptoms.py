"""Each rule on curves drawn by hand: quiet on a healthy one, right on its own, deaf to others'."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.diagnostics.symptoms import RULES, Kind, Record, Symptom

FIRST, FREQUENCY = 4.2, 3.3  # nats: before any step; by counting tokens
NOISE = 0.08  # of one batch


def curve(steps: int, level: Any, noise: float = NOISE, seed: int = 0) -> np.ndarray:
    """Losses around a level that may depend on the step; the first is that of a new model."""
    at = np.arange(1, steps + 1, dtype=float)
    drawn = level(at) if callable(level) else np.full(steps, float(level))
    losses = drawn + noise * np.random.default_rng(seed).normal(size=steps)
    losses[0] = FIRST
    return np.asarray(losses)


def healthy(at: np.ndarray) -> np.ndarray:
    """A power law, as trained models follow it."""
    return np.asarray(1.4 + 2.8 * (1 + at / 20) ** -0.5)


def record(losses: np.ndarray, **changes: Any) -> Record:
    """Those losses, one a step, and no evaluations."""
    facts: dict[str, Any] = {
        "steps": np.arange(1, len(losses) + 1),
        "losses": losses,
        "first_loss": FIRST,
        "val_steps": np.array([], int),
        "val_losses": np.array([]),
        "since": 0,
        "warmup_steps": 20,
        "decayed": False,
        "frequency_loss": FREQUENCY,
    }
    return Record(**(facts | changes))


def found(one: Record) -> dict[Kind, Symptom]:
    """What each rule says."""
    symptoms = {kind: rule(one) for kind, rule in RULES.items()}
    return {kind: symptom for kind, symptom in symptoms.items() if symptom}


def evaluated(losses: np.ndarray, val_losses: list[float], interval: int = 50) -> Record:
    steps = interval * np.arange(1, len(val_losses) + 1)
    return record(losses, val_steps=steps, val_losses=np.array(val_losses))


# Quiet


@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_curve_is_left_in_peace_at_every_step(seed: int) -> None:
    losses = curve(3000, healthy, seed=seed)
    for step in range(1, 3000, 16):
        assert found(record(losses[:step])) == {}


@pytest.mark.parametrize("steps", [0, 1, 2, 15, 40])
def test_a_run_that_has_hardly_begun_is_left_in_peace(steps: int) -> None:
    assert found(record(curve(40, FIRST)[:steps])) == {}


def test_one_odd_batch_is_no_jump() -> None:
    losses = curve(400, healthy)
    losses[-5] += 3.0
    for step in range(395, 401):
        assert found(record(losses[:step])) == {}


def test_a_flat_end_of_a_decayed_learning_rate_is_meant() -> None:
    assert found(record(curve(900, 2.2), decayed=True)) == {}


# A jump


def test_a_jump_is_found_where_it_began() -> None:
    losses = np.concatenate([curve(300, healthy), curve(12, 3.0)[1:], [3.0]])
    spike = found(record(losses))[Kind.SPIKE]
    assert spike.step == 301
    assert (spike.before, spike.now) == pytest.approx((2.1, 3.0), abs=0.1)


@pytest.mark.parametrize(("jump", "is_one"), [(0.2, False), (0.9, True)])
def test_a_jump_must_stand_out_of_the_noise(jump: float, is_one: bool) -> None:
    losses = curve(400, 2.0)
    losses[-12:] += jump
    assert (Kind.SPIKE in found(record(losses))) is is_one


def test_a_loss_without_noise_may_move_a_little() -> None:
    losses = curve(400, 2.0, noise=0.0)
    losses[-12:] += 0.05
    assert Kind.SPIKE not in found(record(losses))


# A learning rate too high


def test_a_loss_above_its_beginning_means_too_high_a_rate() -> None:
    symptom = found(record(curve(64, 9.0)))[Kind.TOO_HIGH]
    assert (symptom.before, symptom.step) == (FIRST, 1)
    assert symptom.now == pytest.approx(9.0, abs=0.1)


def test_a_loss_that_climbs_back_slowly_is_found_without_any_jump() -> None:
    losses = curve(600, lambda at: 2.0 + np.maximum(0, at - 300) / 600)
    kinds = found(record(losses))
    assert Kind.SPIKE not in kinds
    assert kinds[Kind.TOO_HIGH].before == pytest.approx(2.0, abs=0.1)


def test_a_model_that_knows_frequencies_alone_is_thrown_about() -> None:
    losses = curve(220, lambda at: np.maximum(FREQUENCY, FIRST - at / 20))
    kinds = [found(record(losses[:step])) for step in range(120, 221, 16)]
    (symptom, *_) = [one[Kind.TOO_HIGH] for one in kinds if one]
    assert symptom.now == pytest.approx(FREQUENCY, abs=0.1)
    assert found(record(losses[:100])) == {}  # it may still be on its way down


def test_a_model_on_its_way_past_frequencies_is_left_in_peace() -> None:
    losses = curve(130, lambda at: FIRST - at / 150)
    assert found(record(losses)) == {}


# Overfitting


def test_validation_rising_while_training_falls_is_overfitting() -> None:
    losses = curve(400, lambda at: 3.0 - at / 200)
    symptom = found(evaluated(losses, [2.8, 2.5, 2.4, 2.3, 2.4, 2.5, 2.6, 2.7]))[Kind.OVERFITTING]
    assert (symptom.before, symptom.now, symptom.step) == (2.3, 2.7, 200)


@pytest.mark.parametrize(
    ("val_losses", "why_not"),
    [
        ([2.8, 2.5, 2.4, 2.3, 2.2, 2.1, 2.0, 1.9], "it falls"),
        ([2.8, 2.5, 2.4, 2.3, 2.2, 2.1, 2.2, 2.3], "too few evaluations"),
        ([2.8, 2.3, 2.4, 2.3, 2.4, 2.5, 2.4, 2.5], "up and down"),
        ([2.8, 2.5, 2.4, 2.3, 2.301, 2.302, 2.303, 2.304], "hardly at all"),
        ([], "nothing measured"),
    ],
)
def test_it_is_no_overfitting_when(val_losses: list[float], why_not: str) -> None:
    losses = curve(400, lambda at: 3.0 - at / 200)
    assert found(evaluated(losses, val_losses)) == {}, why_not


def test_training_that_rises_too_is_no_overfitting() -> None:
    losses = curve(400, lambda at: 2.0 + at / 4000)
    val_losses = [2.8, 2.5, 2.4, 2.3, 2.4, 2.5, 2.6, 2.7]
    assert Kind.OVERFITTING not in found(evaluated(losses, val_losses))


# A plateau


@pytest.mark.parametrize("seed", range(5))
def test_a_loss_that_stays_where_it_was_is_a_plateau(seed: int) -> None:
    losses = curve(1200, lambda at: np.maximum(2.4, 4.2 - at / 100), seed=seed)
    steps = range(16, 1200, 16)
    plateaus = [found(record(losses[:step])).get(Kind.PLATEAU) for step in steps]
    told = [symptom for symptom in plateaus if symptom]
    assert told and not told[0].unmoved
    assert told[0].now == pytest.approx(2.4, abs=0.05)
    assert not any(found(record(losses[:step])) for step in range(16, 300, 16))


def test_a_loss_that_never_moved_is_a_plateau_of_its_own_kind() -> None:
    losses = curve(200, FIRST)
    assert found(record(losses))[Kind.PLATEAU].unmoved
    assert found(record(losses[:160])) == {}


def test_after_a_change_what_was_before_does_not_count() -> None:
    losses = curve(900, 2.4)
    assert Kind.PLATEAU in found(record(losses))
    assert found(record(losses, since=800)) == {}
