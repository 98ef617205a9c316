"""How a text goes on: the most likely token each time, each one read once.

The fast ``generate`` decodes with a copy of the weights, laid out for speed, and the plain one
holds the logits of all positions. Here the modules of the model compute, so that a model that
shares its weights with another (``switched_off``) costs no more than its keys and values.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.inspect.forward_pass import device_of, pass_block
from engine.inspect.prediction import looking_at
from engine.model import GPT
from engine.model.attention import CausalSelfAttention
from engine.model.block import Block
from engine.model.positions import Rotary


def continuation(model: GPT, ids: Sequence[int], count: int) -> list[int]:
    """Return the most likely next tokens; none if any logits are not finite.

    Past the context, the window moves by a token each time and is read anew, as by the plain
    ``generate``.

    Args:
        ids: At least one.
        count: Tokens to add.
    """
    context, tokens = model.config.block_size, list(ids)
    reader = _Reader(model, min(len(tokens) + count, context))
    for _ in range(count):
        logits = reader.read(tokens[-context:], moved=len(tokens) > context)  # (V,)
        if not torch.isfinite(logits).all():
            return []
        tokens.append(int(logits.argmax()))
    return tokens[len(ids) :]


class _Reader:
    """Keeps the keys and values of the tokens that were read.

    Args:
        capacity: Tokens of the longest text. The memory is there from the beginning: buffers that
            grow by a token each time leave gaps, of hundreds of MB for a large model.
    """

    def __init__(self, model: GPT, capacity: int) -> None:
        config = model.config
        shape = (2, config.n_layer, 1, config.kv_heads, capacity, config.head_size)
        self._model = model
        self._keys, self._values = torch.empty(
            shape, dtype=model.compute_dtype, device=device_of(model)
        )  # (L, 1, nkv, capacity, hs) each
        self._known = 0  # positions that are filled

    def read(self, ids: Sequence[int], moved: bool) -> Tensor:
        """Return the logits (V,) of the token after a text, which begins with that read before.

        Args:
            ids: T token ids.
            moved: It begins elsewhere, so that nothing that was kept is valid.
        """
        start = 0 if moved else self._known
        self._known = len(ids)
        model, device = self._model, device_of(self._model)
        first = max(0, start - model.config.n_gram + 1)  # an embedding may sum those before it
        positions = torch.arange(first, len(ids), device=device)
        with looking_at(model):
            x = model.embed(torch.tensor([ids[first:]], device=device), positions)
            x = x[:, start - first :]  # (1, T - start, C)
            rope = model._rope(positions[start - first :])
            for block, keys, values in zip(model.blocks, self._keys, self._values, strict=True):
                assert isinstance(block, Block)
                attend = _Attention(block.attention, keys, values, start)
                x = pass_block(block, x, rope, attend).after
            return model.logits(x[:, -1:])[0, 0]


class _Attention:
    """Attention to what is kept of earlier tokens, too.

    Args:
        keys: (1, nkv, capacity, hs), as the values; those of the tokens that are read are written.
        start: Tokens that were read before: none, or all but the last.
    """

    def __init__(
        self, attention: CausalSelfAttention, keys: Tensor, values: Tensor, start: int
    ) -> None:
        self._attention, self._start = attention, start
        self._keys, self._values = keys, values

    def __call__(self, x: Tensor, rope: Rotary | None) -> Tensor:
        """(1, T - start, C) -> (1, T - start, C)."""
        q, k, v = self._attention.heads(x, rope)  # (1, nh or nkv, T - start, hs)
        end = self._start + x.size(1)
        for kept, new in ((self._keys, k), (self._values, v)):
            kept[:, :, self._start : end] = new
        if not self._start:
            return self._attention.merge(self._attention.attend(q, k, v))
        # a single query may attend to all that is there: no mask
        k, v = self._keys[:, :, :end], self._values[:, :, :end]  # (1, nkv, T, hs)
        grouped = k.size(1) != q.size(1)
        return self._attention.merge(F.scaled_dot_product_attention(q, k, v, enable_gqa=grouped))
