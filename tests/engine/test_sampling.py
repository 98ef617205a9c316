"""Generation: the cache changes nothing, the rules are the stated ones, nothing is disturbed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import ModelConfig
from engine.model import GPT
from engine.randomness import Stream, derived_seed
from engine.sampling import generate, sample_token

VOCAB, CONTEXT = 20, 10


@pytest.fixture(scope="module")
def model() -> GPT:
    torch.manual_seed(0)
    model = GPT(ModelConfig(n_layer=2, n_head=2, n_embd=16, block_size=CONTEXT), VOCAB).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


def slow_generate(
    model: GPT, start: list[int], max_tokens: int, seed: int, **rules: Any
) -> Iterator[int]:
    """No cache: the whole window again for each token, the window by the stated rule.

    The window grows to the context; one token more, and only its newer half stays.
    """
    generator = torch.Generator().manual_seed(derived_seed(seed, Stream.SAMPLE))
    window = start[-model.config.block_size :]
    for _ in range(max_tokens):
        if len(window) > model.config.block_size:
            window = window[-(model.config.block_size // 2) :]
        with torch.no_grad():
            logits = model(torch.tensor([window]))[0, -1]
        token = sample_token(logits, generator, **rules)
        window = [*window, token]
        yield token


# The cache


@torch.no_grad()
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_cached_logits_are_recomputed_logits_however_the_text_is_cut(
    model: GPT, data: st.DataObject
) -> None:
    tokens = data.draw(st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=CONTEXT))
    first = data.draw(st.integers(1, len(tokens)))
    cache = model.new_cache()
    pieces = [model(torch.tensor([tokens[:first]]), cache)]  # a prompt at once, then one by one
    pieces += [model(torch.tensor([[token]]), cache) for token in tokens[first:]]
    whole = model(torch.tensor([tokens]))
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prompt_length", [1, 4, CONTEXT, CONTEXT + 5])
@pytest.mark.parametrize("rules", [{}, {"temperature": 0.0}, {"top_k": 5, "top_p": 0.8}])
def test_text_is_that_of_the_slow_way_within_the_context_and_past_it(
    model: GPT, prompt_length: int, rules: dict[str, Any]
) -> None:
    prompt = [i % VOCAB for i in range(prompt_length)]
    fast = list(generate(model, prompt, 4 * CONTEXT, seed=5, **rules))
    assert fast == list(slow_generate(model, prompt, 4 * CONTEXT, seed=5, **rules))
    assert len(fast) == 4 * CONTEXT


def test_a_context_of_one_token_still_generates() -> None:
    torch.manual_seed(0)
    tiny = GPT(ModelConfig(n_layer=1, n_head=1, n_embd=4, block_size=1), VOCAB)
    assert len(list(generate(tiny, [3], 5, seed=1))) == 5


def test_generation_from_nothing_is_refused(model: GPT) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        next(generate(model, [], 5))


# The rules


LOGITS = st.lists(st.floats(-20, 20), min_size=2, max_size=30)


@given(logits=LOGITS)
def test_temperature_zero_takes_the_likeliest(logits: list[float]) -> None:
    assert sample_token(torch.tensor(logits), torch.Generator(), temperature=0) == int(
        np.argmax(np.float32(logits))
    )


@given(logits=LOGITS, temperature=st.sampled_from([5e-324, 1e-300, 1e-46, 1e-10]))
def test_a_temperature_next_to_zero_takes_one_of_the_likeliest(
    logits: list[float], temperature: float
) -> None:
    token = sample_token(torch.tensor(logits), torch.Generator(), temperature)
    assert max(logits) - logits[token] < 1e-5


def allowed(logits: list[float], temperature: float, top_k: int, top_p: float) -> set[int]:
    """By hand: the k likeliest; of these the fewest whose share of their sum reaches p."""
    scaled = np.float64(np.float32(logits)) / temperature
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
    expected = allowed(list(map(float, logits)), temperature, top_k, top_p)
    flat = {int(t) for t in _drawable(logits, temperature, top_k, top_p)}
    assert flat == expected


def _drawable(logits: list[int], temperature: float, top_k: int, top_p: float) -> Any:
    """The tokens with a chance, seen through what is handed to the draw."""
    with pytest.MonkeyPatch.context() as patch:
        seen = []
        draw = torch.multinomial

        def spy(probabilities: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
            seen.append(probabilities)
            return draw(probabilities, *args, **options)

        patch.setattr(torch, "multinomial", spy)
        sample_token(torch.tensor(logits), torch.Generator(), temperature, top_k, top_p)
    return seen[0].nonzero()


def test_tokens_are_drawn_as_often_as_their_probability_says() -> None:
    probabilities = torch.tensor([0.4, 0.3, 0.2, 0.1])
    generator, draws = torch.Generator().manual_seed(0), 4000
    counts = np.zeros(4)
    for _ in range(draws):
        counts[sample_token(probabilities.log(), generator)] += 1
    expected = draws * probabilities.numpy()
    assert ((counts - expected) ** 2 / expected).sum() < 16.27  # chi-square, 3 degrees, p = 0.001


def test_temperature_and_truncation_shape_what_is_drawn() -> None:
    probabilities = torch.tensor([0.4, 0.3, 0.2, 0.1])
    generator, draws = torch.Generator().manual_seed(0), 4000
    counts = np.zeros(4)
    for _ in range(draws):
        counts[sample_token(probabilities.log(), generator, temperature=0.5, top_k=3)] += 1
    expected = draws * np.array([0.16, 0.09, 0.04]) / 0.29
    assert counts[3] == 0
    assert ((counts[:3] - expected) ** 2 / expected).sum() < 13.82  # 2 degrees, p = 0.001


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_numbers_are_said_to_be_so(bad: float, temperature: float) -> None:
    with pytest.raises(FloatingPointError, match="not numbers"):
        sample_token(torch.tensor([1.0, bad]), torch.Generator(), temperature)


# Leaving no trace


def test_same_seed_same_text_another_seed_another(model: GPT) -> None:
    texts = [list(generate(model, [1], 30, seed=seed)) for seed in (7, 7, 8)]
    assert texts[0] == texts[1] != texts[2]
    assert list(generate(model, [1], 30)) != list(generate(model, [1], 30))


def test_generating_disturbs_neither_torchs_randomness_nor_the_models_mode(model: GPT) -> None:
    model.train()
    before = torch.random.get_rng_state()
    stream = generate(model, [1], 15, seed=3)
    for _ in stream:
        assert model.training
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    assert torch.equal(torch.random.get_rng_state(), before)
    model.eval()
    list(generate(model, [1], 3, seed=3))
    assert not model.training


def test_dropout_is_off_while_a_token_is_computed(model: GPT) -> None:
    model.set_dropout(dataclasses.replace(model.config, dropout=0.9))
    training = list(generate(model.train(), [1], 30, seed=1))
    assert training == list(generate(model.eval(), [1], 30, seed=1))
    model.set_dropout(model.config)


def test_the_lectures_call_gives_the_start_and_what_follows(model: GPT) -> None:
    text = model.generate(torch.tensor([[1, 2]]), max_length=6, seed=4)
    assert text.tolist() == [1, 2, *generate(model, [1, 2], 6, seed=4)]
    assert model.generate([1, 2], max_length=0).tolist() == [1, 2]
