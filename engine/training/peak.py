"""What a device can do at most: the speed of one large matrix product."""

from __future__ import annotations

import time

import torch

from engine.training.precision import DTYPES

SIDES = {"cpu": 768, "cuda": 4096, "mps": 2048}  # of the matrices
REPEATS = 5  # of the largest product
LONGEST = 0.25  # seconds that a product may take, by the speed of smaller ones


def peak_flops(device: torch.device, precision: str) -> float:
    """Measure the FLOP/s of a matrix product on a device; on a CPU it takes about 0.1 s.

    Where the processor has no instructions for a precision, a large product would take a second,
    so the speed is that of smaller ones there.

    It draws no random numbers, so that a run is the same with it and without.
    """
    largest = SIDES.get(device.type, 1024)
    _seconds(device, precision, largest // 4)  # what is loaded at the first product
    best = 0.0
    for side in (largest // 4, largest // 2, *[largest] * REPEATS):
        flops = 2.0 * side**3
        if best and flops / best > LONGEST:
            break
        best = max(best, flops / _seconds(device, precision, side))
    return best


def _seconds(device: torch.device, precision: str, side: int) -> float:
    """Measure the time of one product of square matrices."""
    factor = torch.full((side, side), 0.5, dtype=DTYPES[precision], device=device)
    out = torch.empty_like(factor)
    _wait_for(device)
    started = time.perf_counter()
    torch.mm(factor, factor, out=out)
    _wait_for(device)
    return time.perf_counter() - started


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
