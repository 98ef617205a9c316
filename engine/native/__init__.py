"""Kernels of our own for the CPU, in C++, compiled on the machine that they run on.

PyTorch's kernels serve every shape and every processor; for a small model that costs a quarter of a
step in fp32 (docs/experiments.md). These here are compiled once for the very processor, in seconds,
and are held to PyTorch's by tests.
"""

from engine.native.compiler import NoKernels, are_compiled
from engine.native.functions import attention, clip_gradients, gelu, linear, muon_step, takes
from engine.native.library import are_there, fingerprint, load

__all__ = [
    "NoKernels",
    "are_compiled",
    "are_there",
    "attention",
    "clip_gradients",
    "fingerprint",
    "gelu",
    "linear",
    "load",
    "muon_step",
    "takes",
]
