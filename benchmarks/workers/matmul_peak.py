"""Worker: the most floating-point operations a second that this machine's matmuls reach."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.workers import answer
from benchmarks.workers.measure import fastest

SIZES = {"cpu": (512, 1024, 2048)}  # rows and columns; small ones win where a cache is large
SIZES_ON_A_GPU = (4096, 8192)


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Multiply large square matrices of random numbers, by PyTorch and by kernels of our own.

    Args:
        request: ``device``, ``precision``, ``threads``, and ``seconds`` for each size.

    Returns:
        ``flops_per_second`` of the fastest product, a multiplication and an addition counted as
        two, and the ``size`` of its matrices.
    """
    import torch

    from engine import kernels
    from engine.training.precision import DTYPES, use_tf32
    from engine.training.runtime import has_kernels

    torch.set_num_threads(request["threads"])
    device, precision = request["device"], request["precision"]
    if device == "cuda":
        use_tf32(precision == "tf32")
    best, best_size = 0.0, 0
    for size in SIZES.get(device, SIZES_ON_A_GPU):
        a, b = (torch.randn(size, size, device=device).to(DTYPES[precision]) for _ in range(2))
        ways = [partial(torch.mm, a, b)]
        if device == "cpu" and precision == "fp32" and has_kernels(device):
            ways.append(partial(kernels.linear, a, b, None))
        seconds = min(fastest(way, device, request["seconds"]) for way in ways)
        if 2 * size**3 / seconds > best:
            best, best_size = 2 * size**3 / seconds, size
    return {"flops_per_second": best, "size": best_size}


if __name__ == "__main__":
    answer(work)
