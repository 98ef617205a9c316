"""Notices when a run cannot be written: its database locked, the disk full, its folder gone."""

from __future__ import annotations

from engine.protocol import State
from engine.runs.open import RunFiles
from engine.session.outlet import Outlet


class DiskWatch:
    """Says once what is wrong with the files of a run, and once that it is well again.

    Args:
        files: Of the run; what its database cannot take now, it takes later.
        outlet: Told so, and paused when to train on would be to gamble.
    """

    def __init__(self, files: RunFiles, outlet: Outlet) -> None:
        self._files, self._outlet = files, outlet
        self._told = ""

    def look(self) -> None:
        """See how it is now."""
        what, may_go_on = self._trouble()
        is_running = self._outlet.state is State.RUNNING
        if what and (what != self._told or (is_running and not may_go_on)):
            self._outlet.warn(what)
            if not may_go_on:
                self._outlet.pause()
        elif self._told and not what:
            self._outlet.warn("the run can be written again: nothing that was recorded is missing")
        self._told = what

    def _trouble(self) -> tuple[str, bool]:
        """What is wrong, if anything, and whether training may go on all the same."""
        files, writer = self._files, self._files.database.writer
        if not files.database.path.exists():
            return (
                f"the run's folder {files.path} is gone: training is paused. Its weights and "
                f"figures are still in memory: fork it to keep them in a new run",
                False,
            )
        if writer.trouble and writer.is_locked:
            return (
                "another program holds the run's database: training goes on, and the figures are "
                "written as soon as it lets go",
                True,
            )
        if writer.trouble:
            return (
                f"the run's database cannot be written ({writer.trouble}): training is paused, and "
                f"what was recorded is kept in memory. Make room, then resume it",
                False,
            )
        return "", True
