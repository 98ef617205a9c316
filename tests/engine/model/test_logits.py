"""The rules by which a token is drawn are the stated ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from engine.config.schema import SETTINGS, SampleConfig
from engine.model.logits import DRAWS_AHEAD, Draws, penalised, pick, truncated

LOGITS = st.lists(st.floats(-20, 20), min_size=2, max_size=30)


def sampling(**settings: Any) -> SampleConfig:
    """Settings that leave the distribution as it is, unless they say otherwise."""
    return SampleConfig(**{"temperature": 1.0, **settings})


def draw(logits: Sequence[float], seed: int = 0, start: Sequence[int] = (), **rules: Any) -> int:
    """One token of one text."""
    draws = Draws(sampling(**rules), [seed], start, len(logits))
    return int(draws.draw(torch.tensor([logits]))[0])


def counts(probabilities: Sequence[float], times: int, **rules: Any) -> np.ndarray:
    """How often each token is drawn."""
    draws = Draws(sampling(**rules), [0], (), len(probabilities))
    logits = torch.tensor([probabilities]).log()
    drawn = [int(draws.draw(logits)[0]) for _ in range(times)]
    return np.bincount(drawn, minlength=len(probabilities))


# Temperature


@given(logits=LOGITS)
def test_temperature_zero_takes_the_likeliest(logits: list[float]) -> None:
    assert draw(logits, temperature=0) == int(np.argmax(np.asarray(logits, np.float32)))


@given(logits=LOGITS, temperature=st.sampled_from([5e-324, 1e-300, 1e-46, 1e-10]))
def test_a_temperature_next_to_zero_takes_one_of_the_likeliest(
    logits: list[float], temperature: float
) -> None:
    assert max(logits) - logits[draw(logits, temperature=temperature)] < 1e-5


def test_tokens_are_drawn_as_often_as_their_probability_says() -> None:
    expected = 4000 * np.array([0.4, 0.3, 0.2, 0.1])
    drawn = counts([0.4, 0.3, 0.2, 0.1], 4000)
    assert ((drawn - expected) ** 2 / expected).sum() < 16.27  # chi-square, 3 degrees, p = 0.001


def test_temperature_and_truncation_shape_what_is_drawn() -> None:
    expected = 4000 * np.array([0.16, 0.09, 0.04]) / 0.29
    drawn = counts([0.4, 0.3, 0.2, 0.1], 4000, temperature=0.5, top_k=3)
    assert drawn[3] == 0
    assert ((drawn[:3] - expected) ** 2 / expected).sum() < 13.82  # 2 degrees, p = 0.001


@given(
    chances=st.lists(st.sampled_from([0.0, 1e-300, 0.1, 3.0]), min_size=1, max_size=8).filter(any),
    uniform=st.one_of(st.floats(0, 1, exclude_max=True), st.sampled_from([0.0, 1 - 2**-53])),
)
def test_a_token_without_a_chance_is_never_picked(chances: list[float], uniform: float) -> None:
    shares = torch.tensor([chances], dtype=torch.float64) / sum(chances)
    (picked,) = pick(shares, torch.tensor([[uniform]], dtype=torch.float64)).tolist()
    assert chances[picked] > 0


# Truncation


def allowed(logits: list[int], temperature: float, top_k: int, top_p: float) -> set[int]:
    """By hand: the k likeliest; of these the fewest whose share of their sum reaches p."""
    scaled = np.asarray(logits, np.float64) / temperature
    chances = np.exp(scaled - scaled.max())
    order = sorted(range(len(logits)), key=lambda i: (-chances[i], i))
    order = order[:top_k] if top_k else order
    total, mass, kept = sum(chances[i] for i in order), 0.0, set()
    for i in order:
        if mass >= top_p * total:
            break
        kept.add(i)
        mass += chances[i]
    return kept


@settings(deadline=None)
@given(
    logits=st.lists(st.integers(-6, 6), min_size=2, max_size=12, unique=True),
    temperature=st.sampled_from([0.5, 1.0, 2.0]),
    top_k=st.integers(0, 14),
    top_p=st.sampled_from([0.05, 0.31, 0.5, 0.77, 0.93, 1.0]),
)
def test_top_k_then_top_p_leave_exactly_the_tokens_counted_by_hand(
    logits: list[int], temperature: float, top_k: int, top_p: float
) -> None:
    chances = (torch.tensor([logits], dtype=torch.float64) / temperature).softmax(-1)
    left = truncated(chances, sampling(top_k=top_k, top_p=top_p))
    assert set(left[0].nonzero()[:, 0].tolist()) == allowed(logits, temperature, top_k, top_p)
    kept = chances.where(left > 0, 0)
    torch.testing.assert_close(left, kept / kept.sum())


WARPERS = {
    "top_k": TopKLogitsWarper(5),
    "top_p": TopPLogitsWarper(0.83),
    "min_p": MinPLogitsWarper(0.15),
}
VALUES = {"top_k": 5, "top_p": 0.83, "min_p": 0.15}


@pytest.mark.parametrize("names", [["top_k"], ["top_p"], ["min_p"], ["top_k", "top_p", "min_p"]])
@pytest.mark.parametrize("seed", range(10))
def test_the_tokens_left_are_those_that_transformers_leaves(names: list[str], seed: int) -> None:
    logits = 2 * torch.randn(3, 40, generator=torch.Generator().manual_seed(seed))
    theirs = logits
    for name in names:
        theirs = WARPERS[name](None, theirs)
    rules = sampling(**{name: VALUES[name] for name in names})
    ours = truncated(logits.double().softmax(-1), rules)
    assert torch.equal(ours > 0, torch.isfinite(theirs))


def test_of_equally_likely_tokens_top_k_keeps_the_first() -> None:
    even = torch.full((1, 6), 1 / 6, dtype=torch.float64)
    assert truncated(even, sampling(top_k=2)).tolist() == [[0.5, 0.5, 0, 0, 0, 0]]


# Repetition


def test_the_penalty_is_that_of_transformers() -> None:
    logits = torch.randn(2, 12, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[0, 3, 3, 7], [1, 2, 11, 11]])
    seen = torch.zeros(2, 12, dtype=torch.bool).scatter_(1, ids, True)
    theirs = RepetitionPenaltyLogitsProcessor(1.7)(ids, logits.clone())
    torch.testing.assert_close(penalised(logits, seen, 1.7), theirs)


def test_tokens_of_the_start_and_tokens_drawn_are_penalised() -> None:
    draws = Draws(sampling(temperature=0, repetition_penalty=10.0), [0], [2], 4)
    logits = torch.tensor([[1.0, 2.0, 3.0, 0.5]])
    assert [int(draws.draw(logits)[0]) for _ in range(4)] == [1, 0, 3, 2]


def test_each_text_is_penalised_for_its_own_tokens() -> None:
    draws = Draws(sampling(temperature=0, repetition_penalty=10.0), [0, 1], [0], 3)
    assert draws.draw(torch.tensor([[1.0, 2.0, 0.5], [1.0, 0.5, 2.0]])).tolist() == [1, 2]
    assert draws.draw(torch.tensor([[0.1, 2.0, 0.5], [0.1, 0.5, 2.0]])).tolist() == [2, 1]


# Several texts


RULES: list[dict[str, Any]] = [
    {},
    {"top_k": 5, "top_p": 0.9, "min_p": 0.01},
    {"repetition_penalty": 1.5, "temperature": 0.7},
]


@pytest.mark.parametrize("rules", RULES)
def test_what_a_text_draws_does_not_depend_on_its_neighbours(rules: dict[str, Any]) -> None:
    steps = DRAWS_AHEAD + 3
    logits = torch.randn(steps, 3, 20, generator=torch.Generator().manual_seed(0))
    together = Draws(sampling(**rules), [5, 6, 7], [1], 20)
    drawn = torch.stack([together.draw(logits[i]) for i in range(steps)])
    for row, seed in enumerate([5, 6, 7]):
        alone = Draws(sampling(**rules), [seed], [1], 20)
        assert [int(alone.draw(logits[i, row : row + 1])[0]) for i in range(steps)] == (
            drawn[:, row].tolist()
        )


@pytest.mark.parametrize("rules", RULES)
def test_texts_that_are_left_draw_as_if_nothing_had_happened(rules: dict[str, Any]) -> None:
    logits = torch.randn(9, 3, 20, generator=torch.Generator().manual_seed(0))
    some, all_of_them = (Draws(sampling(**rules), [5, 6, 7], [1], 20) for _ in range(2))
    for i in range(4):
        assert torch.equal(some.draw(logits[i]), all_of_them.draw(logits[i]))
    some.keep([0, 2])
    for i in range(4, 9):
        assert torch.equal(some.draw(logits[i, [0, 2]]), all_of_them.draw(logits[i])[[0, 2]])


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_all_texts_share_need_be_given_once(temperature: float) -> None:
    logits = torch.randn(1, 20, generator=torch.Generator().manual_seed(0))
    once, each = (Draws(sampling(temperature=temperature), range(8), (), 20) for _ in range(2))
    drawn = once.draw(logits)
    assert torch.equal(drawn, each.draw(logits.expand(8, -1)))
    assert drawn.shape == (8,)
    assert (len(set(drawn.tolist())) == 1) == (temperature == 0)


# Bad numbers, and the schema


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("row", [0, 1])
def test_logits_that_are_not_numbers_are_said_to_be_so(
    bad: float, temperature: float, row: int
) -> None:
    logits = torch.ones(2, 3)
    logits[row, 1] = bad
    with pytest.raises(FloatingPointError, match="not finite"):
        Draws(sampling(temperature=temperature), [0, 1], (), 3).draw(logits)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("min_p", "1.5", "sample.min_p must be above 0, at most 1, or 'off' (0), not 1.5"),
        (
            "min_p",
            "-0.1",
            "sample.min_p must be above 0, at most 1, or 'off' (0), not -0.1",
        ),
        (
            "repetition_penalty",
            "0",
            "sample.repetition_penalty must be above 0, at most 10, not 0",
        ),
    ],
)
def test_values_that_cannot_be_are_refused(key: str, value: str, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        SETTINGS[f"sample.{key}"].check(value)
    assert str(caught.value) == sentence
