"""Layers: what each would predict, what it adds, and what the loss is without it.

The residual stream is looked at in L + 1 places, for L blocks: as it enters the first block (row
0), and as it leaves each block. Without residual connections, it is what the last sublayer wrote.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from data.errors import InputError
from engine.config.schema import ModelConfig
from engine.inspect.forward_pass import (
    TokenIds,
    batch_of,
    forward_pass,
    require_gpt,
    require_place,
)
from engine.inspect.prediction import LOGITS_AT_ONCE, Floats, looking_at
from engine.model import GPT, LanguageModel
from engine.model.block import Block
from engine.model.positions import Rotary
from engine.sampling.generate import use_fast_generate

ModuleT = TypeVar("ModuleT", bound=nn.Module)
Part = int | Literal["attention", "feed_forward", "layer"]  # a number is that of a head


# -- what each layer would predict ----------------------------------------------------------------


@dataclass(frozen=True)
class Lens:
    """The logit lens (nostalgebraist 2020): the stream in L + 1 places, through norm and head.

    The last row is what the model predicts. (L + 1, T) each.
    """

    likeliest: NDArray[np.int64]  # the most likely next token
    probability: Floats  # of the most likely token
    truth: Floats  # probability of the true next token; NaN at the last position, which has none
    entropy: Floats  # of the prediction, bits


def logit_lens(model: LanguageModel, ids: TokenIds) -> Lens:
    """Predict the next token from the residual stream as it leaves each layer.

    Takes one forward pass, and the head L times more.

    Args:
        ids: (T,).

    Raises:
        InputError: The model is a bigram, or the text is empty or longer than the context.
    """
    gpt = require_gpt(model, "layers")
    batch = batch_of(gpt, ids)
    following = batch.roll(-1, dims=1)  # (1, T)
    shape = gpt.config.n_layer + 1, batch.size(1)
    likeliest = np.empty(shape, np.int64)
    probability, truth, entropy = (np.empty(shape, np.float32) for _ in range(3))
    for row, x in enumerate(_streams(gpt, batch)):
        first = 0
        with looking_at(gpt):
            # what is kept goes into arrays that are there already: small ones between large ones
            # that come and go would have the process grow by hundreds of MB
            for logits, wanted in _pieces(gpt, x, following):
                part = row, slice(first, first + len(wanted))
                found = _predicted(logits, wanted)
                del logits  # before the next ones are made
                likeliest[part], probability[part], truth[part], entropy[part] = (
                    one.cpu().numpy() for one in found
                )
                first += len(wanted)
    truth[:, -1] = np.nan
    return Lens(likeliest, probability, truth, entropy)


def _streams(model: GPT, input_ids: Tensor) -> Iterator[Tensor]:
    """Yield the residual stream before the first block and after each, (B, T, C)."""
    for number, passed in enumerate(forward_pass(model, input_ids)):
        if number == 0:
            yield passed.before
        yield passed.after


def _pieces(model: GPT, x: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield logits (n, V) of a stream (B, T, C) with their targets (n,), a few rows at a time."""
    rows = max(1, LOGITS_AT_ONCE // model.vocab_size)
    for one, those in zip(x, targets, strict=True):
        for part, wanted in zip(one.split(rows), those.split(rows), strict=True):
            yield model.logits(part[None])[0], wanted


def _predicted(logits: Tensor, following: Tensor) -> tuple[Tensor, ...]:
    """Return the four parts of ``Lens``, (n,) each, of logits (n, V)."""
    probabilities = logits.softmax(-1)  # (n, V)
    probability, likeliest = probabilities.max(-1)
    truth = probabilities.gather(-1, following[:, None])[:, 0]
    bits = -torch.special.xlogy(probabilities, probabilities).sum(-1) / math.log(2)
    return likeliest, probability, truth, bits


# -- what each layer adds -------------------------------------------------------------------------


@dataclass(frozen=True)
class StreamNorms:
    """Lengths of the vectors of the residual stream, and of what is added to it."""

    stream: Floats  # (L + 1, T)
    # (L, 2, T), of the outputs of attention and feed-forward; 0 where there is no feed-forward.
    # Without residual connections they replace the stream, and post-norm blocks normalise the sum
    added: Floats


def stream_norms(model: LanguageModel, ids: TokenIds) -> StreamNorms:
    """Measure the residual stream and what each sublayer writes into it.

    Args:
        ids: (T,).

    Raises:
        InputError: The model is a bigram, or the text is empty or longer than the context.
    """
    gpt = require_gpt(model, "layers")
    stream: list[Floats] = []
    added: list[Floats] = []
    for number, passed in enumerate(forward_pass(gpt, batch_of(gpt, ids))):
        if number == 0:
            stream.append(_lengths(passed.before))
        stream.append(_lengths(passed.after))
        attended = _lengths(passed.attention_output)
        computed = passed.feed_forward_output
        nothing = np.zeros_like(attended)
        added.append(np.stack((attended, nothing if computed is None else _lengths(computed))))
    return StreamNorms(np.stack(stream), np.stack(added))


def _lengths(x: Tensor) -> Floats:
    """Measure the vector of each position: (1, T, C) -> (T,)."""
    lengths: Floats = x[0].detach().float().norm(dim=-1).cpu().numpy()
    return lengths


# -- the model without a part ---------------------------------------------------------------------


def parts_of(config: ModelConfig) -> tuple[Part, ...]:
    """Return what can be switched off in each layer."""
    feed_forward: tuple[Part, ...] = ("feed_forward",) if config.mlp_ratio else ()
    return (*range(config.n_head), "attention", *feed_forward, "layer")


def switched_off(model: LanguageModel, layer: int, part: Part) -> GPT:
    """Return a model without a head, a sublayer or a whole layer.

    It shares all other weights with ``model``, which is not changed: it follows its training, and
    costs no more memory than one projection. It computes and generates like any other model.

    * A head: its columns of the output projection are zero. What it computes is not read.
    * Attention or feed-forward: its output is zero, biases too. The stream passes it by, but the
      norm of post-norm blocks still applies; without a residual connection nothing passes.
    * A layer: the block is left out, and its input goes into the next one. In pre-norm blocks with
      residual connections this is the same as to switch off both sublayers.

    Args:
        part: The number of a head, ``attention``, ``feed_forward`` or ``layer``.

    Raises:
        InputError: The model is a bigram, or there is no such layer, head or feed-forward.
    """
    gpt = require_gpt(model, "layers")
    require_place(gpt.config, layer, part if isinstance(part, int) else None)
    changed = _sharing_weights(gpt)
    if part == "layer":
        del changed.blocks[layer]
        changed.config = dataclasses.replace(gpt.config, n_layer=gpt.config.n_layer - 1)
    else:
        block = changed.blocks[layer]
        assert isinstance(block, Block)
        _switch_off(block, layer, part)
    if "generate" in changed.__dict__:  # the fast one of ``model``, which would use all of it
        del changed.__dict__["generate"]
        use_fast_generate(changed)
    return changed


def _sharing_weights(module: ModuleT) -> ModuleT:
    """Copy a module and all modules in it; their parameters are the same objects."""
    twin = copy.copy(module)
    twin._modules = {
        name: None if child is None else _sharing_weights(child)
        for name, child in module._modules.items()
    }
    twin._parameters = dict(module._parameters)
    return twin


def _switch_off(block: Block, layer: int, part: Part) -> None:
    """Replace the output projection of a sublayer, which may be an identity."""
    attention = block.attention
    sublayer = block.feed_forward if part == "feed_forward" else attention
    if sublayer is None:
        raise InputError(
            f"layer {layer} has no feed-forward: switch off its attention or the whole layer"
        )
    proj, qkv = sublayer.proj, attention.qkv
    weight, bias = torch.eye(qkv.in_features, device=qkv.weight.device), None
    if isinstance(proj, nn.Linear):
        weight, bias = proj.weight.detach().clone(), proj.bias
    if isinstance(part, int):
        weight[:, part * attention.head_size : (part + 1) * attention.head_size] = 0
    else:
        weight, bias = torch.zeros_like(weight), None
    off = _sharing_weights(qkv)  # any linear layer will do; to build one draws random numbers
    off.out_features, off.in_features = weight.shape
    off.register_parameter("weight", nn.Parameter(weight, requires_grad=False))
    off.register_parameter("bias", bias)
    sublayer.proj = off


class Worth(NamedTuple):
    """How much worse the model is without a part."""

    layer: int
    part: Part
    difference: float  # loss without it minus loss, nats per token
    loss: float  # without it


def worth(
    model: LanguageModel, windows: NDArray[np.integer] | Tensor
) -> Generator[Worth, None, float]:
    """Measure the loss without each part of the model, one part at a time.

    Yields layer by layer, in each the parts of ``parts_of``; there are ``n_layer`` times as many.
    Returns the loss of the whole model. The weights must not change meanwhile.

    Args:
        windows: (N, T) token ids; the loss is that of all tokens but the first of each window, so
            that T may be one more than the context.

    Raises:
        InputError: The model is a bigram, or the windows are too short or too long.
    """
    gpt = require_gpt(model, "layers")
    ids = torch.stack([batch_of(gpt, window, room=1)[0] for window in windows])  # (N, T)
    if ids.size(1) < 2:
        raise InputError("a single token has no next one to predict: give at least two")
    inputs, targets = ids[:, :-1], ids[:, 1:]
    positions = torch.arange(inputs.size(1), device=inputs.device)  # (T,)
    with looking_at(gpt):  # each window by itself: together they need N times as much memory
        streams, rope = [gpt.embed(one[None], positions) for one in inputs], gpt._rope(positions)
    whole = _loss_from(gpt, 0, streams, rope, targets)
    for layer, block in enumerate(gpt.blocks):
        for part in parts_of(gpt.config):
            loss = _loss_from(switched_off(gpt, layer, part), layer, streams, rope, targets)
            yield Worth(layer, part, loss - whole, loss)
        with looking_at(gpt):
            streams = [block(x, rope) for x in streams]
    return whole


def _loss_from(
    model: GPT, layer: int, streams: Sequence[Tensor], rope: Rotary | None, targets: Tensor
) -> float:
    """Return the loss, computed from where a layer begins on; the rest is known.

    Args:
        streams: What enters the layer: (1, T, C) of each of N windows.
        rope: Of the T positions.
        targets: (N, T).
    """
    total = 0.0
    with looking_at(model):
        for x, wanted in zip(streams, targets, strict=True):  # (1, T, C), (T,)
            for block in model.blocks[layer:]:
                x = block(x, rope)
            for logits, some in _pieces(model, x, wanted[None]):
                total += float(F.cross_entropy(logits, some, reduction="sum"))
                del logits  # before the next ones are made
    return total / targets.numel()
