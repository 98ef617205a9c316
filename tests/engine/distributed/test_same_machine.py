"""Processes of one machine, here as threads: sums, exchanges and messages through shared memory."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from torch import Tensor

from engine.distributed.same_machine import SameMachine
from tests.engine.distributed.test_gradients import by_halves

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="memory is shared on Linux")

T = TypeVar("T")


class Store:
    """What the processes know of each other before they are connected."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._changed = threading.Condition()

    def set(self, key: str, value: str) -> None:
        with self._changed:
            self._values[key] = value
            self._changed.notify_all()

    def get(self, key: str) -> bytes:
        with self._changed:
            assert self._changed.wait_for(lambda: key in self._values, 10)
            return self._values[key].encode()


def each(size: int, do: Callable[[int], T]) -> list[T]:
    """What each of some processes returns."""
    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(do, range(size)))


def connected(size: int, store: Store | None = None) -> list[SameMachine | None]:
    store = store or Store()
    return each(size, lambda rank: SameMachine.connect(store, rank, size, 10))  # type: ignore[arg-type]


@pytest.fixture(params=[2, 4, 8])
def processes(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[SameMachine]]:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(request.param))
    made = [one for one in connected(request.param) if one is not None]
    assert len(made) == request.param
    yield made
    for one in made:
        one.close()


def test_sums_are_those_of_neighbours_to_the_bit_again_and_again(
    processes: list[SameMachine],
) -> None:
    size, chance = len(processes), torch.Generator().manual_seed(1)
    for numbers in (1000, 3, 1000, 1000, 3):
        arrays = list(torch.randn(size, numbers, generator=chance))
        sums = [one.clone() for one in arrays]
        each(size, lambda rank: processes[rank].add_up(sums[rank]))  # noqa: B023
        assert all(torch.equal(one, by_halves(arrays)) for one in sums)


def test_all_get_what_each_has(processes: list[SameMachine]) -> None:
    size = len(processes)
    for round in range(3):
        # of rank r: r + 1 matrices, views of a larger one; of the last none at all
        tensors = [
            [[torch.full((4, 5), -1.0)[1:3] for _ in range(r + 1)] for r in range(size - 1)] + [[]]
            for _ in range(size)
        ]
        for rank in range(size):
            for number, tensor in enumerate(tensors[rank][rank]):
                tensor.fill_(100 * round + 10 * rank + number)
        each(size, lambda rank: processes[rank].exchange(tensors[rank]))  # noqa: B023
        for seen in tensors:
            for rank, those in enumerate(seen):
                for number, tensor in enumerate(those):
                    assert (tensor == 100 * round + 10 * rank + number).all()


def test_a_message_reaches_all_of_them_however_long(processes: list[SameMachine]) -> None:
    size = len(processes)
    for length in (0, 1, 3_000_000):
        message = torch.arange(length).to(torch.uint8)
        heard = [message if rank == 0 else torch.zeros_like(message) for rank in range(size)]
        each(size, lambda rank: processes[rank].broadcast(heard[rank]))  # noqa: B023
        assert all(torch.equal(one, message) for one in heard)


@pytest.mark.parametrize("lost", [0, 1])
def test_who_waits_for_a_process_that_ends_hears_of_it(
    processes: list[SameMachine], lost: int
) -> None:
    size = len(processes)

    def take_part(rank: int) -> bool:
        if rank == lost:
            processes[rank].close()
            return False
        try:
            processes[rank].add_up(torch.ones(10))
        except OSError:
            processes[rank].close()  # as a process does that ends then
            return True
        return False

    assert sum(each(size, take_part)) == size - 1


@pytest.mark.parametrize("lost", [0, 1])
def test_after_an_exchange_that_fails_no_tensor_has_changed(
    processes: list[SameMachine], lost: int
) -> None:
    size = len(processes)

    def take_part(rank: int) -> list[Tensor]:
        tensors = [torch.full((3,), float(rank)) for _ in range(size)]
        if rank != lost:
            with suppress(OSError):
                processes[rank].exchange([[one] for one in tensors])
        processes[rank].close()
        return tensors

    for rank, tensors in enumerate(each(size, take_part)):
        assert all((one == rank).all() for one in tensors)


def test_those_of_several_machines_share_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert connected(2) == [None, None]


def test_where_no_socket_can_be_made_they_share_no_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deep = tmp_path / ("long" * 30)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert connected(2) == [None, None]


def test_a_process_that_does_not_come_is_not_waited_for_endlessly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(socket.timeout):
        SameMachine.connect(Store(), 0, 2, 0.01)  # type: ignore[arg-type]
