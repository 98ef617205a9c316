"""The learning-rate schedule."""

from __future__ import annotations

import math

from engine.config.schema import OptimConfig

COOLDOWN_SHARE = 0.2  # of the steps, if cooldown_steps is not set


def learning_rate(optim: OptimConfig, step: int, total_steps: int) -> float:
    """Return the learning rate of a step: linear warm-up, decay to ``min_lr``, then constant.

    Args:
        optim: The shape of the schedule.
        step: Number of steps done before this one.
        total_steps: End of the decay, unless ``optim.decay_steps`` is set.
    """
    peak, end = optim.learning_rate, optim.decay_steps or total_steps
    if step < optim.warmup_steps:
        # AdamW's second moment is unreliable at first, and large steps would do damage
        return peak * (step + 1) / (optim.warmup_steps + 1)
    if optim.schedule == "constant":
        return peak
    if step >= end:
        return optim.min_lr
    start = optim.warmup_steps  # of the decay
    if optim.schedule == "wsd":  # warm-up, stable, decay: constant until the cool-down
        start = max(start, end - cooldown_steps(optim, end))
    progress = max(0.0, (step - start) / (end - start))  # of the decay, 0 to 1
    # the share of the way from min_lr to the peak that is left
    left = 1 - progress if optim.schedule != "cosine" else 0.5 * (1 + math.cos(math.pi * progress))
    return optim.min_lr + left * (peak - optim.min_lr)


def cooldown_steps(optim: OptimConfig, end: int) -> int:
    """Return the length of wsd's decay.

    Args:
        end: The step at which it ends; or begins, if it is begun by hand.
    """
    return optim.cooldown_steps or max(1, round(COOLDOWN_SHARE * end))


def schedule_ahead(
    optim: OptimConfig, step: int, total_steps: int, points: int = 200
) -> tuple[list[int], list[float]]:
    """Return the learning rates planned from a step to the end, at most about this many.

    The corners of the schedule (end of the warm-up, begin and end of the decay) are among them.

    Returns:
        Rising steps, and the rate of each.
    """
    if step >= total_steps:
        return [], []
    last, end = total_steps - 1, optim.decay_steps or total_steps
    corners = {optim.warmup_steps, end - cooldown_steps(optim, end), end - 1, end}
    stride = max(1, (last - step) // points)
    steps = sorted({*range(step, last, stride), last} | {c for c in corners if step <= c <= last})
    return steps, [learning_rate(optim, one, total_steps) for one in steps]
