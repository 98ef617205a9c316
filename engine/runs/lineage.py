"""Branches: a run that is rewound begins a new branch, and the old one stays.

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
from engine.runs.records import JournalEntry

END = 2**62  # no run has so many steps


@dataclass(frozen=True)
class Branch:
    id: int  # 0 for the first
    parent: int | None  # the branch it left; None for the first
    step: int  # where it left it
    created: float  # seconds since 1970


@dataclass(frozen=True)
class Segment:
    """The steps of ``branch`` after ``after``, up to and including ``up_to``."""

    branch: int
    after: int
    up_to: int


@dataclass(frozen=True)
class SettingsChange:
    """Live settings that were changed between two steps."""

    id: int
    step: int  # the one done last before they took effect
    changes: dict[str, list[Any]]  # key -> [from, to]
    clock: bool = False  # train.max_minutes made it, and no person

    @property
    def values(self) -> dict[str, Any]:
        return {key: pair[1] for key, pair in self.changes.items()}


class Lineage:
    """The history of a branch: segments of it and of the branches it came from, the oldest first.

    The first one begins before step 0, where a run writes its first sample.
    """

    def __init__(self, branches: Sequence[Branch], branch: int, up_to: int = END) -> None:
        self._branches = branches
        by_id = {one.id: one for one in branches}
        segments: list[Segment] = []
        one = by_id[branch]
        while one.parent is not None:
            if one.step < up_to:
                segments.append(Segment(one.id, one.step, up_to))
            up_to = min(up_to, one.step)
            one = by_id[one.parent]
        segments.append(Segment(one.id, -1, up_to))
        self.segments = tuple(reversed(segments))

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)

    @property
    def branch(self) -> int:
        """The branch of its last step."""
        return self.segments[-1].branch

    def holds_moment(self, branch: int, step: int) -> bool:
        """Return whether what a branch recorded at a step (a checkpoint, a loss) is in the lineage.

        A branch also records things at the step it begins with, which its parent trained.
        """
        return any(one.branch == branch and one.after <= step <= one.up_to for one in self)

    def holds_checkpoint(self, path: Path) -> bool:
        return self.holds_moment(branch_of(path), step_of(path))

    def holds_change(self, branch: int, step: int) -> bool:
        """Return whether a setting changed after a step of a branch is in force."""
        return any(one.branch == branch and one.after <= step < one.up_to for one in self)

    def changes(self, adjusted: Iterable[JournalEntry]) -> Iterator[SettingsChange]:
        """Yield the changes of settings in the lineage, from ``adjusted`` entries of a journal."""
        for entry in adjusted:
            if self.holds_change(entry["branch"], entry["step"]):
                detail = entry["detail"]
                clock = detail.get("clock", False)
                yield SettingsChange(entry["id"], entry["step"], detail["changes"], clock)

    def abandoned(self) -> list[Segment]:
        """Return the segments that the run was rewound from: the ghosts on the chart."""
        ends = {one.branch: one.up_to for one in self}
        left = [Segment(one.id, ends.get(one.id, one.step), END) for one in self._branches]
        return [one for one in left if one.after < END]
