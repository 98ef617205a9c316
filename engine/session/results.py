"""Results of steps, fetched from the device now and then: the one place that waits for a GPU."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import torch

from engine.session.advisor import Advisor
from engine.session.outlet import Outlet
from engine.session.run_state import RunState
from engine.session.saving import Saving
from engine.training.trainer import StepResult

EXPECTED_OVERFLOWS = 20  # in a row, while fp16's loss scale finds its place


@dataclass(frozen=True)
class _Unread:
    """A step whose loss is still on the device, and the clock when it was handed over."""

    result: StepResult
    train_seconds: float
    tokens_per_second: float


class Results:
    """Keeps results until they are read, records them, and pauses at those that are no numbers."""

    def __init__(
        self, run_state: RunState, outlet: Outlet, saving: Saving, advisor: Advisor
    ) -> None:
        self._run_state, self._outlet = run_state, outlet
        self._saving, self._advisor = saving, advisor
        self._unread: deque[_Unread] = deque()
        self._overflows = 0  # steps in a row

    def __len__(self) -> int:
        return len(self._unread)

    def add(self, result: StepResult) -> None:
        """Take a step's result as it is, without waiting for it; the pace knows of it already."""
        throughput = self._run_state.throughput
        self._unread.append(_Unread(result, throughput.train_seconds, throughput.tokens_per_second))

    def read(self) -> None:
        """Fetch all losses and gradient norms and record them."""
        if not self._unread:
            return
        steps, self._unread = list(self._unread), deque()
        on_device = [(one.result.loss.float(), one.result.grad_norm.float()) for one in steps]
        # one copy for all of them, and so one wait
        figures = torch.stack([figure for pair in on_device for figure in pair]).view(-1, 2)
        losses_and_norms = figures.tolist()
        for one, (loss, norm) in zip(steps, losses_and_norms, strict=True):
            self._record(one, loss, norm)
        for one, (loss, norm) in zip(steps, losses_and_norms, strict=True):
            if self._is_broken(loss, norm):
                self._stop(one.result.step, "gradient" if math.isfinite(loss) else "loss")
                return

    def _record(self, one: _Unread, loss: float, norm: float) -> None:
        run_state, result = self._run_state, one.result
        figures = {
            "train_loss": loss,
            "grad_norm": norm,
            "learning_rate": result.learning_rate,
            "tokens_per_second": one.tokens_per_second,
            "train_seconds": one.train_seconds,
        }
        run_state.recorder.record(result.step, figures)
        run_state.losses.train_loss = loss

    def _stop(self, step: int, what: str) -> None:
        """The update of a broken step was left out; whether to go on is for the person to say."""
        self._saving.collect(None)  # one that is being written is one to go back to
        self._advisor.tell_non_finite(step, what)
        self._outlet.pause()

    def _is_broken(self, loss: float, norm: float) -> bool:
        overflow = math.isfinite(loss) and not math.isfinite(norm)
        self._overflows = self._overflows + 1 if overflow else 0
        expected = self._run_state.trainer.loss_scale and self._overflows <= EXPECTED_OVERFLOWS
        return not math.isfinite(loss) or (overflow and not expected)
