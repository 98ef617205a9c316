"""The optimizer and the learning-rate schedule."""

from __future__ import annotations

import inspect
import math

import torch
from torch import nn

from engine.config import OptimConfig


class AdamW(torch.optim.AdamW):
    """torch's AdamW without its guards for ``torch.compile``, which never sees our optimizer.

    They import the compiler, more than a second, at the first step of every run.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))


def build_optimizer(model: nn.Module, optim: OptimConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019) that decays matrices and embeddings only.

    Biases and layer-norm gains are one-dimensional; pulling them to zero helps nobody.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "decays": True},
        {"params": [p for p in parameters if p.dim() < 2], "decays": False},
    ]
    optimizer = AdamW(groups, lr=optim.learning_rate, fused=True)
    configure_optimizer(optimizer, optim)
    return optimizer


def configure_optimizer(optimizer: torch.optim.Optimizer, optim: OptimConfig) -> None:
    """Bring the optimizer's settings in line with the configuration, between two steps."""
    for group in optimizer.param_groups:
        group["betas"] = (optim.beta1, optim.beta2)
        group["weight_decay"] = optim.weight_decay if group["decays"] else 0.0


def learning_rate(optim: OptimConfig, step: int, total_steps: int) -> float:
    """The learning rate of one step: linear warm-up, decay to ``min_lr``, then flat.

    Args:
        optim: Gives the peak, the floor and the shape.
        step: Steps done before this one.
        total_steps: Where the decay ends unless ``decay_steps`` says otherwise.
    """
    peak, decay_steps = optim.learning_rate, optim.decay_steps or total_steps
    if step < optim.warmup_steps:
        return peak * (step + 1) / (optim.warmup_steps + 1)
    if optim.schedule == "constant":
        return peak
    if step >= decay_steps:
        return optim.min_lr
    progress = (step - optim.warmup_steps) / (decay_steps - optim.warmup_steps)  # 0 to 1
    left = 1 - progress if optim.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return optim.min_lr + left * (peak - optim.min_lr)
