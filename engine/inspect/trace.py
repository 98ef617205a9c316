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
from engine.inspect.forward_pass import BlockPass, batch_of, forward_pass
from engine.inspect.prediction import looking_at
from engine.machine.memory import BUILDING_BYTES, LARGEST_SHARE
from engine.model import build_model
from engine.model.attention import CausalSelfAttention
from engine.model.block import FeedForward
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
    """Trace tokens through the model, in eval mode.

    Args:
        model: Its training mode is restored afterwards.
        tokens: T token ids.

    Raises:
        InputError: There are no tokens, or more than the context.
    """
    input_ids = batch_of(model, tokens, "trace")  # (1, T)
    notes = _Notes()
    notes.take("token ids", "B T", input_ids)
    with looking_at(model):
        logits = _gpt(model, input_ids, notes) if isinstance(model, GPT) else model(input_ids)
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
    return trace(model, tokenizer.encode(tokenizer.typed(text)).tolist())


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
    for i, passed in enumerate(forward_pass(model, input_ids)):
        if i == 0:
            notes.take("stream", "B T C", passed.before)
        notes.where = f"block {i}"
        _block(passed, notes)
        x = passed.after
    notes.where = ""
    if not isinstance(model.norm, nn.Identity):
        notes.take("norm", "B T C", model.norm(x))
    return model.logits(x)


def _block(passed: BlockPass, notes: _Notes) -> None:
    block, feed_forward = passed.block, passed.block.feed_forward
    if block.pre_norm:
        _norm(block.norm_1, "norm_1", passed.attention_input, notes)
    _attention(block.attention, passed.attention_input, passed.rope, notes)
    notes.take("attention out", "B T C", passed.attention_output)
    notes.take("stream", "B T C", block._residual_add(passed.before, passed.attention_output))
    if not block.pre_norm:
        _norm(block.norm_1, "norm_1", passed.between, notes)
    if feed_forward is None:
        return
    assert passed.feed_forward_input is not None and passed.feed_forward_output is not None
    if block.pre_norm:
        _norm(block.norm_2, "norm_2", passed.feed_forward_input, notes)
    _feed_forward(feed_forward, passed.feed_forward_input, notes)
    notes.take("feed-forward out", "B T C", passed.feed_forward_output)
    notes.take("stream", "B T C", block._residual_add(passed.between, passed.feed_forward_output))
    if not block.pre_norm:
        _norm(block.norm_2, "norm_2", passed.after, notes)


def _norm(norm: nn.Module, name: str, normalised: Tensor, notes: _Notes) -> None:
    if not isinstance(norm, nn.Identity):
        notes.take(name, "B T C", normalised)


def _attention(
    attention: CausalSelfAttention, x: Tensor, rope: Rotary | None, notes: _Notes
) -> None:
    """Record what attention computes from (B, T, C)."""
    for name, heads in zip("qkv", attention.heads(x, rope), strict=True):
        notes.take(name, "B nh T hs" if heads.size(1) == attention.n_head else "B nkv T hs", heads)
    _, weights = attention.reference(x, rope)  # (B, nh, T, T)
    notes.take("attention weights", "B nh T T", weights, _entropy(weights))
    values = heads.repeat_interleave(weights.size(1) // heads.size(1), dim=1)  # (B, nh, T, hs)
    mixed = weights @ values
    notes.take("heads joined", "B T C", mixed.transpose(1, 2).flatten(2))


def _feed_forward(feed_forward: FeedForward, x: Tensor, notes: _Notes) -> None:
    """Record what the feed-forward computes from (B, T, C)."""
    gated = feed_forward.activation == "swiglu"
    hidden = notes.take("hidden", "B T 2F" if gated else "B T F", feed_forward.up(x))
    notes.take(feed_forward.activation, "B T F", feed_forward.activate(hidden))


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
