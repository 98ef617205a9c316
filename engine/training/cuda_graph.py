"""Pieces of a training step, captured once as CUDA graphs and replayed.

A small model's step is hundreds of kernels that each take less time than the CPU needs to launch
them. A graph launches all of them at once. What it computes is the same to the bit: the same
kernels read and write the same memory, so that whatever changes from step to step (the batch, the
learning rate, the seed of dropout) has to reach them through memory that stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch

Work = Callable[[], None]
Capture = Callable[[Work], Work]  # gives what repeats the work


def cuda_capture() -> Capture:
    """A way to capture work on the current CUDA device; all graphs share one pool of memory."""
    pool = torch.cuda.graph_pool_handle()

    def capture(work: Work) -> Work:
        graph = torch.cuda.CUDAGraph()
        # other threads may go on using the device meanwhile: a checkpoint's writer does
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            work()
        return graph.replay

    return capture


class Replays:
    """Runs named pieces of work: plainly at first, from the second round on by replaying them.

    The plain round warms up what a capture may not do, such as loading kernels.

    Attributes:
        tell: Takes the reason why a capture failed; the work then runs plainly from there on.
    """

    def __init__(self) -> None:
        self.tell: Callable[[str], None] = lambda reason: None
        self._new_capture: Callable[[], Capture] | None = None
        self._capture: Capture | None = None
        self._captured: dict[Hashable, Work] = {}

    def capture_with(self, new_capture: Callable[[], Capture] | None) -> None:
        """Settle how to capture: by what this gives; None always runs the work itself."""
        self.forget()
        self._new_capture = new_capture

    def run(self, name: Hashable, work: Work) -> None:
        """Do a piece of work; pieces of one round always run in the same order."""
        again = self._captured.get(name)
        if again is None and self._capture:
            again = self._captured_now(name, work)
        (again or work)()

    def end_round(self) -> None:
        """All pieces have run once: capture them when they run again."""
        if self._new_capture and not self._capture:
            self._capture = self._new_capture()

    def forget(self) -> None:
        """Something that was captured as a constant has changed, or memory has moved."""
        self._captured.clear()
        self._capture = None

    def _captured_now(self, name: Hashable, work: Work) -> Work | None:
        assert self._capture
        try:
            self._captured[name] = self._capture(work)
        except Exception as error:  # drivers and kernels refuse in many ways; training need not
            self.capture_with(None)
            self.tell((str(error).strip().splitlines() or [type(error).__name__])[0])
        return self._captured.get(name)
