"""The block and its parts: against torch's encoder layer, Llama's parts and the formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from engine.model.block import Block, FeedForward
from engine.model.layers import LayerNorm, Linear, RMSNorm, build_norm
from tests.engine.models import noise, relative_error, scatter, small_config

C, T = 16, 9


def block(**changes: object) -> Block:
    torch.manual_seed(0)
    return scatter(Block(small_config(n_embd=C, **changes)).eval())


# Against torch


def encoder_layer(ours: Block, activation: str) -> nn.TransformerEncoderLayer:
    """torch's, with our weights."""
    theirs = nn.TransformerEncoderLayer(
        C, 2, 4 * C, 0.0, activation, norm_first=ours.pre_norm, batch_first=True
    )
    assert ours.feed_forward is not None
    pairs = {
        theirs.self_attn.in_proj_weight: ours.attention.qkv.weight,
        theirs.self_attn.in_proj_bias: ours.attention.qkv.bias,
    }
    for there, here in (
        (theirs.self_attn.out_proj, ours.attention.proj),
        (theirs.linear1, ours.feed_forward.up),
        (theirs.linear2, ours.feed_forward.proj),
        (theirs.norm1, ours.norm_1),
        (theirs.norm2, ours.norm_2),
    ):
        for name in ("weight", "bias"):
            pairs[there.get_parameter(name)] = here.get_parameter(name)
    assert len(pairs) == len(list(theirs.parameters())) == len(list(ours.parameters()))
    with torch.no_grad():
        for parameter, value in pairs.items():
            parameter.copy_(value)
    return theirs


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("place", ["pre", "post"])
def test_a_block_is_torchs_transformer_encoder_layer(place: str, activation: str) -> None:
    ours = block(norm_place=place, activation=activation, bias=True)
    theirs = encoder_layer(ours, activation).train()  # in eval mode it takes a path of its own
    mask = nn.Transformer.generate_square_subsequent_mask(T)
    x, direction = noise(3, T, C).requires_grad_(), noise(3, T, C, seed=3)
    found, wanted = ours(x), theirs(x, src_mask=mask, is_causal=True)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.reference(x)[0], wanted, rtol=1e-5, atol=1e-5)
    (gradient,) = torch.autograd.grad(found, x, direction)
    (expected,) = torch.autograd.grad(wanted, x, direction)
    assert relative_error(gradient, expected) < 1e-5


# Against Llama


def test_swiglu_is_llamas_mlp() -> None:
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    ours = block(activation="swiglu").feed_forward
    assert ours is not None
    hidden = round(4 * C * 2 / 3)
    config = llama.LlamaConfig(hidden_size=C, intermediate_size=hidden, num_attention_heads=2)
    theirs = llama.LlamaMLP(config)
    gate, up = ours.up.weight.chunk(2)
    with torch.no_grad():
        for there, here in (
            (theirs.gate_proj, gate),
            (theirs.up_proj, up),
            (theirs.down_proj, ours.proj.weight),
        ):
            assert there.weight.shape == here.shape
            there.weight.copy_(here)
    x = noise(3, T, C)
    torch.testing.assert_close(ours(x), theirs(x))


def test_swiglu_has_as_many_parameters_as_the_plain_feed_forward() -> None:
    for width in (48, 96, 384):
        plain, gated = (
            sum(
                p.numel()
                for p in FeedForward(small_config(n_embd=width, activation=a)).parameters()
            )
            for a in ("gelu", "swiglu")
        )
        assert gated == plain


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 0.01)])
def test_rms_norm_is_llamas(dtype: torch.dtype, tolerance: float) -> None:
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    ours = scatter(build_norm(small_config(norm="rms"), C))
    assert isinstance(ours, RMSNorm)
    theirs = llama.LlamaRMSNorm(C, eps=1e-5)
    with torch.no_grad():
        theirs.weight.copy_(ours.weight)
    for size in (1e-3, 1.0, 1e3):  # the small one shows the epsilon
        x = (size * noise(3, T, C)).to(dtype)
        assert ours(x).dtype == dtype
        assert relative_error(ours(x), theirs(x)) < tolerance


# Against the formulas


@pytest.mark.parametrize(
    ("activation", "formula"),
    [
        ("relu", lambda x: x.clamp(min=0)),
        ("relu2", lambda x: x.clamp(min=0) ** 2),
        ("gelu", lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))),
    ],
)
def test_the_activations_are_their_formulas(activation: str, formula: object) -> None:
    layer = block(activation=activation).feed_forward
    x = noise(3, T, 4 * C)
    assert callable(formula) and layer is not None
    torch.testing.assert_close(layer.activate(x), formula(x))


def test_layer_norm_is_zero_mean_and_unit_variance_then_gain_and_bias() -> None:
    norm = scatter(build_norm(small_config(bias=True), C))
    assert isinstance(norm, LayerNorm)
    x = 5 + 3 * noise(3, T, C)
    centred = x - x.mean(-1, keepdim=True)
    expected = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(norm(x), expected * norm.weight + norm.bias)


@pytest.mark.parametrize("kind", [Linear, LayerNorm, RMSNorm])
def test_a_part_computes_in_what_flows_through_it_and_keeps_its_weights(
    kind: type[nn.Module],
) -> None:
    part = Linear(C, C) if kind is Linear else kind(C)
    x = noise(3, C)
    assert part(x).dtype == torch.float32
    assert part(x.bfloat16()).dtype == torch.bfloat16
    assert relative_error(part(x.bfloat16()), part(x)) < 0.01
    part(x.bfloat16()).float().sum().backward()
    assert {p.dtype for p in part.parameters()} == {torch.float32}
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in part.parameters())


# How it is put together


@pytest.mark.parametrize("place", ["pre", "post"])
def test_without_residuals_the_sublayers_follow_each_other(place: str) -> None:
    one = block(norm_place=place, residual=False)
    x = noise(3, T, C)
    assert one.feed_forward is not None
    if place == "pre":
        expected = one.feed_forward(one.norm_2(one.attention(one.norm_1(x))))
    else:
        expected = one.norm_2(one.feed_forward(one.norm_1(one.attention(x))))
    assert torch.equal(one(x), expected)


def test_without_a_feed_forward_a_block_is_attention() -> None:
    one = block(mlp_ratio=0.0)
    x = noise(3, T, C)
    assert torch.equal(one(x), x + one.attention(one.norm_1(x)))
    assert not hasattr(one, "norm_2")


def test_without_a_projection_heads_and_activation_join_the_stream_as_they_are() -> None:
    one = block(output_proj=False, mlp_ratio=1.0, activation="relu")
    x = noise(3, T, C)
    assert one.feed_forward is not None
    q, k, v = one.attention.heads(x, None)
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(one.attention(x), y.transpose(1, 2).flatten(2))
    torch.testing.assert_close(one.feed_forward(x), F.relu(x @ one.feed_forward.up.weight.T))
