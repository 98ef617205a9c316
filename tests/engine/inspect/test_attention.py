"""Attention as it is shown is what the model computes, and heads are named after what they do."""

from __future__ import annotations

import dataclasses
import math
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.errors import InputError
from engine.config.presets import PRESETS, preset_config
from engine.config.schema import ModelConfig
from engine.inspect import attention
from engine.inspect.attention import (
    LABELS,
    HeadScores,
    attention_overview,
    attention_pattern,
    attention_patterns,
    head_steps,
    name_of_head,
    pattern_bytes,
    score_heads,
)
from engine.model import GPT, LanguageModel
from engine.model.attention import CausalSelfAttention, reference_weights
from engine.model.block import Block
from engine.training.trainer import drain
from tests.engine.conftest import assert_same_bits, weights
from tests.engine.model.test_causality import scaled_down
from tests.engine.models import random_model, small_config, small_model, some_tokens

KINDS: dict[str, dict[str, Any]] = {
    "grouped": {"n_head": 4, "n_kv_head": 2},
    "rotary": {"position": "rotary", "qk_norm": True, "n_gram": 3, "logit_softcap": 15.0},
    "post-norm": {"norm_place": "post", "bias": True},
    "no residual": {"residual": False, "norm": "none", "mlp_ratio": 0.0},
    "no projection": {"output_proj": False, "mlp_ratio": 1.0, "tie_weights": False},
}
IDS = some_tokens(1)[0]  # (12,)


def model_of(kind: str) -> GPT:
    return small_model(**KINDS[kind])


every_kind = pytest.mark.parametrize("kind", KINDS)


# Patterns


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "bigram"])
def test_the_patterns_of_every_preset_sum_to_one_and_never_look_ahead(name: str) -> None:
    model = random_model(scaled_down(preset_config(name).model))
    expected = model.attention_weights(IDS[None])
    patterns = list(attention_patterns(model, IDS))
    assert len(patterns) == model.config.n_layer
    for pattern, reference in zip(patterns, expected, strict=True):
        assert pattern.shape == (model.config.n_head, 12, 12) and pattern.dtype == np.float32
        np.testing.assert_allclose(pattern.sum(-1), 1, rtol=0, atol=1e-6)
        assert (np.triu(pattern, 1) == 0).all()
        np.testing.assert_allclose(pattern, reference[0].numpy(), rtol=0, atol=1e-5)


@torch.no_grad()
@every_kind
def test_the_fast_path_takes_values_by_these_weights(kind: str) -> None:
    model = model_of(kind)
    x, rope = model.embed(IDS[None], torch.arange(12)), model._rope(torch.arange(12))
    for block, pattern in zip(model.blocks, attention_patterns(model, IDS), strict=True):
        assert isinstance(block, Block)
        read = block.norm_1(x) if block.pre_norm else x
        v = block.attention._repeat_kv(block.attention.heads(read, rope)[2])
        expected = block.attention(read, rope)
        found = block.attention.merge(torch.from_numpy(pattern) @ v)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        x = block(x, rope)


def test_one_pattern_is_that_of_its_layer_and_head() -> None:
    model = model_of("grouped")
    for layer, patterns in enumerate(attention_patterns(model, IDS)):
        for head in range(4):
            np.testing.assert_array_equal(
                attention_pattern(model, IDS, layer, head), patterns[head]
            )


def test_weights_in_bf16_have_rows_that_sum_to_one() -> None:
    model = model_of("rotary")
    exact = list(attention_patterns(model, IDS))
    model.compute_with(torch.bfloat16, native=False)
    for pattern, expected in zip(attention_patterns(model, IDS), exact, strict=True):
        np.testing.assert_allclose(pattern.sum(-1), 1, rtol=0, atol=1e-6)
        np.testing.assert_allclose(pattern, expected, rtol=0, atol=0.05)


def test_the_size_of_all_patterns_is_known_before() -> None:
    assert pattern_bytes(preset_config("gpt2").model, 1024) == 12 * 12 * 1024**2 * 4
    assert pattern_bytes(ModelConfig(architecture="bigram"), 8) == 0


