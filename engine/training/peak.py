"""What a device can do at most: the speed of one large matrix product."""

from __future__ import annotations

import time

import torch

from engine.training.precision import DTYPES

SIDES = {"cpu": 768, "cuda": 4096, "mps": 2048}  # of the matrices
REPEATS = 6


def peak_flops(device: torch.device, precision: str) -> float:
    """Measure the FLOP/s of a matrix product on a device; on a CPU it takes about 0.1 s.

    It draws no random numbers, so that a run is the same with it and without.
    """
    side = SIDES.get(device.type, 1024)
    factor = torch.full((side, side), 0.5, dtype=DTYPES[precision], device=device)
    out = torch.empty_like(factor)
    best = float("inf")
    for _ in range(REPEATS):
        _wait_for(device)
        started = time.perf_counter()
        torch.mm(factor, factor, out=out)
        _wait_for(device)
        best = min(best, time.perf_counter() - started)
    return 2.0 * side**3 / best


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
