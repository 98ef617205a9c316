"""Position encodings: sinusoidal and rotary. (Learned positions are an ``nn.Embedding``.)"""

from __future__ import annotations

import torch
from torch import Tensor

BASE = 10_000.0  # the wavelengths grow from 2 pi to BASE * 2 pi tokens, in both papers
Rotary = tuple[Tensor, Tensor]  # cos and sin, (T, hs / 2) each


def sinusoidal(positions: Tensor, width: int) -> Tensor:
    """Encode positions as sines and cosines (Vaswani et al. 2017, section 3.5).

    Args:
        positions: (T,) integers.
        width: C, even.

    Returns:
        (T, C); the even columns are sines, the odd ones cosines.
    """
    angles = _angles(positions, width)  # (T, C / 2)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)  # (T, C / 2, 2) -> (T, C)


def rotary(positions: Tensor, head_size: int, dtype: torch.dtype, base: float = BASE) -> Rotary:
    """Compute the cos and sin tables of rotary position embedding (Su et al. 2021, section 3.2.2).

    Args:
        positions: (T,) integers.
        head_size: hs, even.
        dtype: Of the queries and keys.
        base: The longest wavelength is about 2 pi times this many tokens.
    """
    angles = _angles(positions, head_size, base)  # (T, hs / 2)
    # the angles need fp32: bf16 cannot represent every position above 256
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, rope: Rotary) -> Tensor:
    """Rotate queries or keys by their position: (B, nh, T, hs) -> (B, nh, T, hs).

    Element i is paired with element i + hs / 2, as in Llama. The dot product of a rotated query
    and a rotated key depends only on the distance between their positions.
    """
    cos, sin = rope  # (T, hs / 2) each, broadcast over B and nh
    first, second = x.chunk(2, dim=-1)  # (B, nh, T, hs / 2) each
    # a 2-D rotation of each pair
    return torch.cat((first * cos - second * sin, first * sin + second * cos), dim=-1)


def _angles(positions: Tensor, width: int, base: float = BASE) -> Tensor:
    """Multiply each position by each frequency: (T,) -> (T, width / 2)."""
    exponents = torch.arange(0, width, 2, device=positions.device, dtype=torch.float32) / width
    return positions[:, None].float() * base**-exponents
