"""The tree of a model's modules, with parameter counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from engine.model.attention import CausalSelfAttention
from engine.model.block import Block, FeedForward
from engine.model.language_model import LanguageModel
from engine.model.layers import Dropout


@dataclass(frozen=True)
class Part:
    """A module, or several equal ones in a row."""

    name: str
    kind: str
    parameters: int  # of one of them; shared parameters count only where they first appear
    count: int
    parts: tuple[Part, ...]


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
    rows: list[list[Part]] = []
    for part in parts:
        if rows and _same(rows[-1][-1], part):
            rows[-1].append(part)
        else:
            rows.append([part])
    for first, *others in rows:
        numbers = f"-{others[-1].name.split()[-1]}" if others else ""
        count = 1 + len(others)
        yield dataclasses.replace(first, name=first.name + numbers, count=count)


def _same(one: Part, other: Part) -> bool:
    numbered = one.name.split()[0] == other.name.split()[0] and " " in one.name
    return numbered and dataclasses.replace(one, name=other.name) == other


def _kind(module: nn.Module) -> str:
    """Return a short description of a module."""
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
