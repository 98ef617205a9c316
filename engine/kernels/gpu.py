"""The Triton kernels for NVIDIA GPUs, imported when they are first needed."""

from __future__ import annotations

import functools
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.kernels.compiler import NoKernels

TOLERANCE = 1e-4  # absolute, of the test in ``kernels``


def takes(x: Tensor) -> bool:
    """Return whether a kernel supports ``x``."""
    return x.is_cuda and bool(x.numel())


@functools.cache
def kernels() -> ModuleType:
    """Import and test the kernels; Triton compiles each one at its first use.

    Raises:
        NoKernels: Triton is not installed, or does not work on this machine.
    """
    try:
        from engine.kernels import triton_kernels
    except ImportError as error:
        raise NoKernels(
            f"Triton cannot be imported ({error}): install the version that your PyTorch requires"
        ) from None
    x = torch.arange(12.0, device="cuda").view(3, 4).sin()
    try:
        found = triton_kernels.Norm.apply(x, None, None, 1e-5, True)  # type: ignore[no-untyped-call]
        right = torch.allclose(found, F.layer_norm(x, (4,)), atol=TOLERANCE)
    except Exception as error:  # e.g. no C compiler, or an unsupported GPU
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise NoKernels(f"Triton does not work here ({reason})") from None
    if not right:
        raise NoKernels("a kernel compiled by Triton gives a wrong result")
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
    """Split queries, keys and values into heads; normalise and rotate queries and keys.

    Args:
        qkv: (B, T, (nh + 2 nkv) hs), hs even.
        n_head: nh.
        n_kv_head: nkv.
        norm: Of queries and keys, without a gain: ``none``, ``layer`` or ``rms``.
        epsilon: Added to the variance in the norm.
        rope: Cos and sin of rotary positions, (T, hs / 2) each.

    Returns:
        q (B, nh, T, hs), k and v (B, nkv, T, hs), in the dtype of ``qkv``.
    """
    found: tuple[Tensor, Tensor, Tensor] = kernels().Heads.apply(
        qkv, n_head, n_kv_head, norm, epsilon, *(rope or (None, None))
    )
    return found


def norm(x: Tensor, gain: Tensor | None, bias: Tensor | None, epsilon: float, kind: str) -> Tensor:
    """Normalise over the last dimension: (..., C) -> (..., C).

    Args:
        x: (..., C).
        gain: (C,), or None.
        bias: (C,), or None.
        epsilon: Added to the variance.
        kind: ``layer`` or ``rms``.
    """
    y: Tensor = kernels().Norm.apply(x, gain, bias, epsilon, kind == "layer")
    return y


def activation(x: Tensor, name: str) -> Tensor:
    """Apply ``relu2``, (...) -> (...), or ``swiglu``, (..., 2 F) -> (..., F)."""
    y: Tensor = getattr(kernels(), {"relu2": "ReLU2", "swiglu": "SwiGLU"}[name]).apply(x)
    return y
