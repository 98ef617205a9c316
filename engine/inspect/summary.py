"""The modules of a model, its parameters, FLOPs and memory, without allocating it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from torch import nn

from engine.config.model_size import (
    FP32_BYTES,
    flops_per_token,
    kv_cache_numbers,
    optimizer_bytes,
)
from engine.config.schema import SETTINGS, Config, tokens_per_step
from engine.model import LanguageModel
from engine.model.attention import CausalSelfAttention
from engine.model.block import Block, FeedForward
from engine.model.empty import build_empty_model
from engine.model.layers import Dropout
from engine.training.precision import DTYPES

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
class Part:
    """A module, or several equal ones in a row."""

    name: str
    kind: str
    parameters: int  # of one of them; shared parameters count only where they first appear
    count: int
    parts: tuple[Part, ...]


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
    tree: Part
    parameters: dict[str, int]  # by purpose
    total: int
    without_positions: int
    flops_forward: float  # per token
    flops_training: float  # per token, with the backward pass
    flops_step: float  # per optimizer step
    memory: Memory


def summarize(config: Config, vocab_size: int) -> ModelSummary:
    model = build_empty_model(config.model, vocab_size)
    training = flops_per_token(config.model, vocab_size)
    return ModelSummary(
        tree=tree(model),
        parameters=_by_purpose(model),
        total=_count(model),
        without_positions=model.parameter_count(),
        flops_forward=flops_per_token(config.model, vocab_size, training=False),
        flops_training=training,
        flops_step=training * tokens_per_step(config),
        memory=_memory(config, model, vocab_size),
    )


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _by_purpose(model: LanguageModel) -> dict[str, int]:
    """Count parameters by purpose; a tied head counts as token embedding, once."""
    counts = dict.fromkeys(PURPOSES.values(), 0)
    for name, parameter in model.named_parameters():
        purpose = next(purpose for key, purpose in PURPOSES.items() if key in name)
        counts[purpose] += parameter.numel()
    return {purpose: count for purpose, count in counts.items() if count}


def _memory(config: Config, model: LanguageModel, vocab_size: int) -> Memory:
    numbers = _count(model)
    kept = "fp32" if config.system.precision == "auto" else config.system.precision
    return Memory(
        weights=FP32_BYTES * numbers,
        gradients=FP32_BYTES * numbers,
        optimizer={
            kind: optimizer_bytes(
                config.model, dataclasses.replace(config.optim, optimizer=kind), vocab_size
            )
            for kind in SETTINGS["optim.optimizer"].choices
        },
        average=FP32_BYTES * numbers if config.optim.ema_decay else 0,
        kv_cache=DTYPES[kept].itemsize * kv_cache_numbers(config.model),
        kv_cache_dtype=str(DTYPES[kept]).removeprefix("torch."),
    )


def tree(model: LanguageModel) -> Part:
    """Return the tree of a model, without identities and dropout of rate 0."""
    return _part(type(model).__name__, model, set())


def _part(name: str, module: nn.Module, seen: set[int]) -> Part:
    """Return the tree of a module; ``seen`` holds ids of parameters that are already counted."""
    own = [p for p in module.parameters() if id(p) not in seen]
    shares = not own and any(True for _ in module.parameters())
    parts = tuple(_fold(_children(module, seen)))
    seen.update(map(id, own))
    kind = f"{_kind(module)} (tied)" if shares else _kind(module)
    return Part(name, kind, sum(p.numel() for p in own), 1, parts)


def _children(module: nn.Module, seen: set[int]) -> Iterator[Part]:
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList):
            yield from (_part(f"{name} {i}", one, seen) for i, one in enumerate(child))
        elif _does_something(child):
            yield _part(name, child, seen)


def _does_something(module: nn.Module) -> bool:
    return not isinstance(module, nn.Identity) and not (
        isinstance(module, Dropout) and not module.p
    )


def _fold(parts: Iterator[Part]) -> Iterator[Part]:
    """Merge neighbours that differ only in their number: ``blocks 0-5``."""
    for _, group in groupby(
        parts, lambda part: dataclasses.replace(part, name=part.name.split()[0])
    ):
        first, *others = group
        last = f"-{others[-1].name.split()[-1]}" if others else ""
        yield dataclasses.replace(first, name=first.name + last, count=1 + len(others))


def _kind(module: nn.Module) -> str:
    match module:
        case nn.Linear():
            return f"Linear {module.in_features} -> {module.out_features}"
        case nn.Embedding():
            return f"Embedding {module.num_embeddings} x {module.embedding_dim}"
        case nn.LayerNorm() | nn.RMSNorm():
            return f"{type(module).__name__} {module.normalized_shape[0]}"
        case Dropout():
            return f"Dropout {module.p:g}"
        case CausalSelfAttention():
            shared = f", {module.n_kv_head} kv heads" if module.n_kv_head < module.n_head else ""
            return f"CausalSelfAttention, {module.n_head} x {module.head_size}{shared}"
        case FeedForward():
            return f"FeedForward, {module.activation}"
        case Block():
            place = "pre-norm" if module.pre_norm else "post-norm"
            return f"Block, {place}{'' if module.residual else ', no residual'}"
        case LanguageModel():
            return f"{module.vocab_size:,} tokens, context {module.config.block_size:,}"
        case _:
            return type(module).__name__
