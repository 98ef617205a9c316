"""Layers for decoding: weights copied, cast and laid out once.

Decoding is limited by memory bandwidth: every weight is read for the sake of a few rows of
activations. The copies have the dtype of the computation and the fastest memory layout, and
training does not change them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.model.layers import LayerNorm, RMSNorm

PACKED_FROM = 2**18  # weights of an fp32 matrix from which packing is worth its overhead
PACKED_ROWS = 64  # batch size that the blocked layout is made for; smaller ones are not slower

Part = Callable[[Tensor], Tensor]


def frozen(parameter: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Copy and cast a parameter that may be None; never returns a view."""
    return None if parameter is None else parameter.detach().to(dtype, copy=True)


class Product(Protocol):
    """A linear layer or the identity."""

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""

    def onto(self, stream: Tensor, x: Tensor) -> Tensor:
        """Add the output to the residual stream: (N, out) and (N, in) -> (N, out)."""


def frozen_linear(layer: nn.Module, dtype: torch.dtype) -> Product:
    """Copy a linear layer in its fastest form; any other module becomes the identity."""
    if not isinstance(layer, nn.Linear):
        return Identity()
    if layer.weight.device.type == "cpu" and dtype in (torch.float32, torch.bfloat16):
        worth_it = dtype == torch.bfloat16 or layer.weight.numel() >= PACKED_FROM
        if worth_it and _can_pack(dtype):
            return PackedLinear(layer, dtype)
    return FrozenLinear(layer, dtype)


def frozen_norm(norm: nn.Module | None, dtype: torch.dtype) -> Part:
    """Copy a norm over the last dimension; any other module becomes the identity."""
    if isinstance(norm, LayerNorm):
        shape, epsilon = list(norm.normalized_shape), norm.eps
        gain, bias = frozen(norm.weight, dtype), frozen(norm.bias, dtype)
        return lambda x: torch.layer_norm(x, shape, gain, bias, epsilon)
    if isinstance(norm, RMSNorm):
        width, small, scale = list(norm.normalized_shape), norm.eps, frozen(norm.weight, dtype)
        return lambda x: F.rms_norm(x, width, scale, small)
    return Identity()


class Identity:
    """Returns its input."""

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C) -> (N, C)."""
        return x

    def onto(self, stream: Tensor, x: Tensor) -> Tensor:
        """Add the input to the residual stream."""
        return stream + x


class FrozenLinear:
    """A linear layer for a few rows at a time."""

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        weight = layer.weight.detach()  # (out, in)
        # on a CPU, vector times matrix is up to twice as fast if memory runs along the longer side
        transposed = weight.size(0) > weight.size(1)
        self._weight = _laid_out(weight.t(), dtype) if transposed else _laid_out(weight, dtype).t()
        self._bias = frozen(layer.bias, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""
        if self._bias is None:
            return torch.mm(x, self._weight)
        return torch.addmm(self._bias, x, self._weight)

    def onto(self, stream: Tensor, x: Tensor) -> Tensor:
        """Add the output to the residual stream."""
        total = torch.addmm(stream, x, self._weight)
        return total if self._bias is None else total + self._bias


class PackedLinear:
    """A linear layer in oneDNN's blocked layout.

    It uses all threads even for a single row, and does not reorder the weights at each call. A call
    costs about 13 µs more than ``torch.mm``, so it pays only for large matrices.
    """

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        weight = layer.weight.detach().to(dtype)
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, PACKED_ROWS)
        self._bias = frozen(layer.bias, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise.default(
            x, self._weight, self._bias, "none", [], ""
        )
        return product

    def onto(self, stream: Tensor, x: Tensor) -> Tensor:
        """Add the output to the residual stream."""
        total: Tensor = torch.ops.mkldnn._linear_pointwise.binary(
            x, stream, self._weight, self._bias, "add"
        )
        return total


def _laid_out(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """Copy a matrix in row-major order."""
    return matrix.to(dtype, copy=True, memory_format=torch.contiguous_format)


@functools.cache
def _can_pack(dtype: torch.dtype) -> bool:
    """Return whether this build of torch and this CPU support oneDNN's packed layers.

    The operators are used by torch's compiler and not documented, so a small case is tested.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    layer = nn.Linear(3, 2, dtype=dtype)
    x, stream = torch.ones(4, 3, dtype=dtype), torch.ones(4, 2, dtype=dtype)
    try:
        with torch.inference_mode():
            packed = PackedLinear(layer, dtype)
            expected = layer(x)
            return torch.allclose(packed(x), expected, 0.02, 0.02) and torch.allclose(
                packed.onto(stream, x), stream + expected, 0.02, 0.02
            )
    except (AttributeError, RuntimeError):
        return False
