"""The state of the runs screen, kept while the screen is closed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from data.errors import InputError, brief, suggest
from tui.control.run_previews import RunPreviews

if TYPE_CHECKING:
    from engine.runs.catalogue import Catalogue
    from engine.runs.selection import Filter
    from engine.runs.summary import RunSummary
    from engine.runs.transfer import Trashed
    from tui.control.preferences import Preferences

DESCENDING_AT_FIRST = ("created", "step", "time", "parameters", "disk", "tags")
AUTO = "auto"
MOST_AUTO_COLUMNS = 6
AUTO_SECTIONS = ("model", "optim", "train")  # whose settings become columns where they differ,
NEVER_AUTO = ("train.max_steps", "train.max_epochs")  # but these: the steps are a column

SETTINGS_HERE = "settings"  # where those that differ stand in an order of columns
LEFT_TO_RIGHT = ("name", "state", "loss", "best", "val", "train", "step", SETTINGS_HERE, "time",
                 "tokens", "speed", "parameters", "preset", "data", "disk", "tags", "created",
                 "note")  # fmt: skip


@dataclass(frozen=True)
class Order:
    """How runs are sorted."""

    by: str = "created"
    descending: bool = True

    @property
    def arrow(self) -> str:
        return "▼" if self.descending else "▲"


class RunsView:
    """The runs of a folder: filter, order, columns and marks."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self._preferences: Preferences | None = None
        self.runs: list[RunSummary] | None = None  # None until they are read
        self.sizes: dict[str, int] = {}  # bytes on the disk by path
        self.marked: dict[str, int] = {}  # path -> place, which letter and colour stand for
        self.order = Order()
        self.columns = AUTO  # or names with commas between them
        self.has_preview = True
        self.trashed: list[list[Trashed]] = []  # deletion by deletion
        self.changes = 0  # counts changes made here, which outdate what was read before
        self.previews = RunPreviews()
        self._filter: Filter | None = None
        self._catalogue: Catalogue | None = None
        self._lock = Lock()

    # -- what is remembered ----------------------------------------------------------------------

    def use(self, preferences: Preferences) -> None:
        """Begin with what is remembered; from then on, `remember` writes it."""
        if self._preferences is None:
            self._preferences = preferences
            self.columns = preferences.get("runs.columns") or AUTO
            self.has_preview = preferences.get("runs.preview")
            by = preferences.get("runs.sort")
            self.order = Order(by.removeprefix("-"), by.startswith("-"))

    def remember(self) -> None:
        """Write down columns, order and preview, where they have changed.

        Raises:
            InputError: The file of the preferences cannot be written.
        """
        now = {
            "runs.columns": self.columns,
            "runs.sort": f"{'-' if self.order.descending else ''}{self.order.by}",
            "runs.preview": self.has_preview,
        }
        for name, value in now.items():
            if self._preferences and self._preferences.get(name) != value:
                self._preferences.set(name, value)

    # -- reading ---------------------------------------------------------------------------------

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
        there = {run.path for run in runs}
        self.marked = {path: place for path, place in self.marked.items() if path in there}

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
            self.marked[after] = self.marked.pop(before)

    # -- marks -----------------------------------------------------------------------------------

    def mark(self, paths: Iterable[str]) -> None:
        """Mark runs: each gets the first free place, and keeps it as long as it is marked."""
        for path in paths:
            if path not in self.marked:
                self.marked[path] = self.free_place()

    def unmark(self, paths: Iterable[str]) -> None:
        for path in paths:
            self.marked.pop(path, None)

    def toggle_mark(self, path: str) -> None:
        (self.unmark if path in self.marked else self.mark)([path])

    def free_place(self) -> int:
        taken = set(self.marked.values())
        return next(place for place in range(len(taken) + 1) if place not in taken)

    # -- which runs, and in which order ----------------------------------------------------------

    @property
    def filter(self) -> str:
        """The filter as it was typed; empty if there is none."""
        return self._filter.text if self._filter else ""

    def filter_by(self, text: str) -> None:
        """Show only runs that match a filter.

        Raises:
            InputError: It makes no sense; the last one stays.
        """
        from engine.runs.selection import parse_filter

        self._filter = parse_filter(text) if text else None

    def chosen(self) -> list[RunSummary]:
        """Return the runs that match the filter, in order."""
        if not self.runs:
            return []
        from engine.runs.selection import sort_by, sort_runs

        runs = list(filter(self._filter.matches, self.runs)) if self._filter else self.runs
        if self.order.by == "disk":
            return sort_by(runs, lambda run: self.sizes.get(run.path), self.order.descending)
        return sort_runs(runs, self.order.by, self.order.descending)

    def sort_by(self, key: str) -> None:
        """Sort by a key, or reverse the order if that is the key; ignore unknown keys."""
        if key == self.order.by:
            self.order = replace(self.order, descending=not self.order.descending)
        elif can_sort_by(key):
            self.order = Order(key, key in DESCENDING_AT_FIRST)

    # -- columns ---------------------------------------------------------------------------------

    def shown_settings(self, runs: Iterable[RunSummary]) -> list[str]:
        """Return the keys of the settings that are columns: the chosen ones, or what differs."""
        from engine.runs.fields import differing_keys

        if self.columns != AUTO:
            return [key for key in self.chosen_columns() if key not in LEFT_TO_RIGHT]
        keys = [
            key
            for key in differing_keys(runs)
            if key.partition(".")[0] in AUTO_SECTIONS and key not in NEVER_AUTO
        ]
        return keys[:MOST_AUTO_COLUMNS]

    def chosen_columns(self) -> list[str]:
        """Return the keys of the chosen columns; empty if the program chooses."""
        return [] if self.columns == AUTO else column_keys(self.columns)

    def why_empty(self, key_of: Callable[[str], str]) -> str:
        """Return why no run is shown.

        Args:
            key_of: Returns the key of an action, by its id in the key table.
        """
        if self.runs is None:
            return "reading the runs …"
        if self.runs:
            return (
                f"no run matches {self.filter!r}: {key_of('runs.back')} shows all of them, "
                f"{key_of('runs.filter')} changes it"
            )
        return f"There are no runs yet: {key_of('cockpit.train')} in the cockpit starts one."


def column_keys(names: str) -> list[str]:
    """Return the keys of columns: their own, or those of settings.

    Args:
        names: With commas between them; of settings any name.

    Raises:
        InputError: There is no such column.
    """
    from engine.runs.fields import FIELDS

    keys = []
    for name in filter(None, (one.strip() for one in names.split(","))):
        is_setting = name in FIELDS and FIELDS[name].setting
        if name == SETTINGS_HERE or not (name in LEFT_TO_RIGHT or is_setting):
            known = [one for one in LEFT_TO_RIGHT if one != SETTINGS_HERE]
            near = [*known, *(one for one, field in FIELDS.items() if field.setting)]
            hint = suggest(name, near, f"there are {', '.join(known)} and any setting")
            raise InputError(f"the table of runs has no column {brief(name)}: {hint}")
        keys.append(name if name in LEFT_TO_RIGHT else FIELDS[name].setting)
    return keys


def can_sort_by(key: str) -> bool:
    from engine.runs.fields import FIELDS, SORTS

    return key in SORTS or key == "disk" or (key in FIELDS and bool(FIELDS[key].setting))


def check_sort(key: str) -> None:
    """Check that the table of runs can be sorted by a key.

    Raises:
        InputError: It cannot.
    """
    from engine.runs.fields import sort_key

    if not can_sort_by(key):
        sort_key(key)  # raises: it knows what was meant
