"""Measure throughput, and limit how far the host runs ahead of a GPU."""

from __future__ import annotations

import time
from collections import deque

import torch

SPEED_SECONDS = 3.0  # tokens per second are averaged over this much training time
SETTLING_SECONDS = 1.0  # after a change of the step size, before a speed is shown
READ_SECONDS = 0.1  # losses are copied from a GPU at most this late …
READ_STEPS = 64  # … or after this many steps
STILL_SECONDS, BUSY_SHARE = 5.0, 0.05  # longer with less processor time than this stands still
STEPS_AHEAD = 2  # steps queued on the GPU; with more of them a pause would take effect late


class Stopwatch:
    """Measures the time of a quantum, without that in which the process was stopped or slept.

    While it is stopped (SIGSTOP, Ctrl-Z, a laptop that is closed) it uses no processor time.
    """

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def seconds(self) -> float:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        stood_still = wall > STILL_SECONDS and cpu < BUSY_SHARE * wall
        return cpu if stood_still else wall


class Throughput:
    """Measures training time, without evaluation, sampling and saving, and tokens per second."""

    def __init__(self) -> None:
        self.train_seconds = 0.0
        self.tokens_per_second = 0.0
        self._recent: deque[tuple[float, int]] = deque()  # (train_seconds, tokens)
        self._tokens_per_step: int | None = None
        self._settled_at = 0.0  # in train_seconds
        self._last_read = time.perf_counter()
        self._read_until = 0.0  # train_seconds at the end of the last step that was read
        self._queued: deque[torch.cuda.Event] = deque()

    def restart(self, train_seconds: float) -> None:
        """Continue from this much training time, and measure the speed again."""
        self.train_seconds = self._settled_at = self._read_until = train_seconds
        self._forget_speed()

    def expect(self, tokens_per_step: int) -> None:
        """Set the number of tokens of the next step.

        If it changes, the speed is measured again, and is 0 for the first second: the first step of
        another size may be slow.
        """
        before, self._tokens_per_step = self._tokens_per_step, tokens_per_step
        if before not in (None, tokens_per_step):
            self._settled_at = self.train_seconds + SETTLING_SECONDS
            self._forget_speed()

    def _forget_speed(self) -> None:
        self.tokens_per_second = 0.0
        self._recent.clear()

    def add(self, seconds: float, tokens: int | None = None) -> None:
        """Add the time of a quantum; at the end of a step, pass the tokens seen so far."""
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
        """Wait, after queuing a step on a GPU, until at most ``STEPS_AHEAD`` are unfinished."""
        if device.type != "cuda":
            return
        event: torch.cuda.Event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()  # reached when the GPU has finished the step
        self._queued.append(event)
        if len(self._queued) > STEPS_AHEAD:
            self._queued.popleft().synchronize()

    def ends_of(self, steps: int, last: float) -> list[float]:
        """Return the training time at the end of each step that was read at once.

        A GPU takes the steps between two reads one after another, but the host sees only when the
        last one was done: each gets the same share.

        Args:
            steps: How many there are since the last time.
            last: The training time at the end of the last one.
        """
        first, self._read_until = self._read_until, last
        ends = [first + (last - first) * number / steps for number in range(1, steps)]
        return [*ends, last]

    def should_read(self, unread: int, device: torch.device) -> bool:
        """Return whether to copy the ``unread`` results from the device now.

        Each copy waits for a GPU, so results are read in batches.
        """
        now = time.perf_counter()
        if device.type != "cpu" and unread < READ_STEPS and now - self._last_read < READ_SECONDS:
            return False
        self._last_read = now
        return True
