"""Layers that every model is made of: linear, norms and dropout.

Weights are kept in fp32. Each layer computes in the dtype of its input, which the embedding sets
(see ``LanguageModel.compute_dtype``). Unlike autocast, a bf16 model has a bf16 residual stream,
with no casts between the operations.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine import kernels
from engine.config.schema import ModelConfig

RANDOM_BITS = 16  # per dropout decision; the rate is rounded to a multiple of 2 ** -16
EPSILON = 1e-5  # of the norms, as in GPT-2


class Linear(nn.Linear):
    """A linear layer that computes in the dtype of its input."""

    native = False  # use ``engine.kernels`` where it supports the input

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        if self.native and kernels.takes(x, torch.float32):
            return kernels.linear(x, self.weight, self.bias)
        return F.linear(x, self.weight.to(x.dtype), cast(self.bias, x.dtype))


class LayerNorm(nn.LayerNorm):
    """Zero mean, unit variance, then a learned gain (Ba et al. 2016)."""

    native = False  # use ``engine.kernels`` where it supports the input

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        if self.native and kernels.gpu.takes(x):
            return kernels.gpu.norm(x, self.weight, self.bias, self.eps, "layer")
        gain, bias = cast(self.weight, x.dtype), cast(self.bias, x.dtype)
        return F.layer_norm(x, self.normalized_shape, gain, bias, self.eps)


class RMSNorm(nn.RMSNorm):
    """Unit root mean square, then a learned gain (Zhang & Sennrich 2019)."""

    native = False  # use ``engine.kernels`` where it supports the input

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        if self.native and kernels.gpu.takes(x):
            return kernels.gpu.norm(x, self.weight, None, EPSILON, "rms")
        return F.rms_norm(x, tuple(self.normalized_shape), cast(self.weight, x.dtype), self.eps)


def cast(parameter: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Cast a parameter that may be None."""
    return None if parameter is None else parameter.to(dtype)


def build_norm(config: ModelConfig, width: int) -> nn.Module:
    """Build the norm that ``config.norm`` names, over the last dimension of size ``width``."""
    if config.norm == "none":
        return nn.Identity()
    if config.norm == "rms":
        return RMSNorm(width, EPSILON)
    return LayerNorm(width, EPSILON, bias=config.bias)


class Dropout(nn.Module):
    """Inverted dropout whose rate can change between steps.

    Args:
        kind: Which of the dropout settings it follows: ``embd``, ``attn`` or ``resid``.
        p: Probability of dropping an element.
    """

    def __init__(self, kind: str, p: float) -> None:
        super().__init__()
        self.kind = kind
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """(...) -> (...): any shape."""
        if not (self.training and self.p):
            return x
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(x, self.p)
        kept: Tensor = x * fast_dropout_mask(x, self.p)
        return kept

    def extra_repr(self) -> str:
        return f"{self.kind}, p={self.p:g}"


def fast_dropout_mask(x: Tensor, p: float) -> Tensor:
    """Return 0 where x is dropped and 1 / (1 - p) elsewhere, in the shape and dtype of x.

    ``F.dropout`` draws a Bernoulli number per element, which on a CPU takes longer than the
    attention it is applied to. Here 64 random bits decide four elements. They come from NumPy's
    SFC64, twice as fast as torch's generator, which only provides the seed.
    """
    threshold = round(p * 2**RANDOM_BITS)
    seed = int(torch.empty((), dtype=torch.int64).random_())
    draws = np.random.SFC64(seed).random_raw(-(-x.numel() * RANDOM_BITS // 64))
    bits = torch.from_numpy(draws.view(np.int16))  # uniform in -2**15 … 2**15 - 1
    kept = torch.empty_like(x, requires_grad=False)
    # the comparison writes floats directly: going through a bool tensor takes ten times as long
    torch.ge(bits[: x.numel()].view(x.shape), threshold - 2 ** (RANDOM_BITS - 1), out=kept)
    # scale up what is kept, so that the expected value does not change
    return kept.mul_(2**RANDOM_BITS / (2**RANDOM_BITS - threshold))
