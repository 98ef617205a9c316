"""Where a token stands: sinusoidal tables and rotary turns. (A learned table is an embedding.)"""

from __future__ import annotations

import torch
from torch import Tensor

BASE = 10_000.0  # of the wavelengths, in both papers
Rotary = tuple[Tensor, Tensor]  # cosines and sines, (T, hs / 2) each


def sinusoidal(positions: Tensor, width: int) -> Tensor:
    """Sines and cosines of geometrically spaced wavelengths (Vaswani et al. 2017, section 3.5).

    Args:
        positions: (T,) whole numbers.
        width: C, even.

    Returns:
        (T, C); the even columns are sines, the odd ones cosines.
    """
    angles = _angles(positions, width)  # (T, C / 2)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)


def rotary(positions: Tensor, head_size: int, dtype: torch.dtype, base: float = BASE) -> Rotary:
    """The turns of rotary position embedding (Su et al. 2021, section 3.2.2).

    Args:
        positions: (T,) whole numbers.
        head_size: hs, even.
        dtype: What the queries and keys are computed in.
        base: The longest wavelength, over 2 pi.
    """
    angles = _angles(positions, head_size, base)  # (T, hs / 2)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, rope: Rotary) -> Tensor:
    """Turn queries or keys by their position: (B, nh, T, hs) -> (B, nh, T, hs).

    Pairs number i with number i + hs / 2, as Llama does; a dot product of two turned vectors
    depends on the distance of their positions alone.
    """
    cos, sin = rope
    first, second = x.chunk(2, dim=-1)  # (B, nh, T, hs / 2) each
    return torch.cat((first * cos - second * sin, first * sin + second * cos), dim=-1)


def _angles(positions: Tensor, width: int, base: float = BASE) -> Tensor:
    """Position times frequency: (T,) -> (T, width / 2)."""
    exponents = torch.arange(0, width, 2, device=positions.device, dtype=torch.float32) / width
    return positions[:, None].float() * base**-exponents