# One head, step by step


@torch.no_grad()
@every_kind
@pytest.mark.parametrize("head", [0, 1])
def test_the_steps_of_a_head_lead_to_what_attention_adds(kind: str, head: int) -> None:
    """Recomputed by hand; and all heads together, with the bias, are the output of attention."""
    model, query, key = model_of(kind), 7, 3
    all_steps = [head_steps(model, IDS, 1, n, query, key) for n in range(model.config.n_head)]
    steps = all_steps[head]
    size = model.config.head_size
    x, rope = model.embed(IDS[None], torch.arange(12)), model._rope(torch.arange(12))
    block = model.blocks[1]
    assert isinstance(block, Block)
    x = model.blocks[0](x, rope)
    read = block.norm_1(x) if block.pre_norm else x
    q, k, v = block.attention.heads(read, rope)  # k and v of (1, nkv, T, hs)
    k, v = block.attention._repeat_kv(k)[0, head], block.attention._repeat_kv(v)[0, head]
    assert steps.q == pytest.approx(q[0, head, query].numpy(), abs=1e-5)
    assert steps.k == pytest.approx(k[key].numpy(), abs=1e-5)
    assert steps.values == pytest.approx(v.numpy(), abs=1e-5)
    assert steps.products == pytest.approx(steps.q * steps.k, abs=1e-6)
    assert steps.score == pytest.approx(sum(steps.products.tolist()), abs=1e-5)
    assert steps.scale == pytest.approx(size**-0.5)
    assert steps.scaled[key] == pytest.approx(steps.score * steps.scale, abs=1e-5)
    assert steps.masked.tolist() == [position > query for position in range(12)]
    exponentials = [math.exp(one) for one in steps.scaled[: query + 1]]
    expected = [one / sum(exponentials) for one in exponentials] + [0.0] * (11 - query)
    assert steps.weights.tolist() == pytest.approx(expected, abs=1e-6)
    reference = model.attention_weights(IDS[None])[1][0, head, query]
    assert steps.weights.tolist() == pytest.approx(reference.tolist(), abs=1e-5)
    mixed = sum(w * value for w, value in zip(expected, steps.values, strict=True))
    assert steps.mixed == pytest.approx(mixed, abs=1e-5)
    assert steps.added_norm == pytest.approx(float(np.linalg.norm(steps.added)), abs=1e-5)
    proj = block.attention.proj
    bias = proj.bias if isinstance(proj, nn.Linear) and proj.bias is not None else torch.zeros(1)
    together = sum(one.added for one in all_steps) + bias.numpy()
    assert together == pytest.approx(block.attention(read, rope)[0, query].numpy(), abs=1e-4)


def test_a_later_key_has_a_score_and_no_weight() -> None:
    steps = head_steps(model_of("grouped"), IDS, 0, 0, query=2, key=5)
    assert steps.scaled[5] == pytest.approx(steps.score * steps.scale)
    assert steps.masked[5] and steps.weights[5] == 0


# What each head does


SYMBOLS = 16  # of the hand-made model: its tokens, its positions, and the size of its heads
HAND_MADE = (
    ("previous token", "current token", "same token"),
    ("induction", "first token", "spread"),
)


def attention_of(model: GPT, layer: int) -> CausalSelfAttention:
    block = model.blocks[layer]
    assert isinstance(block, Block)
    return block.attention


