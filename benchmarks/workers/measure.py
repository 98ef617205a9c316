"""What workers share: the one ruler for losses, and clocks that wait for a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from data.batches import take_examples, validation_windows

if TYPE_CHECKING:
    from torch import Tensor

    from data.batches import Tokens

EVALUATED_TOKENS = 16_384  # in one pass
QUEUED_ON_A_GPU = 8  # calls between two looks at the clock, so that waiting weighs nothing


def now(device: str) -> float:
    """Seconds of a clock, once all work handed to the device is done."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


def fastest(work: Callable[[], object], device: str, budget: float) -> float:
    """Seconds of the fastest of several times, the first of which only warms up.

    Args:
        work: What is timed.
        device: Where it is done.
        budget: Seconds to go on for.
    """
    queued = 1 if device == "cpu" else QUEUED_ON_A_GPU
    work()
    begin = now(device)
    times: list[float] = []
    while not times or now(device) - begin < budget:
        start = now(device)
        for _ in range(queued):
            work()
        times.append((now(device) - start) / queued)
    return min(times)


def whole_split_loss(
    logits_of: Callable[[Tensor], Tensor], tokens: Tokens, block_size: int, device: str
) -> tuple[float, int]:
    """Mean cross-entropy over windows side by side: the same tokens for whichever model.

    Args:
        logits_of: (B, T) token ids -> (B, T, vocab_size); the model in eval mode and in fp32.
        tokens: (n,) of the validation split.
        block_size: T.
        device: Where the model is.

    Returns:
        The loss in nats per token, and the number of windows.
    """
    import torch
    from torch.nn import functional as F

    windows = validation_windows(len(tokens), block_size)
    size = max(1, EVALUATED_TOKENS // block_size)
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(windows), size):
            x, y = take_examples(tokens, windows[start : start + size], block_size)  # (B, T)
            ids, targets = (torch.from_numpy(part).to(device) for part in (x, y))
            logits = logits_of(ids).flatten(0, 1).float()  # (B * T, vocab_size)
            total += F.cross_entropy(logits, targets.flatten(), reduction="sum").item()
    return total / (len(windows) * block_size), len(windows)
