"""Limit the rate of progress reports."""

from __future__ import annotations

import time
from collections.abc import Callable

REPORT_SECONDS = 1.0


def now_and_then(
    report: Callable[[str], None], clock: Callable[[], float] = time.monotonic
) -> Callable[[str], None]:
    """Wrap ``report``: it is called with the first line, then at most once a second.

    The other lines are dropped; ``clock`` returns monotonic seconds.
    """
    due = -float("inf")

    def pass_on(message: str) -> None:
        nonlocal due
        now = clock()
        if now >= due:
            due = now + REPORT_SECONDS
            report(message)

    return pass_on
