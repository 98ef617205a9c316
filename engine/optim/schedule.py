"""The learning-rate schedule."""

from __future__ import annotations

import math

from engine.config.schema import OptimConfig

COOLDOWN_SHARE = 0.2  # of the steps, where cooldown_steps is left open


def learning_rate(optim: OptimConfig, step: int, total_steps: int) -> float:
    """The learning rate of one step: linear warm-up, then the decay to ``min_lr``, then flat.

    Args:
        optim: Gives the peak, the floor and the shape.
        step: Steps done before this one.
        total_steps: Where the decay ends unless ``decay_steps`` says otherwise.
    """
    peak, end = optim.learning_rate, optim.decay_steps or total_steps
    if step < optim.warmup_steps:
        return peak * (step + 1) / (optim.warmup_steps + 1)
    if optim.schedule == "constant":
        return peak
    if step >= end:
        return optim.min_lr
    start = optim.warmup_steps
    if optim.schedule == "wsd":
        start = max(start, end - cooldown_steps(optim, end))
    progress = max(0.0, (step - start) / (end - start))  # of the decay, 0 to 1
    left = 1 - progress if optim.schedule != "cosine" else 0.5 * (1 + math.cos(math.pi * progress))
    return optim.min_lr + left * (peak - optim.min_lr)


def cooldown_steps(optim: OptimConfig, end: int) -> int:
    """How long wsd decays, if it ends at step ``end``."""
    return optim.cooldown_steps or max(1, round(COOLDOWN_SHARE * end))
