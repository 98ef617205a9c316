"""The state of the runs screen, kept while the screen is closed."""

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
    from engine.runs.transfer import Trashed

DESCENDING_AT_FIRST = ("created", "step", "time", "parameters", "disk", "tags")


@dataclass(frozen=True)
class Order:
    """How runs are sorted."""

    by: str = "created"
    descending: bool = True

    @property
    def arrow(self) -> str:
        return "▼" if self.descending else "▲"


class RunsView:
    """The runs of a folder: filter, order and marks."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self.runs: list[RunSummary] | None = None  # None until they are read
        self.sizes: dict[str, int] = {}  # bytes on the disk by path
        self.marked: set[str] = set()  # paths
        self.filter = ""
        self.order = Order()
        self.trashed: list[list[Trashed]] = []  # deletion by deletion
        self.changes = 0  # counts changes made here, which outdate what was read before
        self._catalogue: Catalogue | None = None
        self._lock = Lock()

    @contextmanager
    def reading(self) -> Iterator[Catalogue | None]:
        """Yield the reader of the runs; None while another thread uses it."""
        from engine.runs.catalogue import Catalogue  # imports numpy

        if not self._lock.acquire(blocking=False):
            yield None
            return
        try:
            self._catalogue = self._catalogue or Catalogue(self.runs_dir)
            yield self._catalogue
        finally:
            self._lock.release()

    def take(self, runs: list[RunSummary]) -> None:
        """Set the runs; remove the marks of deleted ones."""
        self.runs = runs
        self.marked &= {run.path for run in runs}

    def forget(self, paths: set[str]) -> None:
        """Remove deleted runs before they are read again."""
        self.changes += 1
        self.take([run for run in self.runs or () if run.path not in paths])

    def renamed(self, before: str, after: str) -> None:
        """Change the path of a renamed run before it is read again."""
        self.changes += 1
        self.runs = [
            replace(run, path=after, name=Path(after).name) if run.path == before else run
            for run in self.runs or ()
        ]
        if before in self.marked:
            self.marked = self.marked - {before} | {after}

    def chosen(self) -> list[RunSummary]:
        """Return the runs that match the filter, in order."""
        if not self.runs:
            return []
        from engine.runs.selection import matches, sort_by, sort_runs

        runs = [run for run in self.runs if matches(run, self.filter)]
        if self.order.by == "disk":
            return sort_by(runs, lambda run: self.sizes.get(run.path), self.order.descending)
        return sort_runs(runs, self.order.by, self.order.descending)

    def sort_by(self, key: str) -> None:
        """Sort by a key, or reverse the order if that is the key; ignore unknown keys."""
        if key == self.order.by:
            self.order = replace(self.order, descending=not self.order.descending)
        elif key in _orders():
            self.order = Order(key, key in DESCENDING_AT_FIRST)

    def sort_by_next(self) -> None:
        orders = _orders()
        self.sort_by(orders[(orders.index(self.order.by) + 1) % len(orders)])

    def why_empty(self) -> str:
        if self.runs is None:
            return "reading the runs …"
        if self.runs:
            return f"no run has {self.filter!r}: esc shows all of them"
        return "There are no runs yet: space in the cockpit starts one."


def _orders() -> list[str]:
    from engine.runs.selection import SORTS

    return [*SORTS, "disk"]
