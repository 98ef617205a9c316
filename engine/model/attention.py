"""Causal multi-head self-attention, and the cache of its keys and values."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.config import ModelConfig


class KVCache:
    """Keys and values of the tokens one attention layer has seen, so that each is computed once.

    Args:
        batch_size: B, texts generated side by side.
        config: Gives the number of heads, their size and the longest context.
        like: A tensor whose device and dtype the cache takes.
    """

    def __init__(self, batch_size: int, config: ModelConfig, like: Tensor) -> None:
        head_size = config.n_embd // config.n_head
        shape = (batch_size, config.n_head, config.block_size, head_size)  # (B, nh, T_max, hs)
        self.keys = like.new_zeros(shape)
        self.values = like.new_zeros(shape)
        self.length = 0

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append T new keys and values (B, nh, T, hs); return all so far (B, nh, length, hs)."""
        start, self.length = self.length, self.length + k.size(2)
        self.keys[:, :, start : self.length] = k
        self.values[:, :, start : self.length] = v
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


class CausalSelfAttention(nn.Module):
    """Every token looks back at the tokens before it (Vaswani et al. 2017, section 3.2)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.dropout = config.dropout
        # queries, keys and values of all heads in one matrix multiplication
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.proj_dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cache: KVCache | None = None) -> Tensor:
        """Mix information between positions: (B, T, C) -> (B, T, C)."""
        q, k, v = self.heads(x)
        if cache is not None:
            k, v = cache.extend(k, v)
        y = F.scaled_dot_product_attention(
            q,
            k,
            v,
            dropout_p=self.dropout if self.training else 0.0,
            # one query may look at every key before it; is_causal would show it the first alone
            is_causal=q.size(2) > 1,
        )  # (B, nh, T, hs)
        return self.merge(y)

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project and split into heads: (B, T, C) -> three of (B, nh, T, hs)."""
        B, T, C = x.shape
        qkv = self.qkv(x).view(B, T, 3, self.n_head, C // self.n_head)  # (B, T, 3, nh, hs)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, nh, T, hs)
        return q, k, v

    def merge(self, y: Tensor) -> Tensor:
        """Put the heads side by side and project: (B, nh, T, hs) -> (B, T, C)."""
        B, _, T, _ = y.shape
        y = y.transpose(1, 2).reshape(B, T, -1)  # (B, T, C)
        out: Tensor = self.proj_dropout(self.proj(y))
        return out

    def reference(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The same attention, spelled out as in the lecture, without dropout.

        Args:
            x: (B, T, C).

        Returns:
            The output (B, T, C) and the attention weights (B, nh, T, T); row i says how much token
            i takes from each token up to itself, and sums to 1.
        """
        q, k, v = self.heads(x)
        T, head_size = q.shape[-2:]
        scores = q @ k.transpose(-2, -1) / math.sqrt(head_size)  # (B, nh, T, T)
        future = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
        weights = scores.masked_fill(future, float("-inf")).softmax(dim=-1)  # (B, nh, T, T)
        return self.merge(weights @ v), weights
