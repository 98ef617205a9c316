"""Sums in pairs: as a recursive sum of halves, and the same of parts of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.distributed.gradients import PairwiseSum, copy_back, flattened


def by_halves(arrays: list[Tensor]) -> Tensor:
    """The definition: the sum of the first half plus that of the second."""
    middle = len(arrays) // 2
    return arrays[0] if not middle else by_halves(arrays[:middle]) + by_halves(arrays[middle:])


def summed(arrays: list[Tensor]) -> Tensor:
    total = PairwiseSum()
    for one in arrays:
        total.add(one.clone())
    return total.total()


@pytest.mark.parametrize("count", [1, 2, 4, 8, 64])
def test_it_is_the_recursive_sum_of_halves_to_the_bit(count: int) -> None:
    arrays = list(torch.randn(count, 100, generator=torch.Generator().manual_seed(count)))
    expected = by_halves(arrays)
    assert torch.equal(summed(arrays), expected)
    if count > 4:  # in order, the bits are others: the order does matter
        assert not torch.equal(sum(arrays[1:], start=arrays[0]), expected)


@pytest.mark.parametrize("processes", [1, 2, 4, 8])
def test_the_sums_of_neighbours_add_up_to_it_whatever_their_number(processes: int) -> None:
    arrays = list(torch.randn(8, 100, generator=torch.Generator().manual_seed(1)))
    each = 8 // processes
    parts = [summed(arrays[i * each : (i + 1) * each]) for i in range(processes)]
    assert torch.equal(by_halves(parts), by_halves(arrays))


def test_it_holds_one_array_for_each_level() -> None:
    total = PairwiseSum()
    for number in range(64):
        total.add(torch.ones(1))
        assert len(total._sums) == (number + 1).bit_count()


def test_tensors_come_back_as_they_were() -> None:
    tensors = [torch.randn(3, 4), torch.randn(()), torch.randn(2, 3).T]
    before = [one.clone() for one in tensors]
    flat = flattened(tensors)
    copy_back(2 * flat, tensors)
    assert all(torch.equal(now, 2 * then) for now, then in zip(tensors, before, strict=True))
