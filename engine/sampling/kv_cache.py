"""A ring of keys and values, in which the newest token takes the place of the oldest."""

from __future__ import annotations

import torch
from torch import Tensor

Layer = tuple[Tensor, Tensor]  # of keys and of values
GROWTH = 64  # room is made for a multiple of so many tokens


class Ring:
    """Keys and values of the last tokens, of all layers.

    Where in the ring a token lies does not matter: a single query looks at all that is there, and
    softmax does not mind the order. What is looked at is always the whole room, the empty places
    hidden by ``mask``: a part of it would be copied before each product.

    Args:
        shape: (L, B, nkv, hs) layers, texts, heads and numbers.
        capacity: Tokens it holds at most; memory is taken as they come.
        like: A tensor whose device and dtype the ring takes.
    """

    def __init__(self, shape: tuple[int, int, int, int], capacity: int, like: Tensor) -> None:
        layers, batch, heads, numbers = shape
        self._capacity = capacity
        self._keys = like.new_zeros(layers, batch, heads, 0, numbers)  # (L, B, nkv, T, hs)
        self._values = like.new_zeros(layers, batch, heads, 0, numbers)
        self._hiding = like.new_zeros(0)  # (2 T,) zeros, then minus infinities
        self.mask = like.new_zeros(0)  # (T,) minus infinity where nothing lies yet
        self.seen: list[Layer] = []  # by layer all keys (B nkv, hs, T) and values (B nkv, T, hs)
        self._count = 0  # tokens that were put in since it was last emptied

    @property
    def full(self) -> bool:
        """Whether the next token takes the place of the oldest."""
        return self._count >= self._capacity

    def fill(self, count: int) -> list[Layer]:
        """Empty it and make room for so many tokens: by layer two of (B, nkv, count, hs)."""
        self._count = 0
        self._advance(count)
        return _layers(self._keys[..., :count, :], self._values[..., :count, :])

    def add(self) -> list[Layer]:
        """Make room for one more token: by layer two of (B, nkv, hs)."""
        slot = self._count % self._capacity
        self._advance(1)
        return _layers(self._keys.select(-2, slot), self._values.select(-2, slot))

    def keep(self, rows: Tensor) -> None:
        """Go on with some of the texts alone: (B',) their numbers."""
        self._hold(self._keys.index_select(1, rows), self._values.index_select(1, rows))

    def _advance(self, tokens: int) -> None:
        self._count += tokens
        held = min(self._count, self._capacity)
        if held > self._keys.size(-2):
            self._grow(held)
        room = self._keys.size(-2)
        self.mask = self._hiding.narrow(0, room - held, room)

    def _grow(self, needed: int) -> None:
        *outer, there, numbers = self._keys.shape
        size = max(needed, there + there // 8)  # by a share, or long texts would copy for ever
        size = min(-(-size // GROWTH) * GROWTH, self._capacity)
        room = self._keys.new_zeros(*outer, size - there, numbers)
        nothing = room.new_full((size,), -torch.inf)
        self._hiding = torch.cat((torch.zeros_like(nothing), nothing))
        self._hold(torch.cat((self._keys, room), -2), torch.cat((self._values, room), -2))

    def _hold(self, keys: Tensor, values: Tensor) -> None:
        self._keys, self._values = keys, values
        self.seen = _layers(keys.flatten(1, 2).mT, values.flatten(1, 2))


def _layers(keys: Tensor, values: Tensor) -> list[Layer]:
    return list(zip(keys.unbind(0), values.unbind(0), strict=True))
