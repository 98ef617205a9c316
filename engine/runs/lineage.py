"""Lines of history: a run that goes back begins a new branch, and the old one stays.

Branch 0 begins with the run. Every other one leaves its parent at a step: up to and with that step
it is what its parent was, after it its own. What was noted in the state of that step itself (a
checkpoint, a sample, an evaluation) may stand on either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.runs.checkpoint_names import branch_of, step_of

END = 2**62  # no run has so many steps


@dataclass(frozen=True)
class Branch:
    """A line of history.

    Attributes:
        id: 0 for the first.
        parent: The branch it left; None for the first.
        step: Where it left it.
        created: Seconds since 1970.
    """

    id: int
    parent: int | None
    step: int
    created: float


@dataclass(frozen=True)
class Stretch:
    """The steps after ``after``, up to and with ``up_to``, as ``branch`` took them."""

    branch: int
    after: int
    up_to: int


@dataclass(frozen=True)
class SettingsChange:
    """Live settings that were changed between two steps.

    Attributes:
        id: Of the journal's entry.
        step: The one done last before they took effect.
        changes: key -> [from, to].
    """

    id: int
    step: int
    changes: dict[str, list[Any]]

    @property
    def values(self) -> dict[str, Any]:
        """What the settings were changed to."""
        return {key: pair[1] for key, pair in self.changes.items()}


class Lineage:
    """How a branch came to be: stretches of history, the oldest first.

    The first one begins before step 0, where a run writes its first sample.

    Args:
        branches: All of the run.
        branch: Whose past is wanted.
        up_to: The last step of interest.
    """

    def __init__(self, branches: Sequence[Branch], branch: int, up_to: int = END) -> None:
        self._branches = branches
        by_id = {one.id: one for one in branches}
        stretches: list[Stretch] = []
        one = by_id[branch]
        while one.parent is not None:
            if one.step < up_to:
                stretches.append(Stretch(one.id, one.step, up_to))
            up_to = min(up_to, one.step)
            one = by_id[one.parent]
        stretches.append(Stretch(one.id, -1, up_to))
        self.stretches = tuple(reversed(stretches))

    def __iter__(self) -> Iterator[Stretch]:
        return iter(self.stretches)

    @property
    def branch(self) -> int:
        """The branch that its last step is on."""
        return self.stretches[-1].branch

    def holds_step(self, branch: int, step: int) -> bool:
        """Whether a step of a branch was taken on the way."""
        return any(one.branch == branch and one.after < step <= one.up_to for one in self)

    def holds_moment(self, branch: int, step: int) -> bool:
        """Whether what a branch noted at a step (weights, a sample, a loss) is of the way.

        A branch also notes things at the step it begins with, which its parent took.
        """
        return any(one.branch == branch and one.after <= step <= one.up_to for one in self)

    def holds_checkpoint(self, path: Path) -> bool:
        """Whether a checkpoint was written on the way."""
        return self.holds_moment(branch_of(path), step_of(path))

    def holds_change(self, branch: int, step: int) -> bool:
        """Whether a setting changed at a step of a branch, so for the next step, counts."""
        return any(one.branch == branch and one.after <= step < one.up_to for one in self)

    def changes(self, adjusted: Iterable[dict[str, Any]]) -> Iterator[SettingsChange]:
        """The changes of settings on the way, among the ``adjusted`` entries of a journal."""
        for entry in adjusted:
            if self.holds_change(entry["branch"], entry["step"]):
                yield SettingsChange(entry["id"], entry["step"], entry["detail"]["changes"])

    def abandoned(self) -> list[Stretch]:
        """What was trained and then gone back from: the ghosts on the branch's chart."""
        ends = {one.branch: one.up_to for one in self}
        left = [Stretch(one.id, ends.get(one.id, one.step), END) for one in self._branches]
        return [one for one in left if one.after < END]
