"""The records of a run for a client on another machine: read where it is trained, and kept there.

The copy is a run's folder with all that the screens read from one, but for the weights. Curves of
other metrics than the losses come with each ``Update``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

from msgspec import structs

from data.files import remove_tree, write_atomically
from data.reading import read_regular
from engine.config.schema import MOST_BYTES
from engine.remote.wire import Points, Records, rows_from_bytes, rows_to_bytes
from engine.runs.checkpoint_names import (
    CHECKPOINTS_FOLDER,
    LARGEST_MANIFEST,
    MANIFEST_FILE,
    is_checkpoint_name,
    is_pinned,
    list_snapshots,
    pin,
    unpin,
)
from engine.runs.database import RunDatabase, reading
from engine.runs.folder import CONFIG_FILE, DATABASE_FILE, NAME_PATTERN
from engine.runs.sqlite import BESIDE

CURVES = ("train_loss", "val_loss")  # of branches that were left, too


class RecordsReader:
    """Reads what is new in a run's folder since the last time."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._read: dict[str, int] = {"samples": 0, "journal": 0}  # the newest row of each table
        self._steps: dict[tuple[int, str], int] = {}  # the newest of each curve
        self._last: Records | None = None

    def news(self) -> Records | None:
        """Return what is new; None if nothing is.

        Raises:
            InputError: The run's database cannot be read.
            OSError: Its settings cannot be read.
        """
        with reading(self._run) as database, database.one_moment():
            branches = database.stored("branches")
            found = Records(
                read_regular(self._run / CONFIG_FILE, MOST_BYTES).decode(errors="replace"),
                dict(database.meta()),
                branches,
                database.stored("samples", self._read["samples"]),
                database.stored("journal", self._read["journal"]),
                list(self._curves(database, [number for number, *_ in branches])),
                _manifests(self._run),
                [path.name for path in list_snapshots(self._run) if is_pinned(path)],
            )
        for table in self._read:
            if rows := getattr(found, table):
                self._read[table] = rows[-1][0]
        before, self._last = self._last, structs.replace(found, samples=[], journal=[], curves=[])
        if before == found:  # which has no new rows either
            return None
        same = before and (before.checkpoints, before.pinned) == (found.checkpoints, found.pinned)
        return structs.replace(found, checkpoints=None) if same else found

    def _curves(self, database: RunDatabase, branches: Iterable[int]) -> Iterable[Points]:
        for branch in branches:
            for name in CURVES:
                last = self._steps.get((branch, name), -1)
                steps, values = database.metric(branch, name, last)
                if len(steps):
                    self._steps[branch, name] = int(steps[-1])
                    yield Points(branch, name, *rows_to_bytes(steps, values))


def _manifests(run: Path) -> dict[str, str]:
    found = {}
    for path in list_snapshots(run):
        with suppress(OSError):  # it is being deleted
            body = read_regular(path / MANIFEST_FILE, LARGEST_MANIFEST)
            found[path.name] = body.decode(errors="replace")
    return found


class RecordsCopy:
    """A run's folder on this machine, filled with what another one tells.

    Args:
        name: Of the run.
    """

    def __init__(self, name: str) -> None:
        self._around = tempfile.TemporaryDirectory(prefix="gpt-tui-", ignore_cleanup_errors=True)
        self.folder = Path(self._around.name, name if NAME_PATTERN.fullmatch(name) else "run")
        self.folder.mkdir()

    def begin(self, records: Records) -> None:
        """Write all there is, in place of what was before."""
        for suffix in ("", *BESIDE):
            Path(f"{self.folder / DATABASE_FILE}{suffix}").unlink(missing_ok=True)
        self.add(records)

    def add(self, records: Records) -> None:
        """Write what is new.

        Raises:
            OSError: The disk is full.
            sqlite3.Error: The same.
        """
        write_atomically(self.folder / CONFIG_FILE, records.config.encode())
        with closing(RunDatabase(self.folder / DATABASE_FILE)) as database:
            database.store("branches", records.branches)
            database.store("samples", records.samples)
            database.store("journal", records.journal)
            for one in records.curves:
                rows = rows_from_bytes(one.steps, one.values)
                database.import_metric(one.name, *rows, one.branch)
            database.set_meta(**records.meta)
        if records.checkpoints is not None:
            self._keep_checkpoints(records.checkpoints, records.pinned)

    def _keep_checkpoints(self, manifests: dict[str, str], pinned: Iterable[str]) -> None:
        folder = self.folder / CHECKPOINTS_FOLDER
        folder.mkdir(exist_ok=True)
        for path in list_snapshots(self.folder):
            if path.name not in manifests:
                remove_tree(path)
        for name, manifest in manifests.items():
            if is_checkpoint_name(name):  # and no path to somewhere else
                path = folder / name
                path.mkdir(exist_ok=True)
                write_atomically(path / MANIFEST_FILE, manifest.encode())
                pin(path) if name in pinned else unpin(path)

    def remove(self) -> None:
        self._around.cleanup()
