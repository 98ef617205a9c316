"""What of a run's past can be had, and what to say where something cannot."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass


@dataclass(frozen=True)
class KeptSteps:
    """How far the past of a run reaches.

    Attributes:
        fork: The command that forks it, but for the step.
        parent: The name of the run it was forked from; empty if it is no fork.
        first: Its first step, above 0 for a fork: what lies before is the parent's.
        now: Where it stands.
        left: The last step that it ever had and went back from; 0 if there is none.
        kept: The steps whose weights are kept, rising.
    """

    fork: str
    parent: str
    first: int
    now: int
    left: int
    kept: tuple[int, ...]

    def is_inherited(self, step: int) -> bool:
        """Whether a step was trained by the parent."""
        return step < self.first

    def nearest(self, step: int) -> tuple[int, ...]:
        """The steps with kept weights next to one, before and after it."""
        before = self.kept[: bisect_left(self.kept, step)][-1:]
        return before + self.kept[bisect_right(self.kept, step) :][:1]

    def weights(self, step: int) -> str:
        """In a few words where weights are, for a step that has none."""
        if self.is_inherited(step):
            return f"of {self.parent}"
        if step == self.now:
            return ""
        near = self.nearest(step)
        return f"no weights; kept at {_numbers(near)}" if near else "no weights are kept"

    def why_not(self, action: str, step: int) -> str:
        """Why a step cannot be gone back to, forked, sampled from or kept, and what can be done.

        Args:
            action: rewind, fork, sample or pin.
            step: Where.

        Returns:
            Nothing if it can.
        """
        if self.is_inherited(step):
            return (
                f"step {step:,} is of {self.parent}, from which this run was forked at step "
                f"{self.first:,}: {self.parent}'s own timeline has it"
            )
        if self.now < step <= self.left:
            return self._why_left(step)
        if action in ("sample", "pin"):
            in_memory = step == self.now and action == "sample"
            return "" if in_memory or step in self.kept else self._no_weights(step)
        if step < self.now or (step == self.now and action == "fork"):
            return ""
        return f"the run is at step {self.now:,}: ← goes to the moments before, to go back to"

    def _no_weights(self, step: int) -> str:
        near = self.nearest(step)
        if not near:
            return f"the weights of step {step:,} are not kept, nor are others of this run"
        ways = [f"step {one:,} (key {',' if one < step else '.'})" for one in near]
        return f"the weights of step {step:,} are not kept; there are those of {' and '.join(ways)}"

    def why_not_at(self, step: int) -> str:
        """Why the cursor cannot stand at a step; nothing if it can."""
        if step <= max(self.now, self.left):
            return ""
        return f"the run is at step {self.now:,}, and has no step {step:,} yet"

    def _why_left(self, step: int) -> str:
        """What can be done with a step of what the run has left."""
        at = min(step, self.left - 1)  # its very end may leave a fork nothing to do
        fork = f": {self.fork} --at {at} takes it up" if at > self.now else ""
        return f"step {step:,} is on the faint line, which the run has left{fork}"


def _numbers(steps: tuple[int, ...]) -> str:
    return " and ".join(f"{step:,}" for step in steps)
