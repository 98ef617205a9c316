"""Positions: rotary against Llama's, sinusoidal against the paper's formula."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.model.positions import rotary, rotate, sinusoidal
from tests.engine.models import noise, small_model, some_tokens

# Rotary


@pytest.mark.parametrize("base", [300.0, 10_000.0, 500_000.0])
@pytest.mark.parametrize("head_size", [2, 8, 64])
def test_rotary_is_llamas(base: float, head_size: int) -> None:
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    config = llama.LlamaConfig(
        hidden_size=3 * head_size,
        num_attention_heads=3,
        rope_parameters={"rope_type": "default", "rope_theta": base},
    )
    positions = torch.arange(5, 45)
    q, k = noise(2, 3, 40, head_size), noise(2, 3, 40, head_size, seed=3)
    cos, sin = llama.LlamaRotaryEmbedding(config)(q, positions[None])
    wanted = llama.apply_rotary_pos_emb(q, k, cos, sin)
    rope = rotary(positions, head_size, torch.float32, base)
    for found, expected in zip((rotate(q, rope), rotate(k, rope)), wanted, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@settings(deadline=None)
@given(
    first=st.integers(0, 500),
    distance=st.integers(-200, 200),
    shift=st.integers(0, 500),
    head_size=st.sampled_from([2, 6, 32]),
)
def test_a_turned_product_depends_on_the_distance_alone(
    first: int, distance: int, shift: int, head_size: int
) -> None:
    q, k = noise(head_size), noise(head_size, seed=3)

    def product(at_q: int, at_k: int) -> float:
        rope = rotary(torch.tensor([at_q, at_k]), head_size, torch.float32)
        turned_q, turned_k = rotate(torch.stack((q, k))[None, None], rope)[0, 0]
        return float(turned_q @ turned_k)

    first = max(first, -distance)
    here = product(first, first + distance)
    # angles of some hundred radians are exact to 3e-5
    assert product(first + shift, first + shift + distance) == pytest.approx(here, abs=1e-2)
    assert product(first, first) == pytest.approx(float(q @ k), abs=1e-2)


def test_turning_keeps_lengths_and_position_zero_does_not_turn() -> None:
    x = noise(2, 3, 20, 8)
    turned = rotate(x, rotary(torch.arange(20), 8, torch.float32))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(turned[:, :, 0], x[:, :, 0])
    assert (turned[:, :, 1:] - x[:, :, 1:]).abs().max() > 0.1


def test_a_rotary_model_without_a_beginning_does_not_know_where_it_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Shifting all positions changes no logit."""
    model, tokens = small_model(position="rotary"), some_tokens()
    expected, positions = model(tokens), model._positions(tokens)
    monkeypatch.setattr(model, "_positions", lambda ids: positions + 1000)
    torch.testing.assert_close(model(tokens), expected, rtol=0, atol=1e-3)


# Sinusoidal


def test_sinusoidal_is_the_papers_formula() -> None:
    width = 24
    table = sinusoidal(torch.arange(50), width)
    for position in range(50):
        for i in range(width // 2):
            angle = position / 10_000 ** (2 * i / width)
            assert table[position, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert table[position, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)


def test_a_sinusoidal_model_adds_the_waves_to_tokens_scaled_as_in_the_paper() -> None:
    model, tokens = small_model(position="sinusoidal"), some_tokens(length=7)
    x = model.embed(tokens, torch.arange(3, 10))
    expected = model.token_embedding.weight[tokens] * 4 + sinusoidal(torch.arange(3, 10), 16)
    torch.testing.assert_close(x, expected)
    assert not any("position" in name for name, _ in model.named_parameters())


# None


def test_without_positions_the_last_logits_do_not_know_the_order_before_them() -> None:
    model, tokens = small_model(n_layer=1, position="none"), some_tokens()
    mixed = torch.cat((tokens[:, :-1].flip(1), tokens[:, -1:]), dim=1)
    torch.testing.assert_close(model(mixed)[:, -1], model(tokens)[:, -1], rtol=0, atol=1e-4)
    for other in ("learned", "sinusoidal", "rotary"):
        model = small_model(n_layer=1, position=other)
        assert (model(mixed)[:, -1] - model(tokens)[:, -1]).abs().max() > 1e-2, other
