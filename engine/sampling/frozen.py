"""The parts of a model made ready for writing text: weights copied, cast and laid out once.

A token that is written passes through every weight for the sake of a few rows of numbers, so its
time is that of reading the weights. What is read here is a copy in the dtype that computes, in the
order that the machine reads fastest, and it stays what it was when the copy was made.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.model.layers import LayerNorm, RMSNorm

PACKED_FROM = 2**18  # weights of a matrix in fp32, from which packing is worth its overhead
PACKED_ROWS = 64  # the blocked order is made for about as many rows; fewer do not suffer

Part = Callable[[Tensor], Tensor]


def frozen(parameter: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """A copy in the dtype that computes; never a view."""
    return None if parameter is None else parameter.detach().to(dtype, copy=True)


class Product(Protocol):
    """What stands where a linear layer may stand; all tensors are rows of numbers."""

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""

    def onto(self, stream: Tensor, x: Tensor) -> Tensor:
        """The product added to the stream: (N, out) and (N, in) -> (N, out)."""


def frozen_linear(layer: nn.Module, dtype: torch.dtype) -> Product:
    """A linear layer, frozen; what is no linear layer lets everything pass."""
    if not isinstance(layer, nn.Linear):
        return Identity()
    if layer.weight.device.type == "cpu" and dtype in (torch.float32, torch.bfloat16):
        worth_it = dtype == torch.bfloat16 or layer.weight.numel() >= PACKED_FROM
        if worth_it and _can_pack(dtype):
            return PackedLinear(layer, dtype)
    return FrozenLinear(layer, dtype)


def frozen_norm(norm: nn.Module | None, dtype: torch.dtype) -> Part:
    """A norm over the last dimension, frozen; what is no norm lets everything pass."""
    if isinstance(norm, LayerNorm):
        shape, epsilon = list(norm.normalized_shape), norm.eps
        gain, bias = frozen(norm.weight, dtype), frozen(norm.bias, dtype)
        return lambda x: torch.layer_norm(x, shape, gain, bias, epsilon)
    if isinstance(norm, RMSNorm):
        width, small, scale = list(norm.normalized_shape), norm.eps, frozen(norm.weight, dtype)
        return lambda x: F.rms_norm(x, width, scale, small)
    return Identity()


class Identity:
    """Lets everything pass."""

    def __call__(self, x: Tensor) -> Tensor:
        """The same."""
        return x

    def onto(self, stream: Tensor, x: Tensor) -> Tensor:
        """The sum."""
        return stream + x


class FrozenLinear:
    """A linear layer for a few rows at a time."""

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        weight = layer.weight.detach()  # (out, in)
        # on a CPU, one row times a matrix is up to twice as fast along the matrix's longer side
        turned = weight.size(0) > weight.size(1)
        self._weight = _laid_out(weight.t(), dtype) if turned else _laid_out(weight, dtype).t()
        self._bias = frozen(layer.bias, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""
        if self._bias is None:
            return torch.mm(x, self._weight)
        return torch.addmm(self._bias, x, self._weight)

    def onto(self, stream: Tensor, x: Tensor) -> Tensor:
        """The product added to the stream."""
        total = torch.addmm(stream, x, self._weight)
        return total if self._bias is None else total + self._bias


class PackedLinear:
    """A linear layer in the blocked order that oneDNN multiplies in.

    It reads weights with all threads, even for a single row, and no product has to reorder them
    first. A call costs some 13 µs more than ``torch.mm``, so it is for large matrices.
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
        """The product added to the stream."""
        total: Tensor = torch.ops.mkldnn._linear_pointwise.binary(
            x, stream, self._weight, self._bias, "add"
        )
        return total


def _laid_out(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy whose rows lie one behind the other."""
    return matrix.to(dtype, copy=True, memory_format=torch.contiguous_format)


@functools.cache
def _can_pack(dtype: torch.dtype) -> bool:
    """Whether this build of torch has oneDNN's packed products, and this CPU can do them.

    They are what torch's compiler calls, not part of torch's documented interface, so they are
    tried out before they are relied on.
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
