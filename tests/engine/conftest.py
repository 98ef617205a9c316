"""Trainers, sessions and engines small enough to be done in a moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.batches import Split, split_tokens
from data.tokenizers import CharTokenizer
from engine.config import Config
from engine.trainer import Runtime, Trainer

SMALL: dict[str, Any] = {
    "model.n_layer": 2,
    "model.n_head": 2,
    "model.n_embd": 16,
    "model.block_size": 8,
    "train.batch_size": 4,
    "train.max_steps": 20,
    "optim.learning_rate": 1e-2,
    "optim.min_lr": 1e-3,
    "optim.warmup_steps": 3,
    "eval.interval": 0,
    "eval.batches": 2,
    "checkpoint.interval": 0,
    "sample.max_tokens": 12,
    "system.device": "cpu",
    "system.precision": "fp32",
    "system.threads": 1,
    "system.micro_batch_size": 4,
}


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Every test here computes in one thread."""


@pytest.fixture(scope="session")
def tokenizer(small_text: str) -> CharTokenizer:
    return CharTokenizer.train(small_text)


@pytest.fixture(scope="session")
def split(small_text: str, tokenizer: CharTokenizer) -> Split:
    return split_tokens(tokenizer.encode(small_text))


MakeConfig = Callable[..., Config]
MakeTrainer = Callable[..., Trainer]


@pytest.fixture
def make_config(small_text_file: Path) -> MakeConfig:
    """A small configuration; say what should differ as ``section__name=value``."""

    def make(**changes: Any) -> Config:
        named = {key.replace("__", "."): value for key, value in changes.items()}
        return Config().replace(SMALL | {"data.corpus": str(small_text_file)} | named)

    return make


@pytest.fixture
def make_trainer(
    make_config: MakeConfig, split: Split, tokenizer: CharTokenizer
) -> MakeTrainer:
    """A small trainer; as ``make_config``."""

    def make(**changes: Any) -> Trainer:
        config = make_config(**changes)
        system = config.system
        runtime = Runtime(
            "cpu", system.precision, 1, system.micro_batch_size, system.compile
        )
        return Trainer(config, runtime, split, tokenizer.vocab_size)

    return make


def weights(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """The weights as they are now."""
    return {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}


def assert_same_bits(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Both hold the same names and the same bits."""
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(np.asarray(one[name]), np.asarray(other[name]), err_msg=name)
