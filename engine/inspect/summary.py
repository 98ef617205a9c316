"""Parameters, FLOPs and memory of a model, without allocating it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from engine.config.model_size import flops_per_token, kv_cache_numbers
from engine.config.schema import SETTINGS, Config, tokens_per_step
from engine.inspect.modules import Part, tree
from engine.model import LanguageModel, build_model
from engine.optim.optimizer import block_matrices
from engine.training.precision import DTYPES

FP32_BYTES = 4  # weights, gradients and optimizer state are kept in fp32
PURPOSES = {  # of a parameter, by the first of these substrings in its name
    "token_embedding": "token embeddings",
    "previous_embeddings": "embeddings of the tokens before",
    "position_embedding": "position embeddings",
    ".attention.": "attention",
    ".feed_forward.": "feed-forward",
    "norm": "norms",
    "head": "head",
}


@dataclass(frozen=True)
class Memory:
    """Bytes that training and sampling need, without activations."""

    weights: int
    gradients: int
    optimizer: dict[str, int]  # for each choice of ``optim.optimizer``
    average: int  # of the moving average, if ``optim.ema_decay`` is set
    kv_cache: int  # of a sequence of ``block_size`` tokens
    kv_cache_dtype: str


@dataclass(frozen=True)
class ModelSummary:
    """Parameters, FLOPs and memory of a model."""

    tree: Part
    parameters: dict[str, int]  # by purpose
    total: int
    without_positions: int
    flops_forward: float  # per token
    flops_training: float  # per token, with the backward pass
    flops_step: float  # per optimizer step
    memory: Memory


def summarize(config: Config, vocab_size: int) -> ModelSummary:
    """Summarise the model of a configuration."""
    with torch.device("meta"):  # shapes without memory
        model = build_model(config.model, vocab_size)
    training = flops_per_token(config.model, vocab_size)
    return ModelSummary(
        tree=tree(model),
        parameters=_by_purpose(model),
        total=_count(model),
        without_positions=model.parameter_count(),
        flops_forward=flops_per_token(config.model, vocab_size, training=False),
        flops_training=training,
        flops_step=training * tokens_per_step(config),
        memory=_memory(config, model),
    )


# -- parameters ----------------------------------------------------------------------------------


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _by_purpose(model: LanguageModel) -> dict[str, int]:
    """Count parameters by purpose; a tied head counts as token embedding, once."""
    counts = dict.fromkeys(PURPOSES.values(), 0)
    for name, parameter in model.named_parameters():
        purpose = next(purpose for key, purpose in PURPOSES.items() if key in name)
        counts[purpose] += parameter.numel()
    return {purpose: count for purpose, count in counts.items() if count}


# -- memory --------------------------------------------------------------------------------------


def _memory(config: Config, model: LanguageModel) -> Memory:
    numbers = _count(model)
    kept = "fp32" if config.system.precision == "auto" else config.system.precision
    return Memory(
        weights=FP32_BYTES * numbers,
        gradients=FP32_BYTES * numbers,
        optimizer={
            kind: FP32_BYTES * _remembered(model, kind, config.optim.momentum)
            for kind in SETTINGS["optim.optimizer"].choices
        },
        average=FP32_BYTES * numbers if config.optim.ema_decay else 0,
        kv_cache=DTYPES[kept].itemsize * kv_cache_numbers(config.model),
        kv_cache_dtype=str(DTYPES[kept]).removeprefix("torch."),
    )


def _remembered(model: LanguageModel, optimizer: str, momentum: float) -> int:
    """Count the elements of optimizer state: AdamW two per parameter, Muon and SGD one."""
    numbers = _count(model)
    if optimizer == "sgd":
        return numbers if momentum else 0
    matrices = block_matrices(model) if optimizer == "muon" else []
    return 2 * numbers - sum(weight.numel() for weight, *_ in matrices)
