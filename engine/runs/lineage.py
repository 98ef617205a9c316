"""Lines of history: a run that goes back begins a new branch, and the old one stays.

Branch 0 begins with the run. Every other one leaves its parent at a step: up to and with that step
its course is the parent's, after it its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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

    def holds_change(self, branch: int, step: int) -> bool:
        """Whether a setting changed at a step of a branch, so for the next step, counts in it."""
        return branch == self.branch and self.after <= step < self.up_to


def lineage(branches: Sequence[Branch], branch: int, up_to: int = END) -> list[Stretch]:
    """How a branch came to be, stretch by stretch, the oldest first.

    The first stretch begins before step 0, where a run writes its first sample.

    Args:
        branches: All of the run.
        branch: Whose course is wanted.
        up_to: The last step of interest.
    """
    by_id = {one.id: one for one in branches}
    stretches: list[Stretch] = []
    one = by_id[branch]
    while one.parent is not None:
        if one.step < up_to:
            stretches.append(Stretch(one.id, one.step, up_to))
        up_to = min(up_to, one.step)
        one = by_id[one.parent]
    return [Stretch(one.id, -1, up_to), *reversed(stretches)]


def abandoned(branches: Sequence[Branch], branch: int) -> list[Stretch]:
    """What was trained and then gone back from, as seen from a branch: the ghosts on its chart."""
    lived = {one.branch: one for one in lineage(branches, branch)}
    ghosts = []
    for one in branches:
        if one.id in lived:
            if lived[one.id].up_to < END:
                ghosts.append(Stretch(one.id, lived[one.id].up_to, END))
        else:
            ghosts.append(Stretch(one.id, one.step, END))
    return ghosts
