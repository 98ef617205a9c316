"""Progress of reading, and its end when nobody wants it any more."""

from __future__ import annotations

import time
from collections.abc import Callable

from data.download import Watcher
from data.errors import Cancelled
from data.program import named

REPORT_SECONDS = 0.5


class Reports:
    """Tells now and then how far something has come."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._due = time.monotonic() + REPORT_SECONDS

    def tick(self, told: Callable[[], str]) -> None:
        """Report if it is time to.

        Raises:
            Cancelled: `watcher.cancelled` returned true.
        """
        if self._watcher.cancelled():
            raise Cancelled
        if time.monotonic() >= self._due:
            self._watcher.report(told())
            self._due = time.monotonic() + REPORT_SECONDS


class Meter:
    """Counts what is read in one pass over a text, and reports it now and then.

    Args:
        doing: What is done, as "reading".
        name: Of the text.
        total: Its bytes on the disk; 0 if they are not known.
    """

    def __init__(self, doing: str, name: str, total: int, watcher: Watcher) -> None:
        self.doing, self.name, self.total, self.watcher = doing, name, total, watcher
        self.read = 0
        self._reports = Reports(watcher)

    def tick(self) -> None:
        """Report if it is time to.

        Raises:
            Cancelled: `watcher.cancelled` returned true.
        """
        self._reports.tick(self._told)

    def _told(self) -> str:
        of = f" of {self.total / 1e6:,.0f}" if self.total else ""
        return f"{self.doing} {named(self.name)}: {self.read / 1e6:,.0f}{of} MB"
