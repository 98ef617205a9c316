"""The cache of keys and values: while text is generated, every token is computed once."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.config.schema import ModelConfig


class LayerCache:
    """Keys and values of the tokens that one attention layer has seen.

    Args:
        shape: (B, nkv, T_max, hs).
        like: A tensor whose device and dtype the cache takes.
    """

    def __init__(self, shape: tuple[int, int, int, int], like: Tensor) -> None:
        self.keys = like.new_zeros(shape)
        self.values = like.new_zeros(shape)
        self.length = 0

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append T new keys and values (B, nkv, T, hs); return all so far (B, nkv, length, hs)."""
        start, self.length = self.length, self.length + k.size(2)
        self.keys[:, :, start : self.length] = k
        self.values[:, :, start : self.length] = v
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


class KVCache:
    """What a model remembers of the text it is continuing: one cache a layer.

    Args:
        config: Gives the shapes and the longest context.
        batch_size: B, texts generated side by side.
        like: A tensor whose device and dtype the cache takes.
    """

    def __init__(self, config: ModelConfig, batch_size: int, like: Tensor) -> None:
        shape = (batch_size, config.kv_heads, config.block_size, config.head_size)
        self.layers = [LayerCache(shape, like) for _ in range(config.n_layer)]
        self.block_size = config.block_size
        self.position = 0  # of the next token, counted from the first that was seen
        self.recent: Tensor | None = None  # (B, n_gram - 1) the last ids, for n-gram embeddings

    @property
    def length(self) -> int:
        """How many tokens can be looked back at."""
        return self.layers[0].length

    def preceding(self, input_ids: Tensor, reach: int) -> Tensor:
        """The ids with the ``reach`` before them in front: (B, T) -> (B, at most reach + T)."""
        before = self.recent
        joined = input_ids if before is None else torch.cat((before, input_ids), dim=1)
        self.recent = joined[:, -reach:]
        return joined
