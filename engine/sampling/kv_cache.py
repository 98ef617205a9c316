"""The keys and values of the tokens that a decoder has processed."""

from __future__ import annotations

import torch
from torch import Tensor

GROWTH = 64  # memory grows in multiples of this many tokens

Layer = tuple[Tensor, Tensor]  # keys and values


class KVCache:
    """Keys and values of the last tokens, for all layers.

    The order of the slots does not matter, because a single query attends to all of them. Attention
    always runs over the whole buffer, with ``mask`` hiding the empty slots: a slice of it would not
    be contiguous, and so be copied before each product.

    Args:
        shape: (L, B, nkv, hs): layers, sequences, key and value heads, head size.
        capacity: Most tokens it holds; memory is allocated as they come.
        like: A tensor with the device and dtype of the cache.
    """

    def __init__(self, shape: tuple[int, int, int, int], capacity: int, like: Tensor) -> None:
        layers, batch, heads, head_size = shape
        self._capacity = capacity
        self._keys = like.new_zeros(layers, batch, heads, 0, head_size)  # (L, B, nkv, T, hs)
        self._values = like.new_zeros(layers, batch, heads, 0, head_size)  # (L, B, nkv, T, hs)
        self._mask_source = like.new_zeros(0)  # (2 T,) zeros, then -inf; ``mask`` is a view of it
        self.mask = like.new_zeros(0)  # (T,) -inf for empty slots, added to the scores
        self.seen: list[Layer] = []  # per layer: keys (B nkv, hs, T), values (B nkv, T, hs)
        self._count = 0  # tokens added since the cache was last emptied

    @property
    def full(self) -> bool:
        """Whether the next token overwrites the oldest."""
        return self._count >= self._capacity

    def fill(self, count: int) -> list[Layer]:
        """Empty the cache and reserve the first slots.

        Returns:
            The keys and values to write to, (B, nkv, count, hs) each, for each layer.
        """
        self._count = 0
        self.advance(count)
        return _layers(self._keys[..., :count, :], self._values[..., :count, :])

    def add(self) -> list[Layer]:
        """Reserve the slot of one more token.

        Returns:
            The keys and values to write to, (B, nkv, hs) each, for each layer.
        """
        slot = self._count % self._capacity
        self.advance(1)
        return _layers(self._keys.select(-2, slot), self._values.select(-2, slot))

    def reserve(self) -> list[Layer]:
        """Allocate all slots at once.

        Returns:
            The keys and values, (B, nkv, capacity, hs) each, for each layer.
        """
        if self._keys.size(-2) < self._capacity:
            self._grow(self._capacity)
        return _layers(self._keys, self._values)

    def advance(self, tokens: int) -> None:
        """Reserve the slots of more tokens."""
        self._count += tokens
        used = min(self._count, self._capacity)
        if used > self._keys.size(-2):
            self._grow(used)
        allocated = self._keys.size(-2)
        # ``used`` zeros, then -inf, without writing anything
        self.mask = self._mask_source.narrow(0, allocated - used, allocated)

    def keep(self, rows: Tensor) -> None:
        """Continue with only these rows (B',) of the batch."""
        self._store(self._keys.index_select(1, rows), self._values.index_select(1, rows))

    def _grow(self, needed: int) -> None:
        *outer, allocated, head_size = self._keys.shape
        # by a share of the size, so that copying costs O(1) per token
        size = max(needed, allocated + allocated // 8)
        size = min(-(-size // GROWTH) * GROWTH, self._capacity)
        added = self._keys.new_zeros(*outer, size - allocated, head_size)
        hidden = added.new_full((size,), -torch.inf)
        self._mask_source = torch.cat((torch.zeros_like(hidden), hidden))
        self._store(torch.cat((self._keys, added), -2), torch.cat((self._values, added), -2))

    def _store(self, keys: Tensor, values: Tensor) -> None:
        self._keys, self._values = keys, values
        self.seen = _layers(keys.flatten(1, 2).mT, values.flatten(1, 2))


def _layers(keys: Tensor, values: Tensor) -> list[Layer]:
    return list(zip(keys.unbind(0), values.unbind(0), strict=True))
