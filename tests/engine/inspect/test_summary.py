"""What a model is made of, told without building it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from engine.config.model_size import parameter_count, training_bytes
from engine.config.presets import PRESETS, preset_config
from engine.config.schema import SETTINGS, Config
from engine.inspect.summary import Part, summarize, tree
from engine.model import build_model
from engine.optim.optimizer import Optimizer

VOCAB_SIZE = 65


def parameters(config: Config) -> int:
    return sum(p.numel() for p in build_model(config.model, VOCAB_SIZE).parameters())


def leaves(part: Part, times: int = 1) -> int:
    """Parameters of all modules that hold no others."""
    times *= part.count
    if not part.parts:
        return times * part.parameters
    return sum(leaves(child, times) for child in part.parts)


@pytest.mark.parametrize("name", [name for name in PRESETS if not name.startswith("gpt2")])
def test_all_parameters_are_accounted_for(name: str) -> None:
    config = preset_config(name)
    known = summarize(config, VOCAB_SIZE)
    total = parameters(config)
    assert known.total == total
    assert sum(known.parameters.values()) == total
    assert leaves(known.tree) == known.tree.parameters == total
    assert parameter_count(config.model, VOCAB_SIZE) == total


def test_parts_are_told_apart() -> None:
    known = summarize(preset_config("lecture"), VOCAB_SIZE)
    width, layers = 384, 6
    assert known.parameters == {
        "token embeddings": VOCAB_SIZE * width,
        "position embeddings": 256 * width,
        "attention": layers * (4 * width * width + 4 * width),
        "feed-forward": layers * (8 * width * width + 5 * width),
        "norms": layers * 4 * width + 2 * width,
        "head": VOCAB_SIZE * width,
    }
    assert known.total - known.without_positions == 256 * width


def test_equal_blocks_are_folded_and_what_does_nothing_is_left_out() -> None:
    whole = summarize(preset_config("nanogpt-cpu"), VOCAB_SIZE).tree
    names = [part.name for part in whole.parts]
    assert names == ["token_embedding", "position_embedding", "blocks 0-3", "norm", "head"]
    blocks = whole.parts[2]
    assert [part.name for part in blocks.parts] == [
        "norm_1", "attention", "feed_forward", "norm_2"
    ]  # fmt: skip
    assert blocks.count == 4
    assert whole.parts[-1].kind == "Linear 128 -> 65 (tied)"
    assert whole.parts[-1].parameters == 0


def test_blocks_that_differ_are_not_folded() -> None:
    model = build_model(preset_config("layer-norm").model, VOCAB_SIZE)
    model.blocks[2].feed_forward = None  # type: ignore[index, union-attr]
    names = [part.name for part in tree(model).parts]
    assert [name for name in names if name.startswith("blocks")] == ["blocks 0-1", "blocks 2"]


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
def test_the_optimizer_holds_as_many_bytes_as_told(optimizer: str) -> None:
    config = preset_config("layer-norm").replace({"optim.optimizer": optimizer})
    model = build_model(config.model, VOCAB_SIZE)
    moves = Optimizer(model, config.optim)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    moves.set_rate(1e-3)
    moves.step(skip=torch.tensor(False))
    held = sum(
        state.nbytes
        for parameter in model.parameters()
        for state in moves.state_of(parameter).values()
        if state.shape == parameter.shape  # not the count of steps
    )
    assert summarize(config, VOCAB_SIZE).memory.optimizer[optimizer] == held


@pytest.mark.parametrize(
    ("changes", "bytes_of_a_number"),
    [({}, 4), ({"system.precision": "bf16"}, 2), ({"system.precision": "tf32"}, 4)],
)
def test_memory_follows_the_precision(changes: dict[str, Any], bytes_of_a_number: int) -> None:
    memory = summarize(preset_config("layer-norm").replace(changes), VOCAB_SIZE).memory
    assert memory.kv_cache == bytes_of_a_number * 2 * 3 * 8 * 32  # keys and values, L, T, C
    assert memory.weights == memory.gradients == 4 * 42_592


def test_an_average_is_held_only_if_asked_for() -> None:
    config = preset_config("tiny")
    assert summarize(config, VOCAB_SIZE).memory.average == 0
    averaged = summarize(config.replace({"optim.ema_decay": 0.99}), VOCAB_SIZE).memory
    assert averaged.average == averaged.weights


@pytest.mark.parametrize("optimizer", SETTINGS["optim.optimizer"].choices)
def test_what_the_first_screen_says_of_memory_is_the_same_sum(optimizer: str) -> None:
    config = preset_config("tiny").replace(
        {"optim.optimizer": optimizer, "optim.ema_decay": 0.99, "model.position": "learned"}
    )
    memory = summarize(config, VOCAB_SIZE).memory
    kept = memory.weights + memory.gradients + memory.optimizer[optimizer] + memory.average
    assert training_bytes(config.model, config.optim, VOCAB_SIZE) == kept


def test_nothing_is_allocated() -> None:
    huge = preset_config("gpt2-xl").replace({"model.n_embd": 32_000, "model.n_layer": 200})
    assert summarize(huge, 50_257).memory.weights > 9e12
