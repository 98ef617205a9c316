"""Capture repeated work, such as a training step, as CUDA graphs and replay them.

A step of a small model consists of hundreds of kernels, each of which takes less time than the CPU
needs to launch it. A graph launches the same kernels at once. A replay reads
and writes the same memory addresses, so anything that changes from step to step (the batch, the
learning rate, the dropout seed) has to be passed in tensors that are reused.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Any

import torch

Work = Callable[[], None]
Capture = Callable[[Work], Work]  # returns a function that replays the work


def cuda_capture() -> Capture:
    """Return a function that captures work on the current device, in one shared memory pool."""
    pool = torch.cuda.graph_pool_handle()

    def capture(work: Work) -> Work:
        graph = torch.cuda.CUDAGraph()
        # thread_local: the thread that writes checkpoints may use the device at the same time
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            work()
        return graph.replay

    return capture


def capture_beside(stream: torch.cuda.Stream) -> Capture:
    """Return a function that captures work on a stream while another one goes on.

    Unlike ``torch.cuda.graph`` it neither waits for the device nor gives cached memory back. All
    graphs share one pool: they must be replayed on this stream, where no two run at once.
    """
    pool, _ = _shared_pool(stream)
    return lambda work: _captured(work, pool, stream).replay


@functools.cache
def _shared_pool(stream: torch.cuda.Stream) -> tuple[Any, torch.cuda.CUDAGraph]:
    """Return the memory of graphs that come and go.

    With it comes a graph that stays: PyTorch gives up a pool with its last graph.
    """
    pool = torch.cuda.graph_pool_handle()
    number = torch.zeros(1, device=stream.device)
    return pool, _captured(lambda: number.add_(1), pool, stream)


def _captured(
    work: Callable[[], object], pool: Any, stream: torch.cuda.Stream
) -> torch.cuda.CUDAGraph:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.stream(stream):
        graph.capture_begin(pool, capture_error_mode="thread_local")
        try:
            work()
        finally:
            graph.capture_end()
    return graph


class Replays:
    """Runs named pieces of work: eagerly in the first round, then from CUDA graphs.

    The eager round does what a capture must not, such as loading kernels.

    Attributes:
        tell: Called with the reason if a capture fails; the work then always runs eagerly.
    """

    def __init__(self) -> None:
        self.tell: Callable[[str], None] = lambda reason: None
        self._new_capture: Callable[[], Capture] | None = None
        self._capture: Capture | None = None
        self._captured: dict[Hashable, Work] = {}

    def capture_with(self, new_capture: Callable[[], Capture] | None) -> None:
        """Set the way to capture, such as ``cuda_capture``; None always runs eagerly."""
        self.forget()
        self._new_capture = new_capture

    def run(self, name: Hashable, work: Work) -> None:
        """Run a piece of work; the pieces of each round must come in the same order."""
        again = self._captured.get(name)
        if again is None and self._capture:
            again = self._captured_now(name, work)
        (again or work)()

    def end_round(self) -> None:
        """Mark the end of a round; the next one captures."""
        if self._new_capture and not self._capture:
            self._capture = self._new_capture()

    def forget(self) -> None:
        """Drop all graphs, because a captured constant or an address has changed."""
        self._captured.clear()
        self._capture = None

    def _captured_now(self, name: Hashable, work: Work) -> Work | None:
        assert self._capture
        try:
            self._captured[name] = self._capture(work)
        except Exception as error:  # drivers and kernels fail in many ways; training can continue
            self.capture_with(None)
            self.tell((str(error).strip().splitlines() or [type(error).__name__])[0])
        return self._captured.get(name)
