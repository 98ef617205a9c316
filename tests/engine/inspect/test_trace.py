"""Tracing shows what the model computes, and only looks."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from data.errors import InputError
from data.tokenizers import CharTokenizer
from engine.config.presets import PRESETS, preset_config
from engine.config.schema import Config
from engine.inspect.trace import Stage, Trace, initial_model, trace, trace_text
from engine.model import build_model
from tests.engine.conftest import MakeTrainer, assert_same_bits, weights

VOCAB_SIZE = 65
TOKENS = [3, 1, 4, 1, 5]
OTHERS: dict[str, dict[str, Any]] = {
    "grouped": {"n_kv_head": 2},
    "gated": {"activation": "swiglu", "logit_softcap": 5.0},
    "post": {"norm_place": "post", "norm": "rms"},
    "post without feed-forward": {"norm_place": "post", "mlp_ratio": 0.0},
}
SMALL_PRESETS = [name for name in PRESETS if not name.startswith("gpt2")]


def other(name: str) -> Config:
    values = {f"model.{key}": value for key, value in OTHERS[name].items()}
    return preset_config("tiny").replace(values)


def stages(seen: Trace, where: str) -> dict[str, Stage]:
    return {stage.name: stage for stage in seen.stages if stage.where == where}


@pytest.mark.parametrize("name", [*SMALL_PRESETS, *OTHERS])
def test_the_stages_lead_to_what_the_model_says(name: str) -> None:
    torch.manual_seed(1)
    config = other(name) if name in OTHERS else preset_config(name)
    model = build_model(config.model, VOCAB_SIZE).eval()
    for parameter in model.parameters():  # nothing may hide behind weights that begin at zero
        torch.nn.init.normal_(parameter, std=0.1)
    seen = trace(model, TOKENS)
    logits = model(torch.tensor([TOKENS])).detach()
    last = seen.stages[-1]
    assert (last.name, last.shape) == ("logits", (1, len(TOKENS), VOCAB_SIZE))
    told = (last.mean, last.std, last.minimum, last.maximum)
    figures = (logits.mean(), logits.std(correction=0), logits.min(), logits.max())
    assert told == pytest.approx([one.item() for one in figures], abs=1e-4)
    chances = logits[0, -1].softmax(-1)
    assert seen.likeliest[0][0] == chances.argmax()
    assert [chance for _, chance in seen.likeliest] == pytest.approx(
        chances.topk(5).values.tolist(), abs=1e-5
    )


def test_a_block_is_told_stage_by_stage() -> None:
    seen = trace(build_model(preset_config("layer-norm").model, VOCAB_SIZE), TOKENS)
    assert {name: stage.shape for name, stage in stages(seen, "").items()} == {
        "token ids": (1, 5),
        "token embeddings": (1, 5, 32),
        "positions": (5, 32),
        "stream": (1, 5, 32),
        "norm": (1, 5, 32),
        "logits": (1, 5, VOCAB_SIZE),
    }
    block = stages(seen, "block 2")
    assert {name: (stage.axes, stage.shape) for name, stage in block.items()} == {
        "norm_1": ("B T C", (1, 5, 32)),
        "q": ("B nh T hs", (1, 4, 5, 8)),
        "k": ("B nh T hs", (1, 4, 5, 8)),
        "v": ("B nh T hs", (1, 4, 5, 8)),
        "attention weights": ("B nh T T", (1, 4, 5, 5)),
        "heads joined": ("B T C", (1, 5, 32)),
        "attention out": ("B T C", (1, 5, 32)),
        "stream": ("B T C", (1, 5, 32)),
        "norm_2": ("B T C", (1, 5, 32)),
        "hidden": ("B T F", (1, 5, 128)),
        "relu": ("B T F", (1, 5, 128)),
        "feed-forward out": ("B T C", (1, 5, 32)),
    }
    assert block["norm_1"].mean == pytest.approx(0, abs=1e-6)
    assert block["norm_1"].std == pytest.approx(1, abs=1e-3)
    assert block["relu"].minimum == 0
    assert 0.3 < block["relu"].zeros < 0.7


def test_norms_that_come_last_are_told_last() -> None:
    seen = trace(build_model(preset_config("transformer-layer").model, VOCAB_SIZE), TOKENS)
    names = [stage.name for stage in seen.stages if stage.where]
    assert names == [
        "q", "k", "v", "attention weights", "heads joined", "attention out", "stream", "norm_1",
        "hidden", "relu", "feed-forward out", "stream", "norm_2",
    ]  # fmt: skip


def test_shared_keys_and_gated_widths_are_named() -> None:
    grouped = trace(build_model(other("grouped").replace({"model.n_kv_head": 1}).model, 9), [1])
    assert stages(grouped, "block 0")["k"].axes == "B nkv T hs"
    gated = stages(trace(build_model(other("gated").model, 9), [1, 2]), "block 0")
    assert gated["hidden"].axes == "B T 2F"
    assert gated["hidden"].shape[-1] == 2 * gated["swiglu"].shape[-1]


def test_entropy_is_that_of_the_rows_of_each_head() -> None:
    model = build_model(preset_config("layer-norm").model, VOCAB_SIZE)
    told = stages(trace(model, TOKENS), "block 1")["attention weights"].entropy
    rows = model.attention_weights(torch.tensor([TOKENS]))[1][0]  # (nh, T, T)
    spelled_out = [
        sum(-p * math.log2(p) for row in head.tolist() for p in row if p) / len(TOKENS)
        for head in rows
    ]
    assert told == pytest.approx(spelled_out, abs=1e-5)


def test_looking_changes_nothing() -> None:
    model = build_model(preset_config("lets-build-gpt").model, VOCAB_SIZE).train()
    before = weights(model)
    assert trace(model, TOKENS) == trace(model, TOKENS)  # dropout is off
    assert model.training
    assert_same_bits(before, weights(model))


def test_a_fresh_model_is_the_one_a_run_begins_with(
    make_trainer: MakeTrainer, tokenizer: CharTokenizer
) -> None:
    trainer = make_trainer()
    assert_same_bits(weights(initial_model(trainer.config, tokenizer)), weights(trainer.model))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "there is no text to trace"),
        ("x" * 9, "9 tokens long, and the model's context is 8"),
        ("→", "has no '→'"),
    ],
)
def test_a_text_that_cannot_go_through_is_refused(
    tokenizer: CharTokenizer, text: str, problem: str
) -> None:
    model = initial_model(preset_config("layer-norm"), tokenizer)
    with pytest.raises(InputError, match=problem):
        trace_text(model, text)


def test_a_model_that_does_not_fit_is_refused_before_it_is_built(tokenizer: CharTokenizer) -> None:
    huge = preset_config("gpt2-xl").replace({"model.n_embd": 32_000, "model.n_layer": 200})
    with pytest.raises(InputError, match="take a smaller one"):
        initial_model(huge, tokenizer)
