"""A forward pass block by block: what each one reads, what its sublayers add, what it leaves.

Everything that looks inside a model goes through here; the parameters are read and never written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data.errors import InputError
from engine.config.schema import ModelConfig
from engine.inspect.prediction import Ids, looking_at
from engine.model import GPT, LanguageModel
from engine.model.block import Block
from engine.model.positions import Rotary

TokenIds = Sequence[int] | Ids | Tensor  # (T,)
Attend = Callable[[Tensor, Rotary | None], Tensor]  # (B, T, C) -> (B, T, C)


@dataclass(frozen=True)
class BlockPass:
    """The tensors of one block, (B, T, C) each."""

    block: Block
    rope: Rotary | None
    before: Tensor  # the residual stream that enters the block
    attention_input: Tensor  # ``before``, normalised in pre-norm blocks
    attention_output: Tensor
    between: Tensor  # after the residual addition, and the norm of post-norm blocks
    feed_forward_input: Tensor | None
    feed_forward_output: Tensor | None  # None where the block has no feed-forward
    after: Tensor


def forward_pass(model: GPT, input_ids: Tensor) -> Iterator[BlockPass]:
    """Pass token ids (B, T) through the blocks, one at a time.

    The model evaluates while a block is computed; in between it is in the mode it was in.
    """
    positions = torch.arange(input_ids.size(1), device=input_ids.device)  # (T,)
    with looking_at(model):
        x, rope = model.embed(input_ids, positions), model._rope(positions)
    for block in model.blocks:
        assert isinstance(block, Block)
        with looking_at(model):
            passed = pass_block(block, x, rope)
        yield passed
        x = passed.after


def pass_block(
    block: Block, x: Tensor, rope: Rotary | None, attention: Attend | None = None
) -> BlockPass:
    """Do as ``Block.forward`` with the stream x (B, T, C), and keep what is computed on the way.

    Args:
        attention: What computes instead of the block's own.
    """
    read = block.norm_1(x) if block.pre_norm else x
    attended = (attention or block.attention)(read, rope)
    between = block._residual_add(x, attended)
    if not block.pre_norm:
        between = block.norm_1(between)
    if block.feed_forward is None:
        return BlockPass(block, rope, x, read, attended, between, None, None, between)
    read_next = block.norm_2(between) if block.pre_norm else between
    computed = block.feed_forward(read_next)
    after = block._residual_add(between, computed)
    if not block.pre_norm:
        after = block.norm_2(after)
    return BlockPass(block, rope, x, read, attended, between, read_next, computed, after)


def device_of(model: LanguageModel) -> torch.device:
    return next(model.parameters()).device


def batch_of(model: LanguageModel, ids: TokenIds, what: str = "look at", room: int = 0) -> Tensor:
    """Return token ids (T,) as a batch (1, T) on the model's device.

    Args:
        what: What is to be done with the text, for the error.
        room: Tokens that are read only as the next ones, beyond the context.

    Raises:
        InputError: There are no tokens, or more than the context.
    """
    # a copy: the array may belong to a memory-mapped file that cannot be written
    batch = torch.as_tensor(np.array(ids) if not isinstance(ids, Tensor) else ids).long()[None]
    require_length(model.config, batch.size(1), what, room)
    return batch.to(device_of(model))


def require_length(config: ModelConfig, length: int, what: str = "look at", room: int = 0) -> None:
    """Raise an InputError for a text without tokens, or longer than the context."""
    if not length:
        raise InputError(f"there is no text to {what}: give at least one character")
    if length > config.block_size + room:
        raise InputError(
            f"the text is {length} tokens long, and the model's context is {config.block_size}: "
            f"shorten the text, or raise model.block_size"
        )


def require_gpt(model: LanguageModel, has_no: str) -> GPT:
    """Return a model that has blocks.

    Args:
        has_no: What a bigram is asked for and does not have.

    Raises:
        InputError: It is a bigram.
    """
    if isinstance(model, GPT):
        return model
    raise InputError(
        f"a bigram has no {has_no}: it predicts the next token from the current one alone, by a "
        f"table of logits; look at its prediction, surprise or embeddings instead"
    )


def require_place(config: ModelConfig, layer: int, head: int | None = None) -> None:
    """Raise an InputError for a layer or head that the model does not have."""
    _require("layer", layer, config.n_layer, "model has")
    if head is not None:
        _require("head", head, config.n_head, "layer has")


def require_token(position: int, length: int) -> None:
    """Raise an InputError for a position outside the text."""
    _require("token", position, length, "text has")


def _require(kind: str, number: int, count: int, owner: str) -> None:
    if not 0 <= number < count:
        there = f"{count}, counted from 0 to {count - 1}" if count > 1 else "one, number 0"
        raise InputError(f"there is no {kind} {number}: the {owner} {there}")
