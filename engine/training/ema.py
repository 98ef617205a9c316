"""An exponential moving average of the weights (Polyak & Juditsky 1992)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from engine.model import LanguageModel


class WeightAverage:
    """An exponential moving average of a model's weights, starting at ``model``."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: LanguageModel, decay: float, step: int) -> None:
        """Move the average towards the current weights.

        Args:
            decay: Weight of the old average.
            step: Number of steps done before this one.
        """
        # less in the first steps, so that the random initial weights are soon forgotten
        decay = min(decay, (1 + step) / (10 + step))
        averages: list[Tensor] = list(self.model.parameters())
        weights: list[Tensor] = list(model.parameters())
        torch._foreach_lerp_(averages, weights, 1 - decay)
