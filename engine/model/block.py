"""One transformer block: communication, then computation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine import kernels
from engine.config.schema import ModelConfig
from engine.model.attention import CausalSelfAttention
from engine.model.layers import Dropout, Linear, build_norm
from engine.model.positions import Rotary


class FeedForward(nn.Module):
    """Every token thinks for itself: widen, bend, narrow again."""

    native = False  # whether to use the kernels of ``engine.kernels``, where they can do it

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.activation = config.activation
        hidden = config.d_ff
        # SwiGLU has a second matrix of the same shape for its gate (Shazeer 2020)
        widened = 2 * hidden if self.activation == "swiglu" else hidden
        self.up = Linear(config.n_embd, widened, bias=config.bias)
        self.proj: nn.Module = nn.Identity()
        if config.output_proj:
            self.proj = Linear(hidden, config.n_embd, bias=config.bias)
        self.proj_dropout = Dropout("resid", config.dropout_of("resid"))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        out: Tensor = self.proj_dropout(self.proj(self.activate(self.up(x))))
        return out

    def activate(self, x: Tensor) -> Tensor:
        """The activation: (B, T, d_ff), or twice as wide for SwiGLU, -> (B, T, d_ff)."""
        if self.native and self.activation == "gelu" and kernels.takes(x, torch.float32):
            return kernels.gelu(x)
        if self.native and kernels.gpu.takes(x) and self.activation in ("relu2", "swiglu"):
            return kernels.gpu.activation(x, self.activation)
        return activate(x, self.activation)


def activate(x: Tensor, activation: str) -> Tensor:
    """What makes a network more than a product of matrices: (..., d_ff), twice that for SwiGLU."""
    if activation == "relu":
        return F.relu(x)
    if activation == "relu2":  # So et al. 2021 (Primer)
        return F.relu(x).square()
    if activation == "swiglu":
        gate, value = x.chunk(2, dim=-1)
        return F.silu(gate) * value
    return F.gelu(x)


class Block(nn.Module):
    """Attention, then feed-forward, each with its norm and added to the stream it read from.

    Pre-norm normalises what goes into each of the two, post-norm what comes out of the addition.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.pre_norm = config.norm_place == "pre"
        self.residual = config.residual
        self.norm_1 = build_norm(config, config.n_embd)
        self.attention = CausalSelfAttention(config)
        self.feed_forward = FeedForward(config) if config.mlp_ratio else None
        if self.feed_forward is not None:
            self.norm_2 = build_norm(config, config.n_embd)

    def forward(self, x: Tensor, rope: Rotary | None = None) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        if self.pre_norm:
            x = self._residual_add(x, self.attention(self.norm_1(x), rope))
        else:
            x = self.norm_1(self._residual_add(x, self.attention(x, rope)))
        return self._add_mlp(x)

    def reference(self, x: Tensor, rope: Rotary | None = None) -> tuple[Tensor, Tensor]:
        """As ``forward``, on the reference path: (B, T, C) and the weights (B, nh, T, T)."""
        if self.pre_norm:
            attended, weights = self.attention.reference(self.norm_1(x), rope)
            x = self._residual_add(x, attended)
        else:
            attended, weights = self.attention.reference(x, rope)
            x = self.norm_1(self._residual_add(x, attended))
        return self._add_mlp(x), weights

    def _add_mlp(self, x: Tensor) -> Tensor:
        if self.feed_forward is None:
            return x
        if self.pre_norm:
            return self._residual_add(x, self.feed_forward(self.norm_2(x)))
        normalised: Tensor = self.norm_2(self._residual_add(x, self.feed_forward(x)))
        return normalised

    def _residual_add(self, x: Tensor, change: Tensor) -> Tensor:
        return x + change if self.residual else change
