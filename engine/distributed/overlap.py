"""Gradients added up over processes while the backward pass still computes others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn

from engine.distributed.gradients import copy_back, flattened
from engine.distributed.team import Team

BUCKET_BYTES = 25 * 2**20  # as PyTorch's DistributedDataParallel (Li et al. 2020)


class OverlappedSum:
    """Adds up gradients in buckets, the last layers first, each as soon as it is computed.

    The order of a sum depends on the number of processes, and so do its last bits.

    Args:
        parameters: Of the model, in the order of the forward pass.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], team: Team) -> None:
        self._team = team
        self._buckets: list[list[nn.Parameter]] = [[]]
        size = 0
        for parameter in reversed(parameters):
            if size > BUCKET_BYTES:
                self._buckets.append([])
                size = 0
            self._buckets[-1].append(parameter)
            size += parameter.numel() * parameter.element_size()
        self._bucket_of = {one: at for at, those in enumerate(self._buckets) for one in those}
        self._awaited: list[int] = []  # gradients of each bucket; empty outside of a last pass
        self._sums: list[tuple[Any, Tensor]] = []  # under way, of the first buckets
        self._problem: RuntimeError | None = None
        for parameter in parameters:
            parameter.register_post_accumulate_grad_hook(self._take)  # type: ignore[no-untyped-call]

    @contextmanager
    def last_pass(self, loss: Tensor) -> Iterator[None]:
        """Run the last forward and backward pass of a step; afterwards all gradients are sums.

        Args:
            loss: () of this process, after the pass; it is replaced by the sum, too.

        Raises:
            ProcessLost: Another process has ended.
        """
        self._awaited = [len(those) for those in self._buckets]
        self._sums, self._problem = [], None
        try:
            yield
            with self._team.noticing():
                if self._problem:
                    raise self._problem
                for (work, total), those in zip(self._sums, self._buckets, strict=True):
                    work.wait()
                    copy_back(total, _gradients(those))
        finally:
            self._awaited, self._sums = [], []
        self._team.add_up(loss.view(1), exact=False)

    def _take(self, parameter: Tensor) -> None:
        """Hear that a gradient is computed; begin the sums of the buckets that are full."""
        if not self._awaited:
            return
        self._awaited[self._bucket_of[parameter]] -= 1  # type: ignore[index]
        # in this order, whatever the backward pass has: all processes must begin the same
        while len(self._sums) < len(self._buckets) and not self._awaited[len(self._sums)]:
            total = flattened(_gradients(self._buckets[len(self._sums)]))
            try:
                self._sums.append((dist.all_reduce(total, async_op=True), total))
            except RuntimeError as error:  # raised here, it would be one of the backward pass
                self._problem, self._awaited = error, []
                return


def _gradients(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    return [one.grad for one in parameters if one.grad is not None]
