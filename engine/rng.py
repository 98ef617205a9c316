"""Counter-based random seeds.

Every random stream is a function of ``(seed, stream, step, micro_step)``. There is no generator
state to save: resuming, rewinding and replaying give the same bits by construction, and sampling or
evaluating does not change what training draws.
"""

from __future__ import annotations

import hashlib
import struct
from enum import IntEnum

import torch


class Stream(IntEnum):
    """The use of the random numbers; the values must never change, or runs could not resume."""

    INIT = 1
    DROPOUT = 2
    SAMPLE = 3


def derived_seed(seed: int, stream: Stream, step: int = 0, micro_step: int = 0) -> int:
    """Hash the counters to a 63-bit seed."""
    counters = struct.pack("<4q", seed, stream, step, micro_step)
    return int.from_bytes(hashlib.blake2b(counters, digest_size=8).digest(), "little") >> 1


def reseed(seed: int, stream: Stream, step: int = 0, micro_step: int = 0) -> None:
    """Seed torch's default generators on all devices that are in use."""
    number = derived_seed(seed, stream, step, micro_step)
    # not torch.manual_seed, which takes a millisecond to note the stack for a CUDA not yet in use
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(number)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(number)


def generator_for(seed: int, stream: Stream) -> torch.Generator:
    """Create a separate CPU generator, which leaves torch's default one alone."""
    return torch.Generator().manual_seed(derived_seed(seed, stream))
