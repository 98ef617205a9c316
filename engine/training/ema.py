"""An average of the weights along the way (Polyak & Juditsky 1992)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from engine.model import LanguageModel


class WeightAverage:
    """An exponential moving average of a model's weights.

    Args:
        model: Where the average starts.
    """

    def __init__(self, model: LanguageModel) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: LanguageModel, decay: float, step: int) -> None:
        """Move towards the weights of a step.

        Args:
            model: The weights in training.
            decay: Share of the average that stays; less in the first steps, whose weights say
                little.
            step: Steps done before this one.
        """
        stays = min(decay, (1 + step) / (10 + step))
        ours: list[Tensor] = list(self.model.parameters())
        theirs: list[Tensor] = list(model.parameters())
        torch._foreach_lerp_(ours, theirs, 1 - stays)
