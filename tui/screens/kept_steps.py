"""Which steps of a run can be rewound, forked or sampled, and why others cannot."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass


@dataclass(frozen=True)
class KeptSteps:
    """The steps of a run, and those whose weights are kept."""

    fork: str  # the command that forks it, without the step
    parent: str  # the run it was forked from; empty if it is no fork
    first: int  # above 0 for a fork: the steps before are the parent's
    now: int
    left: int  # the last abandoned step; 0 if there is none
    kept: tuple[int, ...]  # the steps whose weights are kept, rising

    def is_inherited(self, step: int) -> bool:
        return step < self.first

    def nearest(self, step: int) -> tuple[int, ...]:
        """Return the nearest steps with kept weights, before and after a step."""
        before = self.kept[: bisect_left(self.kept, step)][-1:]
        return before + self.kept[bisect_right(self.kept, step) :][:1]

    def weights(self, step: int) -> str:
        """Return where the nearest weights are, for a step that has none."""
        if self.is_inherited(step):
            return f"of {self.parent}"
        if step == self.now:
            return ""
        near = self.nearest(step)
        return f"no weights; kept at {_numbers(near)}" if near else "no weights are kept"

    def why_not(self, action: str, step: int) -> str:
        """Return why rewind, fork, sample or pin is impossible; empty if it is possible."""
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
        return f"the weights of step {step:,} are not kept, but those of {' and '.join(ways)} are"

    def why_not_at(self, step: int) -> str:
        """Return why the cursor cannot be at a step; empty if it can."""
        if step <= max(self.now, self.left):
            return ""
        return f"the run is at step {self.now:,}, and has no step {step:,} yet"

    def _why_left(self, step: int) -> str:
        at = min(step, self.left - 1)  # a fork at the very end may have nothing to train
        fork = f": {self.fork} --at {at} continues it" if at > self.now else ""
        return f"step {step:,} is on the faint line, which the run has left{fork}"


def _numbers(steps: tuple[int, ...]) -> str:
    return " and ".join(f"{step:,}" for step in steps)
