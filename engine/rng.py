"""Counter-based random seeds.

Every random stream is a function of ``(seed, stream, step, micro_step)``. There is no generator
state to save: resuming, rewinding and replaying give the same bits by construction, and sampling or
evaluating does not change what training draws.
"""

from __future__ import annotations

import hashlib
import struct
from enum import IntEnum
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

# what layers fill their weights with: of ``torch.nn.init``, or tensors' own methods
FILLS = ("normal_", "uniform_", "kaiming_uniform_", "kaiming_normal_", "trunc_normal_")


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


class DrawingFrom(TorchFunctionMode):
    """Lets what fills tensors draw from a generator, in this thread alone.

    PyTorch's layers draw their initial weights from the default generator, which all threads share:
    a model that is built to be looked at would change the dropout of a run in training.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self._generator = generator

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in FILLS and kwargs.get("generator") is None:
            kwargs["generator"] = self._generator
        return func(*args, **kwargs)
