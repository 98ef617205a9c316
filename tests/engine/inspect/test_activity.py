"""What is measured of each layer on a text, against other ways to compute it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.inspect import activity
from engine.inspect.activity import measure_activity
from engine.model import GPT
from engine.model.bigram import Bigram
from engine.model.block import Block, FeedForward
from tests.engine.models import VOCAB, small_config, small_model, some_tokens

KINDS: list[dict[str, Any]] = [
    {},
    {"norm": "rms", "position": "rotary", "qk_norm": True, "n_kv_head": 1, "activation": "swiglu"},
    {"norm_place": "post", "activation": "relu2", "dropout": 0.5, "bias": True},
    {"residual": False, "norm": "none", "activation": "relu", "n_gram": 2},
    {"output_proj": False, "mlp_ratio": 1.0, "position": "sinusoidal"},
    {"mlp_ratio": 0.0, "position": "none"},
]


def figures(model: GPT, ids: Tensor | None = None) -> dict[str, float]:
    return measure_activity(model, some_tokens() if ids is None else ids).figures()


def block_of(model: GPT, layer: int) -> Block:
    block = model.blocks[layer]
    assert isinstance(block, Block)
    return block


def mlp_of(model: GPT, layer: int) -> FeedForward:
    found = block_of(model, layer).feed_forward
    assert found
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_scale_and_entropy_are_those_of_the_model_itself(kind: dict[str, Any]) -> None:
    model, ids, seen = small_model(**kind), some_tokens(), list[float]()
    for block in model.blocks:
        block.register_forward_hook(lambda _, __, out: seen.append(out.std(correction=0).item()))
    with torch.no_grad():
        model(ids)
    found = figures(model, ids)
    for layer, weights in enumerate(model.attention_weights(ids)):
        rows = -torch.special.xlogy(weights, weights).sum(-1)[:, :, 1:]  # (B, nh, T - 1), nats
        largest = torch.arange(2, ids.size(1) + 1).log()
        assert found[f"health/attention_entropy/blocks.{layer}"] == pytest.approx(
            (rows / largest).mean().item(), rel=1e-4
        )
        assert found[f"health/activation_std/blocks.{layer}"] == pytest.approx(seen[layer], 1e-4)
        assert (f"health/dead_units/blocks.{layer}" in found) == (model.config.mlp_ratio > 0)


def test_even_attention_has_the_largest_entropy_and_that_to_one_token_none() -> None:
    model = small_model(qk_norm=False, bias=True)
    attention = block_of(model, 0).attention
    queries = slice(attention.widths[0])
    with torch.no_grad():
        attention.qkv.weight[queries] = 0.0
        attention.qkv.bias[queries] = 0.0
    assert figures(model)["health/attention_entropy/blocks.0"] == pytest.approx(1.0)
    with torch.no_grad():
        attention.qkv.bias[queries] = 1e4
    assert figures(model)["health/attention_entropy/blocks.0"] == pytest.approx(0.0, abs=1e-3)


def test_of_a_long_context_evenly_spaced_queries_are_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, ids = small_model(), some_tokens()
    monkeypatch.setattr(activity, "MOST_QUERIES", 4)
    (weights, _), rows = model.attention_weights(ids), torch.tensor([2, 5, 8, 11])
    some = -torch.special.xlogy(weights, weights).sum(-1)[:, :, rows]
    found = figures(model, ids)["health/attention_entropy/blocks.0"]
    assert found == pytest.approx((some / (rows + 1.0).log()).mean().item(), rel=1e-4)


@pytest.mark.parametrize(
    ("activation", "just_dead"), [("relu", 0.0), ("relu2", 0.0), ("gelu", -3.0), ("swiglu", -6.0)]
)
def test_units_that_no_token_activates_are_dead(activation: str, just_dead: float) -> None:
    model = small_model(activation=activation, bias=True)
    up, units = mlp_of(model, 1).up, model.config.d_ff
    with torch.no_grad():  # the same input for every token: alive, at the limit, below it
        up.weight[:units] = 0.0
        up.bias[:units] = just_dead + 0.01
        up.bias[: units // 4] = just_dead
        up.bias[units // 4 : units // 2] = just_dead - 1.0
    share = (units // 2) / units
    assert figures(model)["health/dead_units/blocks.1"] == pytest.approx(share)


def test_a_unit_that_one_token_activates_is_alive() -> None:
    model = small_model(activation="relu", norm="none", position="none", n_layer=1)
    up, proj = mlp_of(model, 0).up, block_of(model, 0).attention.proj
    assert isinstance(proj, nn.Linear)
    with torch.no_grad():
        proj.weight.zero_()
        model.token_embedding.weight.zero_()
        model.token_embedding.weight[7, 0] = 1.0
        up.weight.zero_()
        up.weight[:3, 0] = 1.0
    ids = torch.zeros(2, 12, dtype=torch.long)
    assert figures(model, ids)["health/dead_units/blocks.0"] == 1.0
    ids[1, 11] = 7
    units = model.config.d_ff
    assert figures(model, ids)["health/dead_units/blocks.0"] == pytest.approx(1 - 3 / units)


def test_the_model_and_the_random_numbers_stay_as_they_are() -> None:
    model = small_model(dropout=0.5).train()
    before, state = [p.clone() for p in model.parameters()], torch.get_rng_state()
    assert figures(model) == figures(model)  # no dropout
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(map(torch.equal, before, model.parameters()))
    assert not any(p.grad is not None for p in model.parameters())


def test_weights_that_are_no_numbers_are_told_as_such() -> None:
    model = small_model()
    nn.init.constant_(mlp_of(model, 1).up.weight, math.nan)
    found = figures(model)
    assert math.isnan(found["health/dead_units/blocks.1"])
    assert math.isnan(found["health/activation_std/blocks.1"])
    assert math.isfinite(found["health/activation_std/blocks.0"])


def test_a_single_token_has_nothing_to_choose_from() -> None:
    assert "health/attention_entropy/blocks.0" not in figures(small_model(), some_tokens(length=1))


def test_a_bigram_has_no_layers() -> None:
    model = Bigram(small_config(architecture="bigram"), VOCAB)
    assert measure_activity(model, some_tokens()).figures() == {}
