"""``train.max_minutes``: the last step of a run that ends by the clock, and its schedule with it.

The end is planned from the speed, again and again, as a change of ``train.max_steps`` that the
journal keeps with its step. So the learning rate falls as planned whatever the speed, and a run
that is resumed or replayed takes the same steps at the same rates, on any machine.
"""

from __future__ import annotations

from engine.config.schema import MOST_STEPS
from engine.session.run_state import RunState

KEY = "train.max_steps"
SETTLING_STEPS = 2  # of a session, which may compile something
LOOKS = 20  # how often the plan is looked at, at least, in the time of a run
LONGEST_LOOK = 60.0  # seconds between two looks
TOLERANCE = 0.02  # of the length, that a plan may be wrong by


class TimeLimit:
    """Plans the last step of a run; of seconds of training, as ``Throughput`` counts them.

    Args:
        taken_before: The last step that was taken before the run was opened, as it may have been
            killed: up to there it goes the same way again.
    """

    def __init__(self, run_state: RunState, taken_before: int) -> None:
        self._run_state, self._taken_before = run_state, taken_before
        self._first_step = run_state.step + SETTLING_STEPS
        self._from: tuple[int, float] | None = None  # step and seconds since which speed counts
        self._next: tuple[int, float] | None = None  # the same, at the latest look
        self._looked = 0.0  # seconds at the latest look

    @property
    def _seconds(self) -> float:
        return self._run_state.throughput.train_seconds

    def planned(self, minutes: float) -> int:
        """Return the last step that can be taken in a number of minutes, at the present speed."""
        step = self._run_state.step
        left = minutes * 60 - self._seconds
        if left <= 0:
            return step
        pace = self._seconds_per_step()
        if not pace:  # nothing is known yet: the plan that there is, or one step to begin with
            return max(step + 1, self._run_state.trainer.config.train.max_steps)
        return min(MOST_STEPS, step + max(1, round(left / pace)))

    def new_end(self) -> int | None:
        """Return another last step than is planned; None if the plan is good. After each step."""
        run_state, limit = self._run_state, self._run_state.trainer.config.train.max_minutes * 60
        if not limit or run_state.step <= self._taken_before:
            return None
        step, end, seconds = run_state.step, run_state.trainer.total_steps, self._seconds
        if self._from is None and step >= self._first_step:
            self._from = self._next = step, seconds
        if seconds >= limit:
            return step if end != step else None
        is_over = step >= end
        pause = min(LONGEST_LOOK, limit / LOOKS)
        if not is_over and (self._from is None or seconds < self._looked + pause):
            return None
        if is_over and limit - seconds < TOLERANCE * limit:
            return None  # as good as at the limit
        planned = self.planned(limit / 60)
        self._looked = seconds
        if self._next and step > self._next[0]:  # the speed of the last two pauses counts
            self._from, self._next = self._next, (step, seconds)
        return planned if is_over or abs(planned - end) > TOLERANCE * end else None

    def _seconds_per_step(self) -> float:
        step, seconds = self._run_state.step, self._seconds
        if self._from and step > self._from[0]:
            return (seconds - self._from[1]) / (step - self._from[0])
        return seconds / step if step else 0.0
