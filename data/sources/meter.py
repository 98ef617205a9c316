"""Progress of reading, and its end when nobody wants it any more."""

from __future__ import annotations

import time

from data.download import Watcher
from data.errors import Cancelled
from data.program import named

REPORT_SECONDS = 0.5


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
        self._due = time.monotonic() + REPORT_SECONDS

    def tick(self) -> None:
        """Report if it is time to.

        Raises:
            Cancelled: `watcher.cancelled` returned true.
        """
        if self.watcher.cancelled():
            raise Cancelled
        if time.monotonic() >= self._due:
            of = f" of {self.total / 1e6:,.0f}" if self.total else ""
            self.watcher.report(f"{self.doing} {named(self.name)}: {self.read / 1e6:,.0f}{of} MB")
            self._due = time.monotonic() + REPORT_SECONDS
