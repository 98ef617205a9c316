"""Load the compiled CPU kernels: C functions that take pointers."""

from __future__ import annotations

import ctypes
import functools
from ctypes import POINTER, c_bool, c_float, c_int, c_long, c_uint64, c_void_p
from pathlib import Path

import torch  # before the library, which then uses the same OpenMP threads

from engine.kernels import gpu
from engine.kernels.compiler import ANOTHER, NoKernels, Report, compiled, reporting_to

TOLERANCE = 1e-4  # absolute, of the test in ``_test``


class Shape(ctypes.Structure):
    """The arguments of attention; see ``Shape`` in attention.cpp."""

    _fields_ = [
        ("B", c_int),
        ("T", c_int),
        ("nh", c_int),
        ("nkv", c_int),
        ("hs", c_int),
        ("norm", c_int),
        ("epsilon", c_float),
        ("cos", c_void_p),
        ("sin", c_void_p),
        ("dropout", c_float),
        ("seed", c_uint64),
    ]


SIGNATURES = {
    "linear_forward": [c_void_p] * 4 + [c_long] * 3,
    "linear_backward_input": [c_void_p] * 3 + [c_long] * 3,
    "linear_backward_weight": [c_void_p] * 3 + [c_long] * 3,
    "gelu_forward": [c_void_p] * 2 + [c_long],
    "gelu_backward": [c_void_p] * 3 + [c_long],
    "clip_gradients": [c_long] + [c_void_p] * 2 + [c_float],
    "muon_step": [c_long] + [c_void_p] * 5 + [c_bool] + [c_float] * 3,
    "attention_forward_fp32": [POINTER(Shape)] + [c_void_p] * 3,
    "attention_forward_bf16": [POINTER(Shape)] + [c_void_p] * 3,
    "attention_backward_fp32": [POINTER(Shape)] + [c_void_p] * 5,
    "attention_backward_bf16": [POINTER(Shape)] + [c_void_p] * 5,
}


def fingerprint() -> str:
    """Return a short hash that identifies the loaded kernels; empty if none are loaded."""
    return Path(load()._name).stem[:8] if load.cache_info().currsize else ""


@functools.cache
def load() -> ctypes.CDLL:
    """Load the kernels, compiling them if necessary.

    Raises:
        NoKernels: This machine cannot compile or run them.
    """
    library = _open(compiled())
    for name, arguments in SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, None
    library.clip_gradients.restype = c_float
    _test(library)
    return library


def load_for(device: str, report: Report = lambda line: None) -> None:
    """Load the kernels for ``cpu`` or ``cuda``.

    Args:
        report: Called with lines of progress while they are compiled; what it raises cancels.

    Raises:
        NoKernels: This machine cannot compile or run them.
    """
    if device == "cuda":
        gpu.kernels()
    else:
        with reporting_to(report):
            load()


def _open(path: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise NoKernels(f"the compiled kernels cannot be loaded ({error}): {ANOTHER}") from None


def _test(library: ctypes.CDLL) -> None:
    """Check one matrix product, so that a faulty compiler is noticed before a run."""
    numbers = torch.arange(50 * 40, dtype=torch.float32).view(50, 40)
    x, w = numbers[:33].sin(), numbers.cos()
    y = torch.empty(33, 50, dtype=torch.float32)
    library.linear_forward(x.data_ptr(), w.data_ptr(), None, y.data_ptr(), 33, 50, 40)
    if not torch.allclose(y, x @ w.T, atol=TOLERANCE):
        raise NoKernels(f"a compiled kernel gives a wrong result: {ANOTHER}")
