"""Processes of one machine: memory that all of them see, and a socket from each to process 0.

By way of the loopback network, 0.8 million gradients take two processes 2.8 ms to add up, and a
message 0.25; with this they take 0.3 and 0.03.
"""

from __future__ import annotations

import math
import mmap
import os
import socket
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.distributed.environment import LEADER, local_processes
from engine.distributed.gradients import PairwiseSum, copy_back

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

MEETING = b"."
PLACE = "same_machine"  # in the store: the socket of process 0; empty if there is none


class SameMachine:
    """What the processes of one machine tell each other; all of them call the same in turn.

    The methods raise an ``OSError`` once another process has ended.

    Args:
        links: Connections, of process 0 to each other one and of those to it.
    """

    def __init__(self, rank: int, size: int, links: list[socket.socket]) -> None:
        self._rank, self._size, self._links = rank, size, links
        # by what it is for and its shape: two uses of one place would need more meetings
        self._memory: dict[tuple[str, torch.dtype, tuple[int, ...]], Tensor] = {}

    @classmethod
    def connect(cls, store: Store, rank: int, size: int, seconds: float) -> SameMachine | None:
        """Connect all processes; None if not all are here, or the system cannot do this.

        Args:
            seconds: After which a process that has not come is given up.

        Raises:
            OSError: One of them has not come.
        """
        if local_processes() != size or not hasattr(os, "memfd_create"):  # of Linux
            return None
        links: list[socket.socket] = []
        if rank != LEADER:
            place = store.get(PLACE).decode()
            if not place:
                return None
            links.append(socket.socket(socket.AF_UNIX))
            links[0].connect(place)
        else:
            # a folder of this user alone, so that nobody else can connect
            with (
                tempfile.TemporaryDirectory(prefix="gpt-tui-") as folder,
                socket.socket(socket.AF_UNIX) as server,
            ):
                place = str(Path(folder) / "processes")
                try:
                    server.bind(place)
                except OSError:  # the path is too long for a socket
                    store.set(PLACE, "")
                    return None
                server.listen(size)
                server.settimeout(seconds)
                store.set(PLACE, place)
                links += [server.accept()[0] for _ in range(1, size)]
        for link in links:
            link.settimeout(None)  # a paused run has nothing to say
        return cls(rank, size, links)

    def broadcast(self, numbers: Tensor) -> None:
        """Send bytes (n,) of process 0 to all others, which receive them in ``numbers``."""
        if self._rank == LEADER:
            for link in self._links:
                link.sendall(numbers.numpy().data)
            return
        left = numbers.numpy().data
        while left:
            received = self._links[0].recv_into(left)
            if not received:
                raise ConnectionError
            left = left[received:]

    def add_up(self, numbers: Tensor) -> None:
        """Replace numbers (n,) by their sum over all processes, in pairs of neighbours."""
        n, rank = numbers.numel(), self._rank
        # a row of each process, and the sums
        rows = self._shared("sum", numbers.dtype, (self._size + 1, n))
        rows[rank].copy_(numbers)
        self._meet()
        own = slice(n * rank // self._size, n * (rank + 1) // self._size)
        total = PairwiseSum()
        for row in rows[: self._size]:
            total.add(row[own])
        rows[self._size, own].copy_(total.total())
        self._meet()
        numbers.copy_(rows[self._size])

    def exchange(self, tensors: Sequence[Sequence[Tensor]]) -> None:
        """Copy the tensors of each process, of one dtype, to those of the others.

        Raises:
            OSError: Another process has ended; no tensor has changed.
        """
        sizes = [sum(tensor.numel() for tensor in those) for those in tensors]
        dtype = next(tensor.dtype for those in tensors for tensor in those)
        shared = torch.split(self._shared("exchange", dtype, (sum(sizes),)), sizes)
        if tensors[self._rank]:
            flat = [tensor.reshape(-1) for tensor in tensors[self._rank]]
            torch.cat(flat, out=shared[self._rank])
        self._meet()
        for rank, (part, those) in enumerate(zip(shared, tensors, strict=True)):
            if those and rank != self._rank:
                copy_back(part, those)
        with suppress(OSError):  # all has come; the next call will notice it
            self._meet()  # before one of them writes there again

    def close(self) -> None:
        for link in self._links:
            link.close()
        self._memory.clear()

    def _meet(self) -> None:
        """Wait until all are here: each can then read what the others have written before."""
        if self._rank != LEADER:
            self._links[0].sendall(MEETING)
        for link in self._links:
            if not link.recv(1):
                raise ConnectionError
        if self._rank == LEADER:
            for link in self._links:
                link.sendall(MEETING)

    def _shared(self, what: str, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
        """Return a tensor in memory that all processes see, the same at each call."""
        key = what, dtype, shape
        if key not in self._memory:
            count = math.prod(shape) * dtype.itemsize
            if self._rank == LEADER:
                # without a name: nothing is left of it when all processes were killed
                file = os.memfd_create("gpt-tui")
                os.ftruncate(file, count)
                for link in self._links:
                    socket.send_fds(link, [MEETING], [file])
            else:
                _, files, _, _ = socket.recv_fds(self._links[0], 1, 1)
                if not files:
                    raise ConnectionError
                file = files[0]
            memory = mmap.mmap(file, count)  # the tensor holds it
            os.close(file)
            self._memory[key] = torch.frombuffer(memory, dtype=dtype).view(shape)
        return self._memory[key]
