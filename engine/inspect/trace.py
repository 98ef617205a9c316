"""Trace a forward pass: the shape and statistics of every intermediate tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from data.errors import InputError
from data.tokenizers import Tokenizer
from engine.config.model_size import parameter_count
from engine.config.schema import Config
from engine.machine.memory import BUILDING_BYTES, LARGEST_SHARE
from engine.model import build_model
from engine.model.attention import CausalSelfAttention
from engine.model.block import Block, FeedForward
from engine.model.gpt import GPT
from engine.model.language_model import LanguageModel
from engine.model.positions import Rotary, sinusoidal
from engine.rng import DrawingFrom, Stream, generator_for
from engine.training.memory_probe import available_bytes


@dataclass(frozen=True)
class Stage:
    """An intermediate tensor of a forward pass."""

    where: str  # the block, or empty
    name: str
    axes: str  # names of the dimensions, e.g. "B nh T hs"
    shape: tuple[int, ...]
    mean: float
    std: float
    minimum: float
    maximum: float
    zeros: float  # share of elements that are exactly zero
    entropy: tuple[float, ...] = ()  # of attention weights: mean over the rows of each head, bits


@dataclass(frozen=True)
class Trace:
    stages: tuple[Stage, ...]
    likeliest: tuple[tuple[int, float], ...]  # token and probability, the most likely first


def trace(model: LanguageModel, tokens: Sequence[int], top: int = 5) -> Trace:
    """Trace tokens through the model's reference path, in eval mode.

    Args:
        model: Its training mode is restored afterwards.
        tokens: T token ids, at least one and at most ``block_size``.
    """
    was_training = model.training
    device = next(model.parameters()).device
    input_ids = torch.tensor([list(tokens)], dtype=torch.long, device=device)  # (1, T)
    notes = _Notes()
    notes.take("token ids", "B T", input_ids)
    try:
        with torch.no_grad():
            model.eval()
            logits = _gpt(model, input_ids, notes) if isinstance(model, GPT) else model(input_ids)
    finally:
        model.train(was_training)
    notes.take("logits", "B T V", logits)
    return Trace(tuple(notes.stages), _likeliest(logits[0, -1], top))


def initial_model(config: Config, tokenizer: Tokenizer) -> LanguageModel:
    """Build the model with the initial weights of a run of this configuration.

    Raises:
        InputError: It does not fit into memory.
    """
    needed = BUILDING_BYTES * parameter_count(config.model, tokenizer.vocab_size)
    there = available_bytes()
    if needed > LARGEST_SHARE * there:
        raise InputError(
            f"the weights of this model take {needed / 1e9:,.1f} GB of memory, and "
            f"{there / 1e9:,.1f} GB are available: take a smaller one, which has the same parts"
        )
    with DrawingFrom(generator_for(config.train.seed, Stream.INIT)):
        model = build_model(config.model, tokenizer.vocab_size)
    model.tokenizer = tokenizer
    return model


def trace_text(model: LanguageModel, text: str) -> Trace:
    """Trace a text through a model that has a tokenizer.

    Raises:
        InputError: The text is empty, longer than the context, or has unknown characters.
    """
    tokenizer = model.tokenizer
    assert tokenizer is not None
    tokens = tokenizer.encode(text).tolist()
    if not tokens:
        raise InputError("there is no text to trace: give at least one character")
    longest = model.config.block_size
    if len(tokens) > longest:
        raise InputError(
            f"the text is {len(tokens)} tokens long, and the model's context is {longest}: "
            f"shorten the text, or raise model.block_size"
        )
    return trace(model, tokens)


class _Notes:
    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.where = ""

    def take(self, name: str, axes: str, tensor: Tensor, entropy: tuple[float, ...] = ()) -> Tensor:
        x = tensor.double()
        stage = Stage(
            self.where,
            name,
            axes,
            shape=tuple(x.shape),
            mean=x.mean().item(),
            std=x.std(correction=0).item(),
            minimum=x.min().item(),
            maximum=x.max().item(),
            zeros=(x == 0).double().mean().item(),
            entropy=entropy,
        )
        self.stages.append(stage)
        return tensor


# Each function repeats a method of the model with the model's own modules, and records the tensors.


def _gpt(model: GPT, input_ids: Tensor, notes: _Notes) -> Tensor:
    """(B, T) -> (B, T, V)."""
    config = model.config
    positions = torch.arange(input_ids.size(1), device=input_ids.device)  # (T,)
    notes.take("token embeddings", "B T C", model.token_embedding(input_ids))
    if model.previous_embeddings:
        notes.take("tokens before", "B T C", model._embed_previous(input_ids))
    if config.position == "learned":
        notes.take("positions", "T C", model.position_embedding(positions))
    elif config.position == "sinusoidal":
        notes.take("positions", "T C", sinusoidal(positions, config.n_embd))
    x = notes.take("stream", "B T C", model.embed(input_ids, positions))
    rope = model._rope(positions)
    for i, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        notes.where = f"block {i}"
        x = _block(block, x, rope, notes)
    notes.where = ""
    if not isinstance(model.norm, nn.Identity):
        notes.take("norm", "B T C", model.norm(x))
    return model.logits(x)


def _block(block: Block, x: Tensor, rope: Rotary | None, notes: _Notes) -> Tensor:
    """(B, T, C) -> (B, T, C)."""
    attention, feed_forward = block.attention, block.feed_forward
    read = _norm(block.norm_1, "norm_1", x, notes) if block.pre_norm else x
    x = block._residual_add(x, _attention(attention, read, rope, notes))
    x = _sum(block, block.norm_1, "norm_1", x, notes)
    if feed_forward is None:
        return x
    read = _norm(block.norm_2, "norm_2", x, notes) if block.pre_norm else x
    x = block._residual_add(x, _feed_forward(feed_forward, read, notes))
    return _sum(block, block.norm_2, "norm_2", x, notes)


def _sum(block: Block, norm: nn.Module, name: str, x: Tensor, notes: _Notes) -> Tensor:
    """Record the residual stream after a sublayer, and apply the norm of post-norm blocks."""
    notes.take("stream", "B T C", x)
    return x if block.pre_norm else _norm(norm, name, x, notes)


def _norm(norm: nn.Module, name: str, x: Tensor, notes: _Notes) -> Tensor:
    return x if isinstance(norm, nn.Identity) else notes.take(name, "B T C", norm(x))


def _attention(
    attention: CausalSelfAttention, x: Tensor, rope: Rotary | None, notes: _Notes
) -> Tensor:
    """(B, T, C) -> (B, T, C)."""
    for name, heads in zip("qkv", attention.heads(x, rope), strict=True):
        notes.take(name, "B nh T hs" if heads.size(1) == attention.n_head else "B nkv T hs", heads)
    out, weights = attention.reference(x, rope)  # (B, T, C), (B, nh, T, T)
    notes.take("attention weights", "B nh T T", weights, _entropy(weights))
    values = heads.repeat_interleave(weights.size(1) // heads.size(1), dim=1)  # (B, nh, T, hs)
    mixed = weights @ values
    notes.take("heads joined", "B T C", mixed.transpose(1, 2).flatten(2))
    return notes.take("attention out", "B T C", out)


def _feed_forward(feed_forward: FeedForward, x: Tensor, notes: _Notes) -> Tensor:
    """(B, T, C) -> (B, T, C)."""
    gated = feed_forward.activation == "swiglu"
    hidden = notes.take("hidden", "B T 2F" if gated else "B T F", feed_forward.up(x))
    notes.take(feed_forward.activation, "B T F", feed_forward.activate(hidden))
    out: Tensor = feed_forward(x)
    return notes.take("feed-forward out", "B T C", out)


def _likeliest(logits: Tensor, count: int) -> tuple[tuple[int, float], ...]:
    """Return the tokens with the highest logits (V,) and their probabilities."""
    probs, tokens = logits.softmax(-1).sort(descending=True, stable=True)  # (V,) each
    return tuple(zip(tokens[:count].tolist(), probs[:count].tolist(), strict=True))


def _entropy(weights: Tensor) -> tuple[float, ...]:
    """Return the mean entropy of each head's rows, in bits: (B, nh, T, T) -> nh numbers.

    0 means that each token attends to a single one; log2(T) that it attends to T equally.
    """
    rows = -torch.special.xlogy(weights, weights).sum(-1)  # (B, nh, T), nats
    bits = (rows / torch.log(torch.tensor(2.0, device=rows.device))).mean((0, 2))  # (nh,)
    return tuple(bits.tolist())
