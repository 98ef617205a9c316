"""Results of steps, fetched from the device now and then: the one place that waits for a GPU."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import torch

from engine.course import Course
from engine.trainer import StepResult

EXPECTED_OVERFLOWS = 20  # in a row, while fp16's loss scale finds its place


class Readout:
    """Keeps results until they are read, records them, and tells of those that are no numbers.

    Args:
        course: Whose steps these are.
        broken: Takes the step and ``loss`` or ``gradient``; its update was left out.
    """

    def __init__(self, course: Course, broken: Callable[[int, str], None]) -> None:
        self._course, self._broken = course, broken
        self._unread: deque[StepResult] = deque()
        self._overflows = 0  # steps in a row

    def __len__(self) -> int:
        return len(self._unread)

    def add(self, result: StepResult) -> None:
        """Take a step's result as it is, without waiting for it."""
        self._unread.append(result)

    def read(self) -> None:
        """Fetch all losses and gradient norms and record them."""
        if not self._unread:
            return
        results, self._unread = list(self._unread), deque()
        losses = torch.stack([r.loss.float() for r in results]).tolist()
        norms = torch.stack([r.grad_norm.float() for r in results]).tolist()
        for result, loss, norm in zip(results, losses, norms, strict=True):
            self._record(result, loss, norm)
        for result, loss, norm in zip(results, losses, norms, strict=True):
            if self._is_broken(loss, norm):
                self._broken(result.step, "gradient" if math.isfinite(loss) else "loss")
                return

    def _record(self, result: StepResult, loss: float, norm: float) -> None:
        course = self._course
        figures = {
            "train_loss": loss,
            "grad_norm": norm,
            "learning_rate": result.learning_rate,
            "tokens_per_second": course.pace.tokens_per_second,
            "train_seconds": course.pace.train_seconds,
        }
        course.recorder.record(result.step, figures)
        course.standing.train_loss = loss

    def _is_broken(self, loss: float, norm: float) -> bool:
        overflow = math.isfinite(loss) and not math.isfinite(norm)
        self._overflows = self._overflows + 1 if overflow else 0
        expected = self._course.trainer.loss_scale and self._overflows <= EXPECTED_OVERFLOWS
        return not math.isfinite(loss) or (overflow and not expected)
