"""The previews of runs that were read last, so that going back to one shows it at once."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from data.errors import InputError

if TYPE_CHECKING:
    from engine.runs.preview import Preview
    from engine.runs.summary import RunSummary

MOST_KEPT = 32


class RunPreviews:
    """Reads previews, and keeps those of the latest runs; any thread may ask."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[RunSummary, Preview | str]] = OrderedDict()
        self._lock = Lock()

    def known(self, run: RunSummary) -> Preview | str | None:
        """Return what was read of a run since it last changed: a preview, or why there is none."""
        with self._lock:
            summary, found = self._kept.get(run.path, (None, None))
            return found if summary == run else None

    def read(self, run: RunSummary) -> Preview | str:
        """Read a preview; a sentence if it cannot be read."""
        from engine.runs.preview import read_preview  # imports numpy

        found: Preview | str
        try:
            found = read_preview(Path(run.path))
        except (InputError, OSError) as error:
            found = str(error)
        with self._lock:
            self._kept[run.path] = (run, found)
            self._kept.move_to_end(run.path)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return found
