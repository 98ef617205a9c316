"""No model sees the future: every preset, and any combination of what the schema offers."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from engine.config.presets import PRESETS, preset_config
from engine.config.schema import ModelConfig
from engine.model import LanguageModel
from tests.engine.models import VOCAB, model_configs, random_model, some_tokens

LENGTH = 12


def scaled_down(model: ModelConfig) -> ModelConfig:
    """The same kind of model with its heads, two layers deep, eight numbers a head."""
    small = dataclasses.replace(
        model, n_layer=min(2, model.n_layer), n_embd=8 * model.n_head, block_size=LENGTH
    )
    assert small.conflicts() == []
    return small


@torch.no_grad()
def effect_of_another_token(model: LanguageModel, place: int, seed: int) -> Tensor:
    """How much each position's logits change with the token at ``place``: (T,)."""
    tokens = some_tokens(1, LENGTH, seed)
    changed = tokens.clone()
    changed[0, place] = (changed[0, place] + 1 + seed % (VOCAB - 1)) % VOCAB
    effect: Tensor = (model(changed) - model(tokens))[0].abs().amax(-1)
    return effect


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_no_preset_sees_the_future(name: str) -> None:
    model = random_model(scaled_down(preset_config(name).model))
    for place in range(LENGTH):
        effect = effect_of_another_token(model, place, seed=place)
        assert (effect[:place] < 1e-5).all()
        assert effect[place] > 1e-4  # and the token itself does matter


@settings(max_examples=100, deadline=None)
@given(config=model_configs(), place=st.integers(1, LENGTH - 1), seed=st.integers(0, 99))
def test_no_combination_sees_the_future(config: ModelConfig, place: int, seed: int) -> None:
    effect = effect_of_another_token(random_model(config), place, seed)
    assert (effect[:place] < 1e-5).all()


def test_the_measure_would_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose attention looks both ways does not pass."""
    plain = F.scaled_dot_product_attention
    monkeypatch.setattr(
        F, "scaled_dot_product_attention", lambda q, k, v, **options: plain(q, k, v)
    )
    model = random_model(ModelConfig(n_layer=1, n_head=2, n_embd=16, block_size=LENGTH))
    assert (effect_of_another_token(model, 6, seed=1)[:6] > 1e-3).all()
