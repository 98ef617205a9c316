"""The gradients of a step, summed pairwise over its shards."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class PairwiseSum:
    """Adds arrays as they come, in the order of a binary tree over all of them.

    The sums of 2, 4, 8 … neighbours come first, so that several processes with 2, 4, 8 … neighbours
    each get the same bits as one with all of them. It holds one array for each level of the tree.
    """

    def __init__(self) -> None:
        self._sums: list[tuple[int, Tensor]] = []  # of how many arrays, the largest first

    def add(self, numbers: Tensor) -> None:
        """Add an array, which is overwritten later on."""
        count = 1
        while self._sums and self._sums[-1][0] == count:
            _, before = self._sums.pop()
            numbers = before.add_(numbers)
            count *= 2
        self._sums.append((count, numbers))

    def total(self) -> Tensor:
        """Return the sum of all arrays, which were a power of two, and begin anew."""
        ((_, total),) = self._sums
        self._sums = []
        return total


def flattened(tensors: Sequence[Tensor]) -> Tensor:
    """Copy tensors into one (n,)."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def copy_back(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    """Copy what ``flattened`` returned into the tensors it was made of."""
    sizes = [tensor.numel() for tensor in tensors]
    parts = [part.view_as(t) for part, t in zip(torch.split(flat, sizes), tensors, strict=True)]
    torch._foreach_copy_(list(tensors), parts)
