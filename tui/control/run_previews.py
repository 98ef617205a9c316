"""The previews of runs that were read last, so that going back to one shows it at once."""

from __future__ import annotations

import time
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from data.errors import InputError

if TYPE_CHECKING:
    from engine.runs.preview import Preview
    from engine.runs.summary import RunSummary

MOST_KEPT = 32
REST = 10  # times the duration of reading: reading a run must not slow down its training


class _Kept(NamedTuple):
    """A preview, or why there is none, of a run as it was then.

    Attributes:
        until: How long it is good enough while the run goes on, by the monotonic clock.
    """

    run: RunSummary
    found: Preview | str
    until: float


class RunPreviews:
    """Reads previews, and keeps those of the latest runs; any thread may ask."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = Lock()

    def known(self, run: RunSummary) -> Preview | str | None:
        """Return what was read of a run since it last changed: a preview, or why there is none."""
        with self._lock:
            kept = self._kept.get(run.path)
        if kept is None or (kept.run != run and time.monotonic() >= kept.until):
            return None
        return kept.found

    def read(self, run: RunSummary) -> Preview | str:
        """Read a preview; a sentence if it cannot be read."""
        from engine.runs.preview import read_preview  # imports numpy

        found: Preview | str
        began = time.monotonic()
        try:
            found = read_preview(Path(run.path))
        except (InputError, OSError) as error:
            found = str(error)
        now = time.monotonic()
        with self._lock:
            self._kept[run.path] = _Kept(run, found, now + REST * (now - began))
            self._kept.move_to_end(run.path)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return found
