"""Native kernels: C++ for the CPU, Triton for NVIDIA GPUs (``engine.kernels.gpu``).

PyTorch's kernels support every shape and processor, which costs a small model a quarter of a step
in fp32 (docs/experiments.md). These are compiled in seconds for the processor they run on, and
tests compare them with PyTorch's.
"""

from engine.kernels import gpu
from engine.kernels.compiler import NoKernels
from engine.kernels.functions import attention, clip_gradients, gelu, linear, muon_step, takes
from engine.kernels.library import fingerprint, load, load_for

__all__ = [
    "NoKernels",
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