def hand_made() -> GPT:
    """Two layers of three heads whose weights are written by hand, without norms and feed-forward.

    The stream has three parts of 16 numbers: the token as one-hot, the position as one-hot, and
    where the first head writes the token before. With these, layer 1 finds what came next.
    """
    config = small_config(
        n_head=3, n_embd=3 * SYMBOLS, block_size=SYMBOLS, norm="none", mlp_ratio=0.0
    )
    model = GPT(config, SYMBOLS).eval()
    token, position, before = (slice(n * SYMBOLS, (n + 1) * SYMBOLS) for n in range(3))
    one_hot = torch.eye(SYMBOLS)
    sharp = 100 * one_hot  # a softmax of these scores is 0 or 1
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.token_embedding.weight[:, token] = one_hot
        model.position_embedding.weight[:, position] = one_hot
        first_layer, second_layer = attention_of(model, 0), attention_of(model, 1)
        w = first_layer.qkv.weight.view(3, 3, SYMBOLS, 3 * SYMBOLS)  # (q k v, head, hs, C)
        w[0, 0, :, position], w[1, 0, :, position] = sharp.roll(-1, 0), one_hot  # previous token
        w[2, 0, :, token] = one_hot
        model.get_parameter("blocks.0.attention.proj.weight")[before, :SYMBOLS] = (
            one_hot  # the first head writes it here
        )
        w[0, 1, :, position], w[1, 1, :, position] = sharp, one_hot  # current token
        w[0, 2, :, token], w[1, 2, :, token] = sharp, one_hot  # same token
        w = second_layer.qkv.weight.view(3, 3, SYMBOLS, 3 * SYMBOLS)
        w[0, 0, :, token], w[1, 0, :, before] = sharp, one_hot  # came after the same token
        w[0, 1, 0, position], w[1, 1, :, position] = 100.0, one_hot  # the first position
    return model


def test_heads_made_by_hand_get_their_names() -> None:
    two_in_turns = [15, *[2, 5] * 7, 2]
    scores = drain(score_heads(hand_made(), np.array([two_in_turns] * 2), seed=1))
    names = [[name_of_head(scores, layer, head)[0] for head in range(3)] for layer in range(2)]
    assert names == [list(layer) for layer in HAND_MADE]
    for found in (scores.previous[0, 0], scores.current[0, 1], scores.induction[1, 0]):
        assert found == pytest.approx(1, abs=1e-4)
    assert scores.first[1, 1] == pytest.approx(1)
    assert scores.entropy[1, 2] == pytest.approx(1)
    assert scores.induction[0].max() < 0.3


def test_a_head_that_learned_to_look_one_token_back_is_found() -> None:
    """In a model that was trained to say the token before."""
    torch.manual_seed(0)
    model = GPT(small_config(n_layer=1, mlp_ratio=0.0), 10)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
    before = drain(score_heads(model, torch.randint(10, (2, 12)), seed=0))
    assert {name_of_head(before, 0, head)[0] for head in range(2)} == {"spread"}
    for _ in range(80):
        ids = torch.randint(10, (32, 12))
        loss = F.cross_entropy(model(ids)[:, 1:].flatten(0, 1), ids[:, :-1].flatten())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    scores = drain(score_heads(model, torch.randint(10, (2, 12)), seed=0))
    label, score = max((name_of_head(scores, 0, head) for head in range(2)), key=lambda one: one[1])
    assert label == "previous token" and score > 0.8


def test_random_weights_have_no_induction() -> None:
    model = random_model(small_config(block_size=64, n_head=4))
    scores = drain(score_heads(model, some_tokens(2, 64), seed=0))
    assert scores.induction.shape == (2, 4)
    assert (scores.induction < 0.1).all()


