"""What is shown of a prediction is what the model says, and what sampling leaves of it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from engine.config.schema import SampleConfig
from engine.inspect import prediction
from engine.inspect.prediction import filtered, predict, predict_at
from engine.model.logits import Draws
from tests.engine.conftest import assert_same_bits, weights
from tests.engine.models import VOCAB, random_model, small_config, small_model, some_tokens

TOKENS = some_tokens(1)[0].tolist()
LOGITS = small_model()(torch.tensor([TOKENS]))[0, -1].detach().numpy()
SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.0},
    {"temperature": 0.5, "top_k": 3},
    {"temperature": 1.7, "top_p": 0.6},
    {"min_p": 0.3},
    {"top_k": 9, "top_p": 0.8, "min_p": 0.1},
    {"repetition_penalty": 1.8, "top_k": 4},
]


@pytest.mark.parametrize("architecture", ["gpt", "bigram"])
def test_log_probabilities_are_those_of_the_models_logits(architecture: str) -> None:
    model = random_model(small_config(architecture=architecture))
    seen = predict(model, TOKENS)
    logits = model(torch.tensor([TOKENS]))[0].detach()
    assert (seen.first, *seen.logits.shape, seen.logits.dtype.name) == (0, 12, VOCAB, "float32")
    np.testing.assert_allclose(seen.log_probs, logits.log_softmax(-1).numpy(), atol=1e-5)
    np.testing.assert_allclose(np.exp(seen.log_probs).sum(-1), 1, atol=1e-5)
    probs = logits.softmax(-1)
    expected = -(probs * probs.log2()).sum(-1)
    np.testing.assert_allclose(seen.entropy, expected.numpy(), atol=1e-4)


def test_one_position_is_predicted_without_what_comes_after_it() -> None:
    whole, one = predict(small_model(), TOKENS), predict_at(small_model(), TOKENS, 5)
    assert (one.first, one.logits.shape, len(one.ids)) == (5, (1, VOCAB), 6)
    np.testing.assert_allclose(one.at(5), whole.at(5), atol=1e-5)
    for outside in (4, 6, -1):
        with pytest.raises(IndexError):
            one.at(outside)


def test_of_a_large_vocabulary_the_last_positions_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = predict(small_model(), TOKENS)
    monkeypatch.setattr(prediction, "LARGEST", 4 * VOCAB * 3)
    seen = predict(small_model(), TOKENS)
    assert (seen.first, len(seen.logits), len(seen.ids)) == (9, 3, 12)
    np.testing.assert_allclose(seen.logits, whole.logits[9:], atol=1e-5)


@pytest.mark.parametrize("changes", SETTINGS, ids=str)
def test_what_is_kept_is_what_sampling_draws_from(changes: dict[str, Any]) -> None:
    settings = SampleConfig(**changes)
    seen = filtered(LOGITS, settings, TOKENS)
    assert sorted(seen.ids.tolist()) == list(range(VOCAB))
    assert (np.diff(seen.probabilities) <= 0).all()
    assert seen.sampled.sum() == pytest.approx(1, abs=1e-5)
    assert ((seen.sampled > 0) == seen.kept).all()
    draws = Draws(settings, range(3000), TOKENS, VOCAB)
    drawn = np.bincount(draws.draw(torch.tensor(LOGITS)[None]).numpy(), minlength=VOCAB) / 3000
    np.testing.assert_allclose(drawn[seen.ids], seen.sampled, atol=0.04)
    assert not drawn[seen.ids[~seen.kept]].any()


@pytest.mark.parametrize(
    ("changes", "kept"), [({"top_k": 5}, 5), ({"temperature": 0.0}, 1), ({}, VOCAB)]
)
def test_the_settings_leave_as_many_as_they_say(changes: dict[str, Any], kept: int) -> None:
    seen = filtered(LOGITS, dataclasses.replace(SampleConfig(), **changes))
    assert seen.kept.sum() == kept
    assert seen.kept[:kept].all()


def test_weights_that_are_no_numbers_give_figures_that_are_none() -> None:
    model = small_model()
    torch.nn.init.constant_(model.head.weight, math.nan)
    seen = predict(model, TOKENS)
    assert np.isnan(seen.log_probs).all() and np.isnan(seen.entropy).all()
    for changes in SETTINGS:
        filtered(seen.at(3), SampleConfig(**changes), TOKENS)  # says nothing, and does not fail


def test_looking_leaves_the_model_and_the_random_numbers_as_they_were() -> None:
    model = small_model(dropout=0.3).train()
    before, state = weights(model), torch.get_rng_state()
    one, same = predict(model, TOKENS), predict(model, TOKENS)
    assert np.array_equal(one.logits, same.logits)  # no dropout
    assert model.training
    assert_same_bits(weights(model), before)
    assert torch.equal(torch.get_rng_state(), state)
