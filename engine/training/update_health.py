"""What one step does to each weight: the norm of its gradient, and how far it moves.

A step is watched from outside: nothing it computes depends on it, and nothing of it is in a CUDA
graph.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.metric_catalogue import GRAD_NORM, LAYER, UPDATE_RATIO, member

MOST_COPIED = 2**24  # numbers of the weights before a step that are kept during it: 64 MiB
OF_LAYER = re.compile(rf"{re.escape(LAYER)}\d+")


@dataclass(frozen=True)
class UpdateHealth:
    """Norms of one step, by parameter; on the device, as reading them would wait for a GPU.

    Attributes:
        names: Of P parameters.
        matrices: Which of them get metrics of their own; the others count only in their layer.
        norms: (3, P): of the gradient before clipping, of the update, and of the weight before it.
            The last two are of the same rows: all, or evenly spaced ones of a large model.
    """

    names: tuple[str, ...]
    matrices: frozenset[str]
    norms: Tensor

    def figures(self) -> dict[str, float]:
        """Return the metrics of each layer and each matrix; waits for the device."""
        of_parameter = dict(zip(self.names, zip(*self.norms.tolist(), strict=True), strict=True))
        groups: dict[str, list[str]] = {}
        for name in self.names:
            if layer := OF_LAYER.match(name):
                groups.setdefault(layer[0], []).append(name)
            if name in self.matrices:
                groups[name.removesuffix(".weight")] = [name]
        found = {}
        for group, names in groups.items():
            parts = zip(*(of_parameter[name] for name in names), strict=True)
            gradient, update, weight = (math.hypot(*norms) for norms in parts)
            found[member(GRAD_NORM, group)] = gradient
            if weight:  # of one that begins at zero there is no ratio yet
                found[member(UPDATE_RATIO, group)] = update / weight
        return found


class WatchedUpdate:
    """Measures the update that follows; begun after the backward pass, ended after the update.

    Args:
        scale: By which the gradients are too large.
    """

    @torch.no_grad()
    def __init__(self, model: nn.Module, scale: Tensor | None = None) -> None:
        named = dict(model.named_parameters())  # one that is shared counts once
        self._names = tuple(named)
        self._matrices = frozenset(name for name, one in named.items() if one.dim() >= 2)
        # evenly spaced rows of a large model, whose copy would need as much memory as the model
        every = -(-sum(one.numel() for one in named.values()) // MOST_COPIED)
        self._weights = [one[::every] if one.dim() >= 2 else one for one in named.values()]
        zero = torch.zeros((), device=self._weights[0].device)
        gradients = [zero if one.grad is None else one.grad for one in named.values()]
        norms = torch.stack(torch._foreach_norm(gradients))  # (P,)
        self._gradient_norms = norms / scale if scale is not None else norms
        self._before = [one.clone() for one in self._weights]
        self._weight_norms = torch.stack(torch._foreach_norm(self._before))  # (P,)

    @torch.no_grad()
    def end(self) -> UpdateHealth:
        """Measure what the update has changed."""
        torch._foreach_sub_(self._before, self._weights)
        update_norms = torch.stack(torch._foreach_norm(self._before))  # (P,)
        self._before.clear()
        norms = torch.stack((self._gradient_norms, update_norms, self._weight_norms))  # (3, P)
        return UpdateHealth(self._names, self._matrices, norms)
