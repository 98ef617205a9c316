"""The small parts every model is made of: linear layers, norms and dropout.

Weights are kept in fp32. Each part computes in the dtype of what flows through it, which the
embedding sets (see ``GPT.compute_dtype``): in bf16 the whole stream is bf16, with no casting back
and forth between operations.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine import kernels
from engine.config.schema import ModelConfig

RANDOM_BITS = 16  # of each dropout decision; the rate is rounded to a multiple of 2 ** -16
EPSILON = 1e-5  # of the norms, as in GPT-2


class Linear(nn.Linear):
    """A linear layer that computes in the dtype of its input."""

    native = False  # whether to use the kernels of ``engine.kernels``, where they can do it

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        if self.native and kernels.takes(x, torch.float32):
            return kernels.linear(x, self.weight, self.bias)
        return F.linear(x, self.weight.to(x.dtype), cast(self.bias, x.dtype))


class LayerNorm(nn.LayerNorm):
    """Zero mean, unit variance, then a learned gain (Ba et al. 2016)."""

    native = False  # whether to use the kernels of ``engine.kernels``, where they can do it

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        if self.native and kernels.gpu.takes(x):
            return kernels.gpu.norm(x, self.weight, self.bias, self.eps, "layer")
        gain, bias = cast(self.weight, x.dtype), cast(self.bias, x.dtype)
        return F.layer_norm(x, self.normalized_shape, gain, bias, self.eps)


class RMSNorm(nn.RMSNorm):
    """Unit root mean square, then a learned gain (Zhang & Sennrich 2019)."""

    native = False  # whether to use the kernels of ``engine.kernels``, where they can do it

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        if self.native and kernels.gpu.takes(x):
            return kernels.gpu.norm(x, self.weight, None, EPSILON, "rms")
        return F.rms_norm(x, tuple(self.normalized_shape), cast(self.weight, x.dtype), self.eps)


def cast(parameter: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """A parameter that may be absent, in the dtype that computes."""
    return None if parameter is None else parameter.to(dtype)


def build_norm(config: ModelConfig, width: int, gain: bool = True) -> nn.Module:
    """The norm the configuration asks for, over the last ``width`` numbers."""
    if config.norm == "none":
        return nn.Identity()
    if config.norm == "rms":
        return RMSNorm(width, EPSILON, elementwise_affine=gain)
    return LayerNorm(width, EPSILON, elementwise_affine=gain, bias=config.bias)


class Dropout(nn.Module):
    """Drops a share of the activations while training and scales up the rest.

    Args:
        kind: Which of the rates of the configuration it follows: ``embd``, ``attn`` or ``resid``.
        p: The rate.
    """

    def __init__(self, kind: str, p: float) -> None:
        super().__init__()
        self.kind = kind
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, the same shape."""
        if not (self.training and self.p):
            return x
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(x, self.p)
        kept: Tensor = x * cheap_keep_mask(x, self.p)
        return kept

    def extra_repr(self) -> str:
        """As it is printed."""
        return f"{self.kind}, p={self.p:g}"


def cheap_keep_mask(x: Tensor, p: float) -> Tensor:
    """0 where x is dropped, 1 / (1 - p) where it is kept; the shape and dtype of x.

    torch's own dropout draws a Bernoulli number for each element, which on a CPU takes longer than
    the attention it is applied to. Here every 64 random bits decide four elements. They come from
    numpy's SFC64, twice as fast as torch's generator, which only seeds it.
    """
    threshold = round(p * 2**RANDOM_BITS)
    seed = int(torch.empty((), dtype=torch.int64).random_())
    draws = np.random.SFC64(seed).random_raw(-(-x.numel() * RANDOM_BITS // 64))
    bits = torch.from_numpy(draws.view(np.int16))  # uniform in -2**15 … 2**15 - 1
    kept = torch.empty_like(x, requires_grad=False)
    # written as numbers at once: as truth values first, it would take ten times as long
    torch.ge(bits[: x.numel()].view(x.shape), threshold - 2 ** (RANDOM_BITS - 1), out=kept)
    return kept.mul_(2**RANDOM_BITS / (2**RANDOM_BITS - threshold))
