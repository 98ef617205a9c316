"""From a symptom to one sentence and the settings that help."""

from __future__ import annotations

from typing import Any

import pytest

from engine.config.schema import SETTINGS, Config
from engine.config.setting import When
from engine.diagnostics.advice import advise, advise_non_finite
from engine.diagnostics.symptoms import RULES, Kind, Symptom

JUMP = Symptom(Kind.SPIKE, 1.9, 2.6, 840)
CLIMB = Symptom(Kind.TOO_HIGH, 3.3, 5.0, 60)
STUCK = Symptom(Kind.TOO_HIGH, 3.3, 3.31, 120)
OVERFIT = Symptom(Kind.OVERFITTING, 1.47, 1.53, 500)
FLAT = Symptom(Kind.PLATEAU, 2.31, 2.30, 700)
UNMOVED = Symptom(Kind.PLATEAU, 4.19, 4.19, 150, unmoved=True)


def changes(symptom: Symptom, before: dict[str, Any] | None = None, **settings: Any) -> Any:
    """The changes advised, under some settings."""
    named = {key.replace("__", "."): value for key, value in settings.items()}
    advice = advise(symptom, Config().replace(named), before or {})
    return advice.changes if advice else None


@pytest.mark.parametrize("symptom", [JUMP, CLIMB, STUCK, OVERFIT, FLAT, UNMOVED])
@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
@pytest.mark.parametrize("rate", [1e-7, 1e-3, 9.0])
def test_all_advice_is_one_sentence_and_can_be_followed_live(
    symptom: Symptom, optimizer: str, rate: float
) -> None:
    config = Config().replace(
        {"optim.optimizer": optimizer, "optim.learning_rate": rate, "optim.min_lr": 0.0}
    )
    advice = advise(symptom, config, {})
    assert advice and advice.changes and advice.action
    assert "\n" not in advice.message and not advice.message.endswith(".")
    assert len(advice.message) <= 78  # one line of the narrowest usual terminal
    assert all(SETTINGS[key].when is When.LIVE for key in advice.changes)
    assert config.replace(advice.changes) != config


def test_every_rule_has_advice() -> None:
    for kind in RULES:
        assert advise(Symptom(kind, 2.0, 2.5, 10), Config(), {}) is not None


def test_a_rate_that_was_just_raised_goes_back_to_what_it_was() -> None:
    before = {"optim.learning_rate": 1e-3, "model.dropout": 0.1}
    assert changes(JUMP, before, optim__learning_rate=0.05) == {"optim.learning_rate": 1e-3}
    assert changes(JUMP, {"optim.learning_rate": 0.1}, optim__learning_rate=0.05) == {
        "optim.learning_rate": 0.015
    }


def test_a_lower_rate_takes_its_floor_and_muons_rate_along() -> None:
    assert changes(CLIMB, optim__learning_rate=0.1) == {"optim.learning_rate": 0.01}
    assert changes(CLIMB, optim__learning_rate=5e-4) == {
        "optim.learning_rate": 5e-5,
        "optim.min_lr": 1e-5,
    }
    assert changes(CLIMB, optim__optimizer="muon", optim__learning_rate=0.1) == {
        "optim.learning_rate": 0.01,
        "optim.muon_lr": 0.002,
    }


@pytest.mark.parametrize(("rate", "higher"), [(1e-7, 1e-3), (1e-3, 1e-2), (5.0, 10.0)])
def test_a_rate_that_does_nothing_is_raised_to_what_does_something(
    rate: float, higher: float
) -> None:
    advised = changes(UNMOVED, optim__learning_rate=rate, optim__min_lr=0.0)
    assert advised == {"optim.learning_rate": higher}


def test_overfitting_is_met_with_dropout_then_patience_then_nothing() -> None:
    assert changes(OVERFIT) == {"model.dropout": 0.2}
    assert changes(OVERFIT, model__dropout=0.3) == {"eval.patience": 1}
    assert changes(OVERFIT, model__dropout=0.3, eval__patience=4) is None


def test_what_is_no_number_is_met_by_going_back_with_a_tenth_of_the_rate() -> None:
    advice = advise_non_finite(620, "gradient", 500, Config())
    assert "the gradient of step 620 is not finite" in advice.message
    assert advice.action == "go back to step 500, learning_rate 0.0001"
    assert (advice.rewind_to, advice.changes) == (500, {"optim.learning_rate": 1e-4})


@pytest.mark.parametrize("symptom", [JUMP, CLIMB])
def test_a_blow_up_is_met_by_going_back_to_the_step_before_it(symptom: Symptom) -> None:
    config = Config().replace({"optim.learning_rate": 0.1})
    advice = advise(symptom, config, {"optim.learning_rate": 1e-3}, good_step=400)
    assert advice is not None and not advice.pauses
    assert advice.rewind_to == 400
    assert advice.action.startswith("go back to step 400, learning_rate 0.0")
    without = advise(symptom, config, {"optim.learning_rate": 1e-3})
    assert without is not None and without.rewind_to is None


def test_what_is_no_blow_up_needs_no_step_before_it() -> None:
    advice = advise(OVERFIT, Config(), {}, good_step=400)
    assert advice is not None and advice.rewind_to is None


@pytest.mark.parametrize("symptom", [JUMP, CLIMB, STUCK])
def test_a_rate_that_a_change_raised_too_far_is_what_it_was_before(symptom: Symptom) -> None:
    config = Config().replace({"optim.learning_rate": 0.5})
    advice = advise(symptom, config, {"optim.learning_rate": 3e-3}, good_step=600)
    assert advice is not None and advice.changes == {"optim.learning_rate": 3e-3}
