"""Generation: the cache changes nothing, texts do not mind each other, nothing is disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from engine.config.schema import SampleConfig
from engine.model import GPT, LanguageModel
from engine.model.logits import Draws
from engine.sampling.frozen import freeze
from engine.sampling.generate import Generation, generate
from tests.engine.models import VOCAB, random_model, small_config, small_model

CONTEXT = 12
POSITIONS = ["learned", "sinusoidal", "rotary", "none"]
PLAIN = SampleConfig(temperature=1.0)  # as likely as the model says
RULES = [
    PLAIN,
    replace(PLAIN, temperature=0.0),
    replace(PLAIN, top_k=9, top_p=0.9, repetition_penalty=1.3),
]


@pytest.fixture(scope="module")
def model() -> GPT:
    return small_model()


@torch.no_grad()
def recompute(
    model: LanguageModel, start: list[int], max_tokens: int, rules: SampleConfig, seed: int
) -> Iterator[int]:
    """No cache: the whole window again for each token, by ``model.forward``.

    The window grows to the context; one token more, and only its newer half stays.
    """
    size = model.config.block_size
    draws, window = Draws(rules, [seed], start, model.vocab_size), start[-size:]
    for _ in range(max_tokens):
        if len(window) > size:
            window = window[-max(1, size // 2) :]
        token = int(draws.draw(model(torch.tensor([window]))[:, -1])[0])
        window = [*window, token]
        yield token


# The cache


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("n_gram", [1, 3])
def test_within_the_context_tokens_are_those_of_recomputation(
    position: str, n_gram: int, rules: SampleConfig
) -> None:
    model = small_model(position=position, n_gram=n_gram, qk_norm=True, block_size=40)
    for seed in range(2):
        cached = list(generate(model, [1, 2, 3], 37, rules, seed))
        assert cached == list(recompute(model, [1, 2, 3], 37, rules, seed))


@pytest.mark.parametrize("prompt_length", [1, 4, CONTEXT, CONTEXT + 5])
@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("position", ["learned", "sinusoidal"])
def test_past_it_places_are_read_afresh_from_the_newer_half(
    position: str, rules: SampleConfig, prompt_length: int
) -> None:
    model = small_model(position=position)
    prompt = [i % VOCAB for i in range(prompt_length)]
    fast = list(generate(model, prompt, 4 * CONTEXT, rules, seed=5))
    assert fast == list(recompute(model, prompt, 4 * CONTEXT, rules, seed=5))
    assert len(fast) == 4 * CONTEXT


@pytest.mark.parametrize("position", ["rotary", "none"])
def test_past_it_other_positions_roll_on_without_a_second_reading(position: str) -> None:
    model = small_model(position=position)
    generation = Generation(freeze(model), [1, 2], 5 * CONTEXT, PLAIN, [3])
    reads = []
    begin = generation._decoder.begin
    generation._decoder.begin = lambda ids: reads.append(ids) or begin(ids)  # type: ignore
    assert len(list(generation)) == 5 * CONTEXT
    assert len(reads) == 1


@pytest.mark.parametrize("position", POSITIONS)
def test_a_context_of_one_token_still_generates(position: str) -> None:
    tiny = small_model(block_size=1, position=position)
    fast = list(generate(tiny, [3], 6, seed=1))
    assert fast == list(recompute(tiny, [3], 6, PLAIN, seed=1))


def test_a_bigram_model_generates() -> None:
    model = random_model(small_config(architecture="bigram"))
    fast = list(generate(model, [3, 4], 30, seed=1))
    assert fast == list(recompute(model, [3, 4], 30, PLAIN, seed=1))


def test_generation_from_nothing_is_refused(model: GPT) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        generate(model, [], 5)


# Several texts


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("position", ["learned", "rotary"])
def test_each_text_of_a_batch_is_the_one_its_seed_gives_alone(
    position: str, rules: SampleConfig
) -> None:
    model = small_model(position=position, n_gram=2)
    seeds = [7, 8, 9, 7]
    together = list(Generation(freeze(model), [1, 2], 3 * CONTEXT, rules, seeds))
    texts = [list(text) for text in zip(*together, strict=True)]
    assert texts == [list(generate(model, [1, 2], 3 * CONTEXT, rules, seed)) for seed in seeds]


@pytest.mark.parametrize("after", [1, 5, CONTEXT + 3])
@pytest.mark.parametrize("position", ["learned", "rotary"])
@pytest.mark.parametrize("rows", [[1], [0, 2]])
def test_some_of_the_texts_can_go_on_alone(position: str, after: int, rows: list[int]) -> None:
    model = small_model(position=position, n_gram=3)
    all_of_them = Generation(freeze(model), [1, 2], 3 * CONTEXT, PLAIN, [7, 8, 9])
    some = Generation(freeze(model), [1, 2], 3 * CONTEXT, PLAIN, [7, 8, 9])
    for _ in range(after):
        assert next(some) == next(all_of_them)
    some.keep(rows)
    assert list(some) == [[ids[row] for row in rows] for ids in all_of_them]


# Leaving no trace


def test_same_seed_same_text_another_seed_another(model: GPT) -> None:
    texts = [list(generate(model, [1], 30, seed=seed)) for seed in (7, 7, 8)]
    assert texts[0] == texts[1] != texts[2]
    assert list(generate(model, [1], 30)) != list(generate(model, [1], 30))


def test_generating_disturbs_neither_torchs_randomness_nor_the_models_mode(model: GPT) -> None:
    model.train()
    before = torch.random.get_rng_state()
    for _ in generate(model, [1], 15, seed=3):
        assert model.training
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    assert torch.equal(torch.random.get_rng_state(), before)
    model.eval()


@pytest.mark.parametrize("seeds", [[1], list(range(40))])
def test_training_finds_its_threads_as_they_were(seeds: list[int]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        for _ in Generation(freeze(small_model()), [1], 5, PLAIN, seeds):
            assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_threads_are_given_back_even_when_the_numbers_break(model: GPT) -> None:
    broken = small_model()
    torch.nn.init.constant_(broken.head.weight, float("nan"))
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        with pytest.raises(FloatingPointError, match="not finite"):
            next(generate(broken, [1], 5))
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_the_text_is_that_of_the_moment_it_was_asked_for() -> None:
    model = small_model()
    expected = list(generate(model, [1], 20, seed=3))
    stream = generate(model, [1], 20, seed=3)
    torch.nn.init.zeros_(model.head.weight)
    assert list(stream) == expected


def test_the_lectures_call_gives_the_start_and_what_follows(model: GPT) -> None:
    text = model.generate(torch.tensor([[1, 2]]), max_length=6, seed=4)
    assert text.tolist() == [1, 2, *generate(model, [1, 2], 6, seed=4)]
    assert model.generate([1, 2], max_length=0).tolist() == [1, 2]


@pytest.mark.parametrize(
    "rules", [{"top_k": 1}, {"min_p": 1.0}, {"temperature": 0.0, "repetition_penalty": 9.0}]
)
def test_the_lectures_call_takes_every_rule(model: GPT, rules: dict[str, Any]) -> None:
    text = model.generate([1], max_length=9, seed=4, **rules)
    assert text.tolist() == [1, *generate(model, [1], 9, replace(PLAIN, **rules), seed=4)]
