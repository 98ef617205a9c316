"""One transformer block: communication, then computation."""

from __future__ import annotations

from torch import Tensor, nn

from engine.config import ModelConfig
from engine.model.attention import CausalSelfAttention, KVCache


class FeedForward(nn.Module):
    """Every token thinks for itself: widen four times, GELU, narrow again."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.gelu = nn.GELU()
        self.proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)
        self.proj_dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        out: Tensor = self.proj_dropout(self.proj(self.gelu(self.up(x))))
        return out


class Block(nn.Module):
    """Attention and feed-forward, each normalised before (pre-norm) and added to the stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.attention = CausalSelfAttention(config)
        self.norm_2 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.feed_forward = FeedForward(config)

    def forward(self, x: Tensor, cache: KVCache | None = None) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        x = x + self.attention(self.norm_1(x), cache)
        x = x + self.feed_forward(self.norm_2(x))
        return x

    def reference(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As ``forward``, on the reference path: (B, T, C) and the weights (B, nh, T, T)."""
        attended, weights = self.attention.reference(self.norm_1(x))
        x = x + attended
        return x + self.feed_forward(self.norm_2(x)), weights
