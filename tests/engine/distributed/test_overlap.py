"""Sums of gradients that begin within the backward pass."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from engine.distributed import overlap
from engine.distributed.overlap import OverlappedSum
from engine.distributed.team import ProcessLost, Team

LAYERS = 4


class Doubling(Team):
    """Two processes that have the same gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 2
        self._heartbeat = SimpleNamespace(lost="")  # type: ignore[assignment]

    def add_up(self, numbers: Tensor, exact: bool) -> None:
        assert not exact
        numbers.mul_(2)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many gradients there were when each sum was begun; the sums double them."""
    found: list[int] = []

    def all_reduce(numbers: Tensor, async_op: bool) -> object:
        found.append(sum(one.grad is not None for one in MODEL.parameters()))
        return SimpleNamespace(wait=lambda: numbers.mul_(2))

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    monkeypatch.setattr(overlap, "BUCKET_BYTES", 1)  # each weight is one
    MODEL.zero_grad()
    return found


MODEL = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(LAYERS)))


def backward(loss: Tensor) -> None:
    MODEL(torch.ones(1, 3)).sum().backward()
    loss.fill_(1.5)


def test_each_sum_begins_when_its_gradients_are_there_and_all_are_sums_afterwards(
    begun: list[int],
) -> None:
    loss = torch.zeros(())
    backward(loss)
    alone = [one.grad.clone() for one in MODEL.parameters() if one.grad is not None]
    MODEL.zero_grad()
    sums = OverlappedSum(list(MODEL.parameters()), Doubling())
    with sums.last_pass(loss):
        backward(loss)
        assert begun == [1, 2, 3, 4]  # not after the pass
    for one, before in zip(MODEL.parameters(), alone, strict=True):
        assert torch.equal(one.grad, 2 * before)  # type: ignore[arg-type]
    assert loss == 3


def test_other_passes_of_a_step_begin_none(begun: list[int]) -> None:
    OverlappedSum(list(MODEL.parameters()), Doubling())
    backward(torch.zeros(()))
    assert not begun


def test_a_process_that_is_lost_in_the_pass_is_noticed_after_it(
    begun: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_reduce(*_: object, **__: object) -> None:
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    sums = OverlappedSum(list(MODEL.parameters()), Doubling())
    with pytest.raises(ProcessLost), sums.last_pass(torch.zeros(())):
        backward(torch.zeros(()))
    assert not begun
