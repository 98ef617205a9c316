"""Muon: momentum, orthogonalised by Newton-Schulz iterations (Jordan et al. 2024).

As ``torch.optim.Muon``, with two differences: matrices of the same shape are orthogonalised in one
batch, and a weight that stacks several matrices (queries, keys and values) is split first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from engine import kernels
from engine.distributed.team import ProcessLost, Team

# of the quintic polynomial, chosen for its steep slope at zero: small singular values grow fast
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
EPSILON = 1e-7
CHUNK = 2**26  # most elements orthogonalised in one batch


@dataclass(frozen=True)
class Part:
    """Rows of a weight that form a matrix of their own."""

    weight: Tensor
    rows: slice

    @property
    def shape(self) -> tuple[int, int]:
        return (self.rows.stop - self.rows.start, self.weight.size(1))

    @property
    def is_tall(self) -> bool:
        """Whether it has more rows than columns; its transpose is then orthogonalised."""
        return self.shape[0] > self.shape[1]

    @property
    def scale(self) -> float:
        """Factor of the update of a tall matrix, as in ``torch.optim.Muon``."""
        rows, columns = self.shape
        return math.sqrt(max(1.0, rows / columns))

    @property
    def of_weight(self) -> Tensor:
        """Its rows of the weight, (r, c)."""
        return self.weight[self.rows]

    def of(self, tensor: Tensor) -> Tensor:
        """Slice a tensor of the weight's shape, transposed if tall: (short side, long side)."""
        part = tensor[self.rows]
        return part.mT if self.is_tall else part


class Muon:
    """The Muon optimizer.

    Args:
        weights: Matrices, each with the row counts of the parts stacked in it.
        dtype: Of the orthogonalisation; bf16 is accurate enough where it is fast.
        momentum: Nesterov momentum.
        weight_decay: Decoupled, as in AdamW.
        team: Of processes that have the same weights and gradients; None is this one alone.
    """

    def __init__(
        self,
        weights: Sequence[tuple[Tensor, Sequence[int]]],
        dtype: torch.dtype = torch.bfloat16,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        team: Team | None = None,
    ) -> None:
        self._team = team or Team()
        self.dtype = dtype
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.state = {
            weight: {"momentum_buffer": torch.zeros_like(weight, requires_grad=False)}
            for weight, _ in weights
        }
        self.native = False  # use the CPU kernel of ``engine.kernels``
        self._groups = [chunk for parts in _by_shape(weights).values() for chunk in _chunks(parts)]
        # elements of the temporary tensors of a step: momentum, gradients, updates, intermediates
        self.numbers = 8 * max(sum(math.prod(p.shape) for p in parts) for parts in self._groups)
        self._scales: dict[int, Tensor] = {}  # of the parts of each group, (n, 1, 1)

    @torch.no_grad()
    def step(self, rate: float | Tensor, skip: Tensor | None = None) -> None:
        """Update the weights.

        Args:
            rate: Learning rate; the update of an (r, c) part has spectral norm
                ``rate * sqrt(max(1, r / c))``, roughly. A tensor () on the weights' device avoids
                synchronising with the host, so that a CUDA graph can capture the step.
            skip: () bool on the device; if true, weights and momentum do not change.
        """
        if self.native:
            self._step_native(float(rate), skip)
            return
        for parts in self._groups:
            self._step_group(parts, rate, skip)

    def _step_native(self, rate: float, skip: Tensor | None) -> None:
        if skip is not None and skip.item():
            return
        step = partial(
            self._move, momentum=self.momentum, rate=rate, keep=1 - rate * self.weight_decay
        )
        if not self._team.shares_memory:
            step(self._parts)
            return
        # next to no time passes until the others have the weights that this process has moved
        shares = self._shares
        own = shares[self._team.rank]
        step(own)
        others = [part for share in shares if share is not own for part in share]
        try:
            self._team.exchange([[one.of_weight for one in share] for share in shares])
        except ProcessLost:  # nothing was received, and a step that has begun must be finished
            step(others)
        else:
            step(others, moves=False)

    @cached_property
    def _parts(self) -> list[Part]:
        return [part for group in self._groups for part in group]

    @cached_property
    def _shares(self) -> list[list[Part]]:
        """The parts that each process moves."""
        return shared_out(self._parts, self._team.size)

    def _move(self, parts: list[Part], **how: Any) -> None:
        kernels.muon_step(
            [_gradient(part.weight)[part.rows] for part in parts],
            [self.state[part.weight]["momentum_buffer"][part.rows] for part in parts],
            [part.of_weight for part in parts],
            **how,
        )

    def _step_group(self, parts: list[Part], rate: float | Tensor, skip: Tensor | None) -> None:
        buffers = [part.of(self.state[part.weight]["momentum_buffer"]) for part in parts]
        before = torch.stack(buffers)  # (n, r, c)
        gradients = torch.stack([part.of(_gradient(part.weight)) for part in parts])  # (n, r, c)
        averages = before.lerp(gradients, 1 - self.momentum)  # (n, r, c)
        # Nesterov: one step ahead of the average, towards the current gradient
        nesterov = gradients.lerp(averages, self.momentum)  # (n, r, c)
        # a gradient has a few large singular values; equal ones update all directions alike
        directions = orthogonalize(nesterov, self.dtype)  # (n, r, c)
        keep: float | Tensor = 1 - rate * self.weight_decay  # decoupled weight decay
        if skip is not None:  # selected on the device: reading ``skip`` would make the GPU wait
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
        """Return the cached scales (n, 1, 1): a CUDA graph cannot capture a copy from the host."""
        first = id(parts)
        if first not in self._scales:
            scales = torch.tensor([part.scale for part in parts], device=like.device)
            self._scales[first] = scales[:, None, None]
        return self._scales[first]


