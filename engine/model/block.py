"""A transformer block: attention (communication), then an MLP (computation)."""

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
    """The position-wise MLP: up projection, activation, down projection."""

    native = False  # use ``engine.kernels`` where it supports the input

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.activation = config.activation
        hidden = config.d_ff
        # the hidden layer is wider (4x by default): this is where most parameters are
        # SwiGLU has a second matrix of the same shape for its gate (Shazeer 2020); both in one
        # matrix multiplication
        widened = 2 * hidden if self.activation == "swiglu" else hidden
        self.up = Linear(config.n_embd, widened, bias=config.bias)
        self.proj: nn.Module = nn.Identity()
        if config.output_proj:
            self.proj = Linear(hidden, config.n_embd, bias=config.bias)
        self.proj_dropout = Dropout("resid", config.dropout_of("resid"))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        h = self.activate(self.up(x))  # (B, T, d_ff)
        out: Tensor = self.proj_dropout(self.proj(h))
        return out

    def activate(self, x: Tensor) -> Tensor:
        """Apply the activation: (B, T, d_ff), or (B, T, 2 d_ff) for SwiGLU, -> (B, T, d_ff)."""
        if self.native and self.activation == "gelu" and kernels.takes(x, torch.float32):
            return kernels.gelu(x)
        if self.native and kernels.gpu.takes(x) and self.activation in ("relu2", "swiglu"):
            return kernels.gpu.activation(x, self.activation)
        return activate(x, self.activation)


def activate(x: Tensor, activation: str) -> Tensor:
    """Apply an activation function: (..., d_ff), or (..., 2 d_ff) for SwiGLU, -> (..., d_ff)."""
    if activation == "relu":
        return F.relu(x)
    if activation == "relu2":  # So et al. 2021 (Primer)
        return F.relu(x).square()
    if activation == "swiglu":
        gate, value = x.chunk(2, dim=-1)  # (..., d_ff) each
        return F.silu(gate) * value
    return F.gelu(x)  # exact; GPT-2 approximates it by a tanh


class Block(nn.Module):
    """Attention, then MLP, each with a norm and a residual connection.

    Pre-norm: ``x + sublayer(norm(x))``, as in GPT-2. Post-norm: ``norm(x + sublayer(x))``, as in
    Vaswani et al. 2017.
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
        if self.pre_norm:  # the residual stream itself is never normalised: gradients pass freely
            x = self._residual_add(x, self.attention(self.norm_1(x), rope))
        else:
            x = self.norm_1(self._residual_add(x, self.attention(x, rope)))
        return self._add_mlp(x)

    def reference(self, x: Tensor, rope: Rotary | None = None) -> tuple[Tensor, Tensor]:
        """Do the same as ``forward`` on the reference path.

        Returns:
            The output (B, T, C) and the attention weights (B, nh, T, T).
        """
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

    def _residual_add(self, x: Tensor, update: Tensor) -> Tensor:
        # gradients flow through the addition unchanged, so that deep models can be trained
        return x + update if self.residual else update
