"""What a model costs, in closed form, against what torch counts and holds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from engine.config.model_size import flops_per_token, kv_cache_numbers, matrix_weights
from engine.config.presets import preset_config
from engine.config.schema import Config
from engine.model import build_model
from engine.sampling.decoder import GPTDecoder, decoder_for
from engine.sampling.frozen import freeze

VOCAB_SIZE = 65
# dropout has attention spelled out, the way that torch's counter can read
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "grouped": {"n_kv_head": 2},
    "gated": {"activation": "swiglu", "bias": True},
    "untied": {"tie_weights": False},
    "rung": {"output_proj": False, "mlp_ratio": 1.0, "residual": False, "norm": "none"},
    "attention alone": {"mlp_ratio": 0.0},
    "modern": {"position": "rotary", "qk_norm": True, "n_gram": 3, "activation": "relu2"},
}


def counted(config: Config, training: bool) -> float:
    """FLOPs a token, as torch counts the products it carries out."""
    model = build_model(config.model, VOCAB_SIZE).train()
    input_ids = torch.zeros(2, config.model.block_size, dtype=torch.long)
    with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(training):
        logits = model(input_ids)
        if training:
            logits.sum().backward()
    flops: int = counter.get_total_flops()
    return flops / input_ids.numel()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [False, True])
def test_flops_are_those_that_torch_counts(shape: str, training: bool) -> None:
    values = {f"model.{name}": value for name, value in SHAPES[shape].items()}
    config = Config().replace({"model.n_layer": 2, "model.dropout": 0.1, **values})
    assert flops_per_token(config.model, VOCAB_SIZE, training) == counted(config, training)


def test_gpt2_costs_what_nanogpts_formula_says() -> None:
    model, vocab_size = preset_config("gpt2").model, 50_257
    n = 124_439_808 - model.block_size * model.n_embd  # without positions
    theirs = 6 * n + 12 * model.n_layer * model.n_embd * model.block_size
    # theirs counts biases and gains, too, as if they were multiplied with
    assert flops_per_token(model, vocab_size) == pytest.approx(theirs, rel=2e-3)
    assert flops_per_token(model, vocab_size) <= theirs


def test_a_bigram_multiplies_nothing() -> None:
    model = preset_config("bigram").model
    assert flops_per_token(model, VOCAB_SIZE) == matrix_weights(model, VOCAB_SIZE) == 0


@pytest.mark.parametrize("name", ["nanogpt-cpu", "fast", "layer-norm"])
def test_the_cache_keeps_as_many_numbers_as_told(name: str) -> None:
    config = preset_config(name).model
    decoder = decoder_for(freeze(build_model(config, VOCAB_SIZE)), 1, config.block_size)
    decoder.begin(torch.zeros(1, config.block_size, dtype=torch.long))
    assert isinstance(decoder, GPTDecoder)
    held = sum(part.numel() for layer in decoder._cache.seen for part in layer)
    assert kv_cache_numbers(config) == held
