"""Muon: momentum whose update is brought near an orthogonal matrix (Jordan et al. 2024).

As in ``torch.optim.Muon``, but all matrices of one shape are orthogonalised in one batch, and a
matrix that is several stacked upon each other (queries, keys, values) counts as several.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine import kernels

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic: steepest at zero
ITERATIONS = 5
EPSILON = 1e-7
CHUNK = 2**26  # numbers of the matrices that are orthogonalised together


@dataclass(frozen=True)
class Part:
    """Some rows of a weight that are a matrix of their own."""

    weight: Tensor
    rows: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return (self.rows.stop - self.rows.start, self.weight.size(1))

    @property
    def is_tall(self) -> bool:
        """Whether it has more rows than columns: then its transpose is orthogonalised."""
        return self.shape[0] > self.shape[1]

    @property
    def scale(self) -> float:
        """By how much more a tall part moves than a square one."""
        rows, columns = self.shape
        return math.sqrt(max(1.0, rows / columns))

    def of(self, tensor: Tensor) -> Tensor:
        """The part of a tensor of the weight's shape, lying down: (short, long)."""
        part = tensor[self.rows]
        return part.mT if self.is_tall else part


class Muon:
    """Momentum, orthogonalised.

    Args:
        weights: Matrices, each with the heights of the parts it is made of.
        dtype: What the orthogonalisation computes in; bf16 is exact enough where it is fast.
        momentum: Of the gradient; Nesterov's.
        weight_decay: Decoupled.
    """

    def __init__(
        self,
        weights: Sequence[tuple[Tensor, Sequence[int]]],
        dtype: torch.dtype = torch.bfloat16,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        self.dtype = dtype
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.state = {
            weight: {"momentum_buffer": torch.zeros_like(weight, requires_grad=False)}
            for weight, _ in weights
        }
        self.native = False  # whether to use the kernel of ``engine.kernels``; weights on a CPU
        self._groups = [chunk for parts in _by_shape(weights).values() for chunk in _chunks(parts)]
        # what a step needs for a moment: averages, gradients, directions and those under way
        self.numbers = 8 * max(sum(math.prod(p.shape) for p in parts) for parts in self._groups)
        self._scales: dict[int, Tensor] = {}  # of the parts of each group, (n, 1, 1)

    @torch.no_grad()
    def step(self, rate: float | Tensor, skip: Tensor | None = None) -> None:
        """Move the weights by their gradients.

        Args:
            rate: Learning rate; a part of r rows and c columns moves by
                ``rate * sqrt(max(1, r / c))``. Where it is a tensor () on the device of the
                weights, nothing is read by the host, and the step can be captured.
            skip: () bool on the device; where true, weights and momentum stay as they are.
        """
        if self.native:
            self._step_native(float(rate), skip)
            return
        for parts in self._groups:
            self._step_group(parts, rate, skip)

    def _step_native(self, rate: float, skip: Tensor | None) -> None:
        if skip is not None and skip.item():
            return
        parts = [part for group in self._groups for part in group]
        kernels.muon_step(
            [_gradient(part.weight)[part.rows] for part in parts],
            [self.state[part.weight]["momentum_buffer"][part.rows] for part in parts],
            [part.weight[part.rows] for part in parts],
            momentum=self.momentum,
            rate=rate,
            keep=1 - rate * self.weight_decay,
        )

    def _step_group(self, parts: list[Part], rate: float | Tensor, skip: Tensor | None) -> None:
        buffers = [part.of(self.state[part.weight]["momentum_buffer"]) for part in parts]
        before = torch.stack(buffers)  # (n, r, c)
        gradients = torch.stack([part.of(_gradient(part.weight)) for part in parts])  # (n, r, c)
        averages = before.lerp(gradients, 1 - self.momentum)
        nesterov = gradients.lerp(averages, self.momentum)
        directions = orthogonalize(nesterov, self.dtype)
        keep: float | Tensor = 1 - rate * self.weight_decay
        if skip is not None:
            averages = torch.where(skip, before, averages)
            directions = directions.masked_fill(skip, 0)
            keep = torch.where(skip, 1.0, keep)
        torch._foreach_copy_(buffers, averages.unbind())
        weights = [part.of(part.weight) for part in parts]
        torch._foreach_mul_(weights, keep)
        if isinstance(rate, Tensor):
            scaled = directions * (self._scales_of(parts, directions) * rate)
            torch._foreach_sub_(weights, scaled.unbind())
            return
        for part, weight, direction in zip(parts, weights, directions, strict=True):
            weight.add_(direction, alpha=-rate * part.scale)

    def _scales_of(self, parts: list[Part], like: Tensor) -> Tensor:
        """(n, 1, 1), made once: numbers from the host cannot be captured."""
        first = id(parts)
        if first not in self._scales:
            scales = torch.tensor([part.scale for part in parts], device=like.device)
            self._scales[first] = scales[:, None, None]
        return self._scales[first]


def orthogonalize(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """The nearest semi-orthogonal matrices, roughly: all singular values between 0.7 and 1.2.

    Args:
        matrices: (n, r, c) with r <= c.
        dtype: What to compute in.

    Returns:
        (n, r, c), in the dtype of the matrices.
    """
    x = matrices.to(dtype)
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=EPSILON)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):  # Newton-Schulz
        gram = x @ x.mT  # (n, r, r)
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.to(matrices.dtype)


def _by_shape(
    weights: Sequence[tuple[Tensor, Sequence[int]]],
) -> dict[tuple[int, ...], list[Part]]:
    """All parts, grouped by their shape when they lie down."""
    groups: dict[tuple[int, ...], list[Part]] = {}
    for weight, heights in weights:
        start = 0
        for height in heights:
            part = Part(weight, slice(start, start + height))
            groups.setdefault(tuple(sorted(part.shape)), []).append(part)
            start += height
    return groups


def _chunks(parts: list[Part]) -> list[list[Part]]:
    """The same, few enough at a time that what is computed of them fits beside a large model."""
    size = max(1, CHUNK // math.prod(parts[0].shape))
    return [parts[i : i + size] for i in range(0, len(parts), size)]


def _gradient(weight: Tensor) -> Tensor:
    return torch.zeros_like(weight) if weight.grad is None else weight.grad
