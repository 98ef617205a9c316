"""The kernels for NVIDIA GPUs, loaded when the first run on one begins."""

from __future__ import annotations

import functools
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.kernels.compiler import NoKernels

TOLERANCE = 1e-4  # of the trial norm, whose numbers are about 1


def takes(x: Tensor) -> bool:
    """Whether a kernel can be given such numbers here and now."""
    return x.is_cuda and bool(x.numel())


@functools.cache
def kernels() -> ModuleType:
    """The kernels, tried out once; Triton compiles each of them when it is first used.

    Raises:
        NoKernels: Triton is not there, or does not work on this machine.
    """
    try:
        from engine.kernels import triton_kernels
    except ImportError as error:
        raise NoKernels(
            f"Triton cannot be imported ({error}): install the triton that your PyTorch asks for"
        ) from None
    x = torch.arange(12.0, device="cuda").view(3, 4).sin()
    try:
        found = triton_kernels.Norm.apply(x, None, None, 1e-5, True)  # type: ignore[no-untyped-call]
        right = torch.allclose(found, F.layer_norm(x, (4,)), atol=TOLERANCE)
    except Exception as error:  # a compiler that is missing or too old, a card that is not known
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise NoKernels(f"Triton does not work here ({reason})") from None
    if not right:
        raise NoKernels("what Triton compiled gets a norm wrong")
    return triton_kernels


def heads(
    qkv: Tensor,
    n_head: int,
    n_kv_head: int,
    *,
    norm: str,
    epsilon: float,
    rope: tuple[Tensor, Tensor] | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of all heads, normalised and rotated.

    Args:
        qkv: (B, T, (nh + 2 nkv) hs), hs even.
        n_head, n_kv_head: nh and nkv.
        norm: Of queries and keys, without a gain: ``none``, ``layer`` or ``rms``.
        epsilon: Of that norm.
        turns: Cosines and sines of rotary positions, (T, hs / 2) each.

    Returns:
        q (B, nh, T, hs), k and v (B, nkv, T, hs), in the dtype of ``qkv``.
    """
    found: tuple[Tensor, Tensor, Tensor] = kernels().Heads.apply(
        qkv, n_head, n_kv_head, norm, epsilon, *(rope or (None, None))
    )
    return found


def norm(x: Tensor, gain: Tensor | None, bias: Tensor | None, epsilon: float, kind: str) -> Tensor:
    """A norm over the last numbers: (..., C) -> (..., C).

    Args:
        x: (..., C).
        gain, bias: (C,), or none.
        epsilon: Added to the variance.
        kind: ``layer`` or ``rms``.
    """
    y: Tensor = kernels().Norm.apply(x, gain, bias, epsilon, kind == "layer")
    return y


def activation(x: Tensor, name: str) -> Tensor:
    """``relu2``, any shape to the same; or ``swiglu``, (..., 2 F) -> (..., F)."""
    y: Tensor = getattr(kernels(), {"relu2": "ReLU2", "swiglu": "SwiGLU"}[name]).apply(x)
    return y
