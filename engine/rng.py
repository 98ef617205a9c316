"""Randomness that is counted, not carried.

Every random stream is a function of ``(seed, stream, step, micro_step)``. There is no generator
state to save: resuming, rewinding and replaying give the same bits by construction, and looking at
a run changes nothing.
"""

from __future__ import annotations

import hashlib
import struct
from enum import IntEnum

import torch


class Stream(IntEnum):
    """What the random numbers are for. The numbers are part of the file format of a run."""

    INIT = 1
    DROPOUT = 2
    SAMPLE = 3


def derived_seed(seed: int, stream: Stream, step: int = 0, micro_step: int = 0) -> int:
    """A 63-bit seed for one moment of one stream."""
    moment = struct.pack("<4q", seed, stream, step, micro_step)
    return int.from_bytes(hashlib.blake2b(moment, digest_size=8).digest(), "little") >> 1


def reseed(seed: int, stream: Stream, step: int = 0, micro_step: int = 0) -> None:
    """Set torch's default generators (all devices) for one moment of one stream."""
    torch.manual_seed(derived_seed(seed, stream, step, micro_step))


def generator_for(seed: int, stream: Stream) -> torch.Generator:
    """A generator of its own on the CPU, so that nothing else is disturbed."""
    return torch.Generator().manual_seed(derived_seed(seed, stream))
