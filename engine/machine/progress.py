"""Says how far something is, often enough to be followed and no oftener."""

from __future__ import annotations

import time
from collections.abc import Callable

REPORT_SECONDS = 1.0


def now_and_then(
    report: Callable[[str], None], clock: Callable[[], float] = time.monotonic
) -> Callable[[str], None]:
    """Pass lines on, the first at once and then one a second; the others are left out.

    Args:
        report: Takes the lines.
        clock: Seconds that never go back.
    """
    due = -float("inf")

    def pass_on(message: str) -> None:
        nonlocal due
        now = clock()
        if now >= due:
            due = now + REPORT_SECONDS
            report(message)

    return pass_on
