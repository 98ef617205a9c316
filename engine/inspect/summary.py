"""What a model is made of and what it costs, told without allocating it."""

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

FP32_BYTES = 4  # weights, gradients and the optimizer's memory are kept in fp32
PURPOSES = {  # of a parameter, by the first of these that its name holds
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
    """Bytes that training and sampling hold, activations left out."""

    weights: int
    gradients: int
    optimizer: dict[str, int]  # by ``optim.optimizer``
    average: int  # of the weights, if ``optim.ema_decay`` keeps one
    kv_cache: int  # of one text as long as the context
    kv_cache_dtype: str


@dataclass(frozen=True)
class ModelSummary:
    """A model from the outside."""

    tree: Part
    parameters: dict[str, int]  # by what they are for
    total: int
    without_positions: int
    flops_forward: float  # of a token
    flops_training: float  # of a token, with the backward pass
    flops_step: float  # of an optimizer step
    memory: Memory


def summarize(config: Config, vocab_size: int) -> ModelSummary:
    """Look at the model a configuration describes.

    Args:
        config: The model, and how it is to be trained.
        vocab_size: Number of distinct tokens.
    """
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
    """A tied head counts as token embedding, once."""
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
    """Numbers an optimizer keeps: AdamW two for each parameter, Muon and SGD one."""
    numbers = _count(model)
    if optimizer == "sgd":
        return numbers if momentum else 0
    matrices = block_matrices(model) if optimizer == "muon" else []
    return 2 * numbers - sum(weight.numel() for weight, *_ in matrices)
