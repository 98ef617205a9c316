"""What the runs screen shows and remembers, also while it is not there. No widget in sight."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.runs.catalogue import Catalogue
    from engine.runs.summary import RunSummary
    from engine.runs.trash import Trashed

DESCENDING_AT_FIRST = ("created", "step", "time", "parameters", "disk", "tags")


@dataclass(frozen=True)
class Order:
    """By what runs are sorted, and whether the largest comes first."""

    by: str = "created"
    descending: bool = True

    @property
    def arrow(self) -> str:
        """Which way."""
        return "▼" if self.descending else "▲"


class RunsView:
    """The runs of a folder, those of them that a filter lets through, their order, and the marks.

    Args:
        runs_dir: Where they are.
    """

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self.runs: list[RunSummary] | None = None  # None until they are read
        self.sizes: dict[str, int] = {}  # bytes on the disk by path
        self.marked: set[str] = set()  # paths
        self.filter = ""
        self.order = Order()
        self.trashed: list[list[Trashed]] = []  # deletion by deletion
        self.changes = 0  # made here; what was read before the last one is out of date
        self._catalogue: Catalogue | None = None
        self._lock = Lock()

    @contextmanager
    def reading(self) -> Iterator[Catalogue | None]:
        """What reads the runs, for a thread of its own; None while another thread is at it."""
        from engine.runs.catalogue import Catalogue  # numpy waits for the first look

        if not self._lock.acquire(blocking=False):
            yield None
            return
        try:
            self._catalogue = self._catalogue or Catalogue(self.runs_dir)
            yield self._catalogue
        finally:
            self._lock.release()

    def take(self, runs: list[RunSummary]) -> None:
        """These are the runs now; marks on those that are gone are forgotten."""
        self.runs = runs
        self.marked &= {run.path for run in runs}

    def forget(self, paths: set[str]) -> None:
        """These runs are gone, before anybody has read it."""
        self.changes += 1
        self.take([run for run in self.runs or () if run.path not in paths])

    def renamed(self, before: str, after: str) -> None:
        """A run has another path now, before anybody has read it."""
        self.changes += 1
        self.runs = [
            replace(run, path=after, name=Path(after).name) if run.path == before else run
            for run in self.runs or ()
        ]
        if before in self.marked:
            self.marked = self.marked - {before} | {after}

    def chosen(self) -> list[RunSummary]:
        """The runs that the filter lets through, in order."""
        if not self.runs:
            return []
        from engine.runs.selection import matches, sort_by, sort_runs

        runs = [run for run in self.runs if matches(run, self.filter)]
        if self.order.by == "disk":
            return sort_by(runs, lambda run: self.sizes.get(run.path), self.order.descending)
        return sort_runs(runs, self.order.by, self.order.descending)

    def sort_by(self, key: str) -> None:
        """By this; what is the order already is turned round, what is no order is left alone."""
        if key == self.order.by:
            self.order = replace(self.order, descending=not self.order.descending)
        elif key in _orders():
            self.order = Order(key, key in DESCENDING_AT_FIRST)

    def sort_by_next(self) -> None:
        """By what comes after the present order."""
        orders = _orders()
        self.sort_by(orders[(orders.index(self.order.by) + 1) % len(orders)])

    def why_empty(self) -> str:
        """Why there is nothing to show."""
        if self.runs is None:
            return "reading the runs …"
        if self.runs:
            return f"no run has {self.filter!r}: esc shows all of them"
        return "There are no runs yet: space in the cockpit begins one."


def _orders() -> list[str]:
    from engine.runs.selection import SORTS

    return [*SORTS, "disk"]
