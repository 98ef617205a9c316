"""How fast training goes, and how far the host may run ahead of a GPU."""

from __future__ import annotations

import time
from collections import deque

import torch

SPEED_SECONDS = 3.0  # the speed shown is that of the last few seconds of training
SETTLING_SECONDS = 1.0  # so long after steps of another size begin, no speed is told
READ_SECONDS = 0.1  # losses are fetched from a GPU this often
READ_STEPS = 64
STEPS_AHEAD = 2  # a pause is prompt only if few steps are queued on the GPU


class Throughput:
    """Counts training time (evaluation, sampling and saving left out) and speed."""

    def __init__(self) -> None:
        self.train_seconds = 0.0
        self.tokens_per_second = 0.0
        self._recent: deque[tuple[float, int]] = deque()  # (train_seconds, tokens)
        self._tokens_per_step: int | None = None
        self._settled_at = 0.0  # in train_seconds
        self._last_read = time.perf_counter()
        self._queued: deque[torch.cuda.Event] = deque()

    def restart(self, train_seconds: float) -> None:
        """Go on counting from so many seconds; the speed of before says nothing any more."""
        self.train_seconds, self._settled_at = train_seconds, train_seconds
        self._forget_speed()

    def expect(self, tokens_per_step: int) -> None:
        """Say how many tokens the next step takes.

        If they are others than before, so is the speed: it is measured anew, and is 0 until the
        first such step, which may be slow, and a moment are over.
        """
        before, self._tokens_per_step = self._tokens_per_step, tokens_per_step
        if before not in (None, tokens_per_step):
            self._settled_at = self.train_seconds + SETTLING_SECONDS
            self._forget_speed()

    def _forget_speed(self) -> None:
        self.tokens_per_second = 0.0
        self._recent.clear()

    def add(self, seconds: float, tokens: int | None = None) -> None:
        """Count a quantum; with ``tokens``, those seen so far, the end of a step."""
        self.train_seconds += seconds
        if tokens is None:
            return
        recent = self._recent
        recent.append((self.train_seconds, tokens))
        while len(recent) > 2 and recent[0][0] < self.train_seconds - SPEED_SECONDS:
            recent.popleft()
        elapsed = recent[-1][0] - recent[0][0]
        if elapsed > 0 and self.train_seconds >= self._settled_at:
            self.tokens_per_second = (recent[-1][1] - recent[0][1]) / elapsed

    def mark_step(self, device: torch.device) -> None:
        """After a step was queued on a GPU: wait until at most ``STEPS_AHEAD`` are."""
        if device.type != "cuda":
            return
        event: torch.cuda.Event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        self._queued.append(event)
        if len(self._queued) > STEPS_AHEAD:
            self._queued.popleft().synchronize()

    def should_read(self, unread: int) -> bool:
        """Whether it is time to fetch results from the device."""
        now = time.perf_counter()
        if unread < READ_STEPS and now - self._last_read < READ_SECONDS:
            return False
        self._last_read = now
        return True
