"""Changes of live settings: those that wait for a boundary, and those the journal remembers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.runs.database import RunDatabase
from engine.runs.lineage import Lineage

Changes = dict[str, Any]


class Adjustments:
    """What is still to take effect.

    After a crash the journal holds changes made after the checkpoint; they take effect again, each
    at its step. The newest word on a setting outlives what is still ahead of an older one.
    """

    def __init__(self) -> None:
        self.wanted: Changes = {}  # since the last step boundary
        self.journal_id = 0  # of the last entry that is known here
        self._ahead: list[tuple[int, Changes]] = []  # from the journal, by step

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint knew."""
        self.journal_id = state["journal_id"]
        self._ahead = [(step, changes) for step, changes in state["unapplied"]]

    def to_dict(self) -> dict[str, Any]:
        """What a checkpoint has to know."""
        ahead = [[step, dict(changes)] for step, changes in self._ahead]
        return {"journal_id": self.journal_id, "unapplied": ahead}

    def read_journal(self, database: RunDatabase, lineage: Lineage) -> None:
        """Find the changes made after the checkpoint, along a lineage.

        A run that was taken up again at an earlier step may have entries out of order.
        """
        journal = database.journal("adjusted", after_id=self.journal_id)
        for one in lineage.changes(journal):
            self.forget_older(one.values, from_step=one.step)
            self._ahead.append((one.step, one.values))
            self._ahead.sort(key=lambda one: one[0])  # stable: of one step, the later stays later
        if journal:
            self.journal_id = journal[-1]["id"]

    def take_wanted(self) -> Changes:
        """What was wanted since the last boundary."""
        wanted, self.wanted = self.wanted, {}
        return wanted

    def take_due(self, step: int) -> Iterator[tuple[int, Changes]]:
        """What the journal holds for the steps up to here, with the step of each."""
        while self._ahead and self._ahead[0][0] <= step:
            yield self._ahead.pop(0)

    def forget_ahead(self) -> None:
        """What is still ahead belongs to a stretch that the run has left."""
        self._ahead.clear()

    def forget_older(self, changes: Changes, from_step: int = 0) -> None:
        """A newer word was given on these settings, and holds from a step on."""
        for step, older in self._ahead:
            if step >= from_step:
                for key in changes:
                    older.pop(key, None)