def test_a_head_that_looks_back_a_fixed_distance_is_no_induction_head() -> None:
    """Strings of several lengths tell the two apart, also in the lecture's context of 8."""
    for context in (8, SYMBOLS):
        model = hand_made()
        model.config = dataclasses.replace(model.config, block_size=context)
        for distance in range(1, context // 2):
            w = model.get_parameter("blocks.0.attention.qkv.weight").view(3, 3, SYMBOLS, -1)
            with torch.no_grad():
                position = slice(SYMBOLS, 2 * SYMBOLS)
                w[0, 0, :, position] = 100 * torch.eye(SYMBOLS).roll(-distance, 0)
            ids = torch.arange(context)
            looked_at = attention_pattern(model, ids, 0, 0)[context - 1].argmax()
            assert looked_at == context - 1 - distance
            scores = drain(score_heads(model, ids[None], seed=3))
            assert scores.induction[0, 0] <= 0.5
            assert name_of_head(scores, 0, 0)[0] != "induction"


def test_scores_are_shares_of_the_weight_that_is_not_on_the_first_token() -> None:
    """Number by number, over two windows."""
    model, windows = model_of("grouped"), torch.cat((some_tokens(1), some_tokens(1, seed=5) % 4))
    scores = drain(score_heads(model, windows, seed=0))
    every = model.attention_weights(windows)
    for layer, head in ((0, 1), (1, 3)):
        found: dict[str, list[tuple[float, float]]] = {}
        for n, ids in enumerate(windows.tolist()):
            rows = every[layer][n, head].tolist()
            for i in range(2, 12):
                row, rest = rows[i], 1 - rows[i][0]
                equal = [row[j] for j in range(1, i) if ids[j] == ids[i]]
                has_some = any(ids[j] == ids[i] for j in range(1, i))
                bits = -sum(w * math.log(w) for w in row if w) / math.log(i + 1)
                measured = {
                    "first": (row[0], 1),
                    "previous": (row[i - 1], rest),
                    "current": (row[i], rest),
                    "recent": (sum(row[max(1, i - 3) : i + 1]), rest),
                    "same": (sum(equal), rest * has_some),
                    "entropy": (bits, 1),
                }
                for name, pair in measured.items():
                    found.setdefault(name, []).append(pair)
        for name, pairs in found.items():
            value, over = (sum(part) for part in zip(*pairs, strict=True))
            assert getattr(scores, name)[layer, head] == pytest.approx(value / over, abs=1e-5), name


Q = 0.3  # the others' score in the cases below


@pytest.mark.parametrize(
    ("figures", "label", "score"),
    [
        ({"first": 0.95, "previous": 0.99}, "first token", 0.95),
        ({"first": 0.85, "previous": 0.8}, "previous token", 0.8),  # a sink while it finds nothing
        ({"first": 0.7}, "first token", 0.7),
        ({"current": 0.6}, "current token", 0.6),
        ({"same": 0.6, "current": 0.55}, "same token", 0.6),
        ({"induction": 0.9, "same": math.nan}, "induction", 0.9),
        ({"entropy": 0.95, "recent": 0.6}, "spread", 0.95),
        ({"recent": 0.6}, "recent tokens", 0.6),
        ({}, "mixed", Q),
    ],
)
def test_the_rules_of_names(figures: dict[str, float], label: str, score: float) -> None:
    told = {field.name: np.full((1, 1), Q, np.float32) for field in dataclasses.fields(HeadScores)}
    told |= {name: np.full((1, 1), figure, np.float32) for name, figure in figures.items()}
    found, by = name_of_head(HeadScores(**told), 0, 0)
    assert found == label in LABELS
    assert by == pytest.approx(score)


def test_what_cannot_be_measured_is_nan_and_has_no_name() -> None:
    model = small_model(block_size=7)  # too short for induction
    scores = drain(score_heads(model, some_tokens(1, 2), seed=0))  # no third token
    for field in dataclasses.fields(HeadScores):
        assert np.isnan(getattr(scores, field.name)).all()
    label, score = name_of_head(scores, 0, 0)
    assert label == "mixed" and math.isnan(score)


def test_scoring_goes_in_pieces_of_one_layer_of_one_text() -> None:
    model = model_of("rotary").train()
    done = []
    for share in score_heads(model, some_tokens(2), seed=0):
        assert model.training and torch.is_grad_enabled()  # between two pieces all is as it was
        done.append(share)
    assert done == pytest.approx([(n + 1) / 12 for n in range(12)])  # 2 layers, 2 texts, 4 strings


# All heads at a glance


def test_maps_are_pooled_patterns() -> None:
    model = model_of("grouped")
    overview = attention_overview(model, IDS, 4, layer=1, head=2)
    assert overview.maps.shape == (2, 4, 4, 4)
    for layer, patterns in enumerate(attention_patterns(model, IDS)):
        squares = patterns.reshape(4, 4, 3, 4, 3)  # (nh, rows, 3, columns, 3)
        np.testing.assert_allclose(overview.maps[layer], squares.max((2, 4)), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(overview.pattern, attention_pattern(model, IDS, 1, 2))


def test_short_texts_are_not_pooled() -> None:
    model = model_of("rotary")
    maps = attention_overview(model, IDS, 64).maps
    np.testing.assert_array_equal(maps, np.stack(list(attention_patterns(model, IDS))))


def test_an_overview_of_a_long_text_never_holds_all_patterns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = random_model(small_config(n_layer=4, n_head=8, n_embd=16, block_size=256))
    alive, most = weakref.WeakSet[Tensor](), 0

    def counted(q: Tensor, k: Tensor) -> Tensor:
        nonlocal most
        pattern = reference_weights(q, k)
        alive.add(pattern)
        most = max(most, sum(one.numel() * 4 for one in alive))
        return pattern

    monkeypatch.setattr(attention, "reference_weights", counted)
    overview = attention_overview(model, some_tokens(1, 256)[0], 32)
    assert overview.pattern.nbytes == 256**2 * 4
    assert 0 < most <= 3 * overview.pattern.nbytes < pattern_bytes(model.config, 256) / 10


# Looking changes nothing, and what cannot be looked at is said


@every_kind
def test_looking_changes_nothing(kind: str) -> None:
    model = model_of(kind).train()
    before, random = weights(model), torch.get_rng_state()
    list(attention_patterns(model, IDS))
    head_steps(model, IDS, 1, 1, 4, 2)
    attention_overview(model, IDS, 4)
    drain(score_heads(model, IDS[None], seed=0))
    assert model.training and torch.equal(torch.get_rng_state(), random)
    assert_same_bits(before, weights(model))


def test_nan_weights_are_shown_as_nan() -> None:
    model = model_of("grouped")
    with torch.no_grad():
        model.get_parameter("blocks.0.attention.qkv.weight").fill_(torch.nan)
    assert np.isnan(attention_pattern(model, IDS, 0, 0)).any()
    assert np.isnan(attention_overview(model, IDS, 4).maps).any()
    assert np.isnan(head_steps(model, IDS, 1, 0, 5, 3).score)
    scores = drain(score_heads(model, IDS[None], seed=0))
    assert name_of_head(scores, 0, 0)[0] == "mixed"


LOOKS: list[Callable[[LanguageModel, Any], object]] = [
    lambda model, ids: list(attention_patterns(model, ids)),
    lambda model, ids: attention_pattern(model, ids, 0, 0),
    lambda model, ids: head_steps(model, ids, 0, 0, 0, 0),
    lambda model, ids: attention_overview(model, ids, 4),
    lambda model, ids: next(score_heads(model, np.array([ids], np.int64), 0)),
]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize(
    ("ids", "problem"),
    [([], "there is no text to look at"), ([1] * 13, "13 tokens long.* context is 12: shorten")],
)
def test_a_text_that_cannot_be_looked_at_is_refused(
    look: Callable[[LanguageModel, Any], object], ids: list[int], problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        look(model_of("grouped"), ids)


@pytest.mark.parametrize("look", LOOKS)
def test_a_bigram_says_what_it_has_instead(look: Callable[[LanguageModel, Any], object]) -> None:
    bigram = random_model(ModelConfig(architecture="bigram"))
    with pytest.raises(InputError, match=r"a bigram has no attention.*look at its prediction"):
        look(bigram, [1, 2, 3])


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ((2, 0, 0, 0), "there is no layer 2: the model has 2, counted from 0 to 1"),
        ((0, 4, 0, 0), "there is no head 4: the layer has 4, counted from 0 to 3"),
        ((-1, 0, 0, 0), "there is no layer -1"),
        ((0, 0, 12, 0), "there is no token 12: the text has 12, counted from 0 to 11"),
        ((0, 0, 0, -1), "there is no token -1"),
    ],
)
def test_a_place_that_does_not_exist_is_named(
    place: tuple[int, int, int, int], problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        head_steps(model_of("grouped"), IDS, *place)
