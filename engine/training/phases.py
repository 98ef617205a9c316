"""What the time of training is spent on: a clock that is always in exactly one phase."""

from __future__ import annotations

from time import perf_counter


class Phases:
    """Adds up seconds by phase: ``enter`` ends one phase and begins the next.

    It costs less than a microsecond, and never waits for a GPU: there, the parts of a step are
    only queued, so that the trainer leaves them in one phase.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._phase = ""
        self._since = perf_counter()

    def enter(self, phase: str) -> str:
        """Begin a phase; return the one that it ends."""
        now, before = perf_counter(), self._phase
        self._seconds[before] = self._seconds.get(before, 0.0) + now - self._since
        self._phase, self._since = phase, now
        return before

    def take(self) -> dict[str, float]:
        """Return the seconds of each phase since the last time."""
        self.enter(self._phase)
        seconds, self._seconds = self._seconds, {}
        seconds.pop("", None)
        return seconds
