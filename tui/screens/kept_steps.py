"""Which steps of a run can be rewound, forked or sampled, and why others cannot."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from tui.text.numbers import format_count, format_estimate


@dataclass(frozen=True)
class Way:
    """What it takes to go to an earlier step."""

    step: int
    start: int  # of the checkpoint that training goes on from; 0 for the beginning
    seconds: float | None = None  # None if that is not known
    weights_only: bool = False  # the step has a checkpoint, but none to go on from

    @property
    def steps(self) -> int:
        """How many are trained again."""
        return self.step - self.start

    @property
    def estimate(self) -> str:
        """How long that takes, after a comma; empty if it is not known."""
        return "" if self.seconds is None else f", about {format_estimate(self.seconds)}"

    def __str__(self) -> str:
        if not self.steps:
            return ""
        first = f"steps {self.start + 1:,} to" if self.steps > 1 else "step"
        again = "are trained again" if self.steps > 1 else "is trained again"
        return f"{first} {self.step:,} {again}{self.estimate}"

    @property
    def why(self) -> str:
        """Why a step with a checkpoint is trained for again; empty if it has none."""
        if not (self.steps and self.weights_only):
            return ""
        return (
            f"Of the checkpoint of step {self.step:,} only the weights are kept, to look at.\n"
            "To go on, training needs the state of the optimizer, too."
        )

    @property
    def brief(self) -> str:
        return f"{format_count(self.steps, 'step')} trained again{self.estimate}"


@dataclass(frozen=True)
class KeptSteps:
    """The steps of a run, and those whose weights are kept."""

    fork: Callable[[int], str]  # returns the command that forks it at a step
    key_of: Callable[[str], str]  # returns the key in force of an action
    parent: str  # the run it was forked from; empty if it is no fork
    first: int  # above 0 for a fork: the steps before are the parent's
    now: int
    left: int  # the last abandoned step; 0 if there is none
    kept: tuple[int, ...]  # the steps whose weights are kept, rising
    full: tuple[int, ...] = ()  # those with all that training goes on from, rising

    def start_of(self, step: int) -> int:
        """Return the step from which training goes on to a step, itself if it is kept."""
        return max((one for one in self.full if one <= step), default=self.first)

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
        earlier = self.key_of("timeline.earlier")
        return f"the run is at step {self.now:,}: {earlier} goes to the moments before"

    def _no_weights(self, step: int) -> str:
        near = self.nearest(step)
        if not near:
            return f"the weights of step {step:,} are not kept, nor are others of this run"
        before, after = map(self.key_of, ("timeline.weights_before", "timeline.weights_after"))
        ways = [f"step {one:,} (key {before if one < step else after})" for one in near]
        return f"the weights of step {step:,} are not kept, but those of {' and '.join(ways)} are"

    def why_not_at(self, step: int) -> str:
        """Return why the cursor cannot be at a step; empty if it can."""
        if step <= max(self.now, self.left):
            return ""
        return f"the run is at step {self.now:,}, and has no step {step:,} yet"

    def _why_left(self, step: int) -> str:
        fork = self.fork(step)
        return f"step {step:,} is on the faint line, which the run has left: {fork} continues it"


def _numbers(steps: tuple[int, ...]) -> str:
    return " and ".join(f"{step:,}" for step in steps)
