"""Kernels of our own, compiled on the machine that they run on: in C++ for the CPU, in Triton
for NVIDIA GPUs (``engine.kernels.gpu``).

PyTorch's kernels serve every shape and every processor; for a small model that costs a quarter of a
step in fp32 (docs/experiments.md). These here are compiled once for the very processor, in seconds,
and are held to PyTorch's by tests.
"""

from engine.kernels import gpu
from engine.kernels.compiler import NoKernels, are_compiled
from engine.kernels.functions import attention, clip_gradients, gelu, linear, muon_step, takes
from engine.kernels.library import are_there, fingerprint, load, load_for

__all__ = [
    "NoKernels",
    "are_compiled",
    "are_there",
    "attention",
    "clip_gradients",
    "fingerprint",
    "gelu",
    "gpu",
    "linear",
    "load",
    "load_for",
    "muon_step",
    "takes",
]
