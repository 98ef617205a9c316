"""Kernels of our own for the CPU, in C++, compiled on the machine that they run on.

PyTorch's kernels serve every shape and every processor; the products of a small model are so small
that this costs a quarter of a step, and its attention does not keep to a core's own cache. These
here are compiled once for the very processor, in seconds, and are held to PyTorch's by tests.
"""

from engine.native.compiler import NoKernels, are_compiled
from engine.native.functions import attention, clip_gradients, gelu, linear, muon_step, takes
from engine.native.library import fingerprint, load

__all__ = [
    "NoKernels",
    "are_compiled",
    "attention",
    "clip_gradients",
    "fingerprint",
    "gelu",
    "linear",
    "load",
    "muon_step",
    "takes",
]