def orthogonalize(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """Approximate the nearest semi-orthogonal matrices.

    All singular values end up between about 0.7 and 1.2, which is as good as exactly 1 for training
    and needs only matrix products.

    Args:
        matrices: (n, r, c) with r <= c.
        dtype: Of the computation.

    Returns:
        (n, r, c), in the dtype of ``matrices``.
    """
    x = matrices.to(dtype)
    # the iteration converges for singular values up to 1, and the Frobenius norm bounds them
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=EPSILON)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):  # Newton-Schulz: x <- a x + b (x x^T) x + c (x x^T)^2 x
        gram = x @ x.mT  # (n, r, r)
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)  # (n, r, r)
        x = torch.baddbmm(x, polynomial, x, beta=a)  # (n, r, c)
    return x.to(matrices.dtype)


def _by_shape(
    weights: Sequence[tuple[Tensor, Sequence[int]]],
) -> dict[tuple[int, ...], list[Part]]:
    """Split the weights into parts, and group these by (short side, long side)."""
    groups: dict[tuple[int, ...], list[Part]] = {}
    for weight, row_counts in weights:
        start = 0
        for rows in row_counts:
            part = Part(weight, slice(start, start + rows))
            groups.setdefault(tuple(sorted(part.shape)), []).append(part)
            start += rows
    return groups


def _chunks(parts: list[Part]) -> list[list[Part]]:
    """Split a group, so that the temporary tensors of a step fit beside a large model."""
    size = max(1, CHUNK // math.prod(parts[0].shape))
    return [parts[i : i + size] for i in range(0, len(parts), size)]


def shared_out(parts: list[Part], count: int) -> list[list[Part]]:
    """Divide parts into as many lists that take about as long."""
    shares: list[list[Part]] = [[] for _ in range(count)]
    seconds = [0.0] * count

    def cost(part: Part) -> float:
        short, long = sorted(part.shape)
        # two products with the matrix, one of them by half, and those of the iterations
        return float(short**2 * (1.5 * long + 2 * ITERATIONS * short))

    for part in sorted(parts, key=cost, reverse=True):  # the longest first
        least = seconds.index(min(seconds))
        shares[least].append(part)
        seconds[least] += cost(part)
    return shares


def _gradient(weight: Tensor) -> Tensor:
    return torch.zeros_like(weight) if weight.grad is None else weight.grad
