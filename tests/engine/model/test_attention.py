"""Attention: torch's own, the formula, and every way in which ours is computed, are the same."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.model.attention import CausalSelfAttention
from engine.model.layers import Dropout
from tests.engine.models import noise, relative_error, scatter, small_config

C, T = 24, 7
HEADS = [(n, kv) for n in range(1, C + 1) if C % n == 0 for kv in range(1, n + 1) if n % kv == 0]
some_heads = pytest.mark.parametrize(("n_head", "n_kv_head"), [(1, 1), (4, 4), (4, 2), (6, 1)])


def attention(n_head: int = 4, n_kv_head: int = 0, **changes: object) -> CausalSelfAttention:
    torch.manual_seed(0)
    config = small_config(n_head=n_head, n_kv_head=n_kv_head, n_embd=C, bias=True, **changes)
    layer: CausalSelfAttention = scatter(CausalSelfAttention(config).eval())
    return layer


def naive(layer: CausalSelfAttention, x: Tensor) -> Tensor:
    """Number by number: every token's exponentials of its scaled products with the past."""
    size, sharing = layer.head_size, layer.n_head // layer.n_kv_head
    q, k, v = layer.qkv(x).double().split(layer.widths, dim=-1)
    out = torch.zeros(x.shape, dtype=torch.float64)
    for b in range(x.size(0)):
        for head in range(layer.n_head):
            mine, shared = _columns(head, size), _columns(head // sharing, size)
            for t in range(x.size(1)):
                scores = [
                    float(q[b, t, mine] @ k[b, s, shared]) / math.sqrt(size) for s in range(t + 1)
                ]
                total = sum(math.exp(score) for score in scores)
                for s, score in enumerate(scores):
                    out[b, t, mine] += math.exp(score) / total * v[b, s, shared]
    projected: Tensor = layer.proj(out.float())
    return projected


def _columns(head: int, size: int) -> slice:
    return slice(head * size, (head + 1) * size)


@torch.no_grad()
@some_heads
def test_attention_is_a_softmax_of_scaled_products_of_the_past(n_head: int, n_kv_head: int) -> None:
    layer, x = attention(n_head, n_kv_head), noise(2, T, C)
    expected = naive(layer, x)
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.reference(x)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("n_head", "n_kv_head"), HEADS)
def test_attention_is_pytorchs_own_for_every_number_of_heads(n_head: int, n_kv_head: int) -> None:
    layer, x = attention(n_head, n_kv_head), noise(2, T, C).requires_grad_()
    size = C // n_head
    q, k, v = (
        part.unflatten(-1, (-1, size)).transpose(1, 2)  # (B, heads, T, hs)
        for part in layer.qkv(x).split([C, n_kv_head * size, n_kv_head * size], dim=-1)
    )
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    expected = layer.proj(y.transpose(1, 2).flatten(2))
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer.reference(x)[0], expected)
    wanted = torch.autograd.grad(expected.sum(), [x, *layer.parameters()])
    found = torch.autograd.grad(layer(x).sum(), [x, *layer.parameters()])
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_qk_norm_makes_every_query_and_key_of_one_length() -> None:
    for norm in ("layer", "rms", "none"):
        layer = attention(qk_norm=True, norm=norm)
        q, k, v = layer.heads(1000 * noise(2, T, C), None)
        for one in (q, k):
            lengths = one.norm(dim=-1)
            torch.testing.assert_close(lengths, torch.full_like(lengths, math.sqrt(C // 4)))
        assert v.norm(dim=-1).std() > 1  # values keep theirs
    plain = attention().heads(noise(2, T, C), None)[0]
    assert plain.norm(dim=-1).std() > 0.1


def test_weights_sum_to_one_and_never_look_ahead() -> None:
    _, weights = attention(6, 2).reference(noise(3, T, C))
    assert weights.shape == (3, 6, T, T)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 6, T))
    assert (weights.triu(1) == 0).all() and (weights >= 0).all()


# The other ways


@some_heads
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 0.01)])
def test_the_spelled_out_path_of_cpus_is_pytorchs_own(
    n_head: int, n_kv_head: int, dtype: torch.dtype, tolerance: float
) -> None:
    """It is taken for dropout: here for a rate so small that it drops nothing."""
    layer, x = attention(n_head, n_kv_head), noise(2, T, C).to(dtype)
    direction = noise(2, n_head, T, C // n_head, seed=3)
    q, k, v = (part.detach().requires_grad_() for part in layer.heads(x, None))
    exact = F.scaled_dot_product_attention(
        q.float(), k.float(), v.float(), is_causal=True, enable_gqa=True
    )
    wanted = torch.autograd.grad(exact, [q, k, v], direction)
    layer.train().dropout.p = 1e-12
    found = layer.attend(q, k, v)
    assert found.dtype == dtype
    assert relative_error(found, exact) < tolerance
    gradients = torch.autograd.grad(found, [q, k, v], direction.to(dtype))
    for one, other in zip(gradients, wanted, strict=True):
        assert relative_error(one, other) < 3 * tolerance


def test_dropout_zeroes_weights_and_keeps_their_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = attention(attn_dropout=0.25).train(), noise(2, T, C)
    q, k, v = layer.heads(x, None)
    seen = []

    def spy(module: Dropout, weights: Tensor) -> Tensor:
        seen.append((weights, (dropped := forward(module, weights))))
        return dropped

    forward = Dropout.forward
    monkeypatch.setattr(Dropout, "forward", spy)
    mean = torch.stack([layer.attend(q, k, v) for _ in range(2000)]).mean(0)
    monkeypatch.undo()
    torch.testing.assert_close(mean, layer.eval().attend(q, k, v), rtol=0, atol=0.1)
    kept = [dropped[weights > 0] > 0 for weights, dropped in seen]
    assert torch.cat(kept).float().mean().item() == pytest.approx(0.75, abs=0.005)
    weights, dropped = seen[0]
    torch.testing.assert_close(dropped[dropped > 0], weights[dropped > 0] / 0.75)
