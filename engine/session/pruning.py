"""Whether a run of a sweep goes on beside the others: asked at evaluations, kept in its journal.

Whoever trains the sweep names the runs it is held to, those that were trained before it: which
runs are stopped hangs on what these have recorded, and on no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.runs.evaluations import Measured, read_evaluations, scheduled_evaluations
from engine.session.run_state import Course
from engine.sweeps.median_rule import MedianRule, verdict

OUTDONE = "outdone"  # in the journal; the newest one counts, an empty reason takes it back


class Contest:
    """The word of the rule on one run.

    Args:
        course: The run.
        held_to: A rule and its ``rivals``, as in ``Start``; empty if nothing stops the run.
    """

    def __init__(self, course: Course, held_to: Mapping[str, Any]) -> None:
        rule = {key: value for key, value in held_to.items() if key != "rivals"}
        self._course = course
        self._rule = MedianRule(**rule) if held_to else None
        self._rivals = [Path(rival) for rival in held_to.get("rivals", ())]
        self._read: list[dict[int, Measured]] | None = None
        self.read_journal()

    @property
    def is_on(self) -> bool:
        """Whether a rule may stop the run."""
        return self._rule is not None

    @property
    def why(self) -> str:
        """Why the run ends where it is; empty if the rule has not stopped it here."""
        course = self._course
        here = (course.recorder.branch, course.step) == self._where
        return self._why if here and course.step < course.trainer.total_steps else ""

    def read_journal(self) -> None:
        """Take up the last word, as when the run is opened or has gone back."""
        last = self._course.files.database.journal(OUTDONE)[-1:]
        self._where, self._why = (-1, -1), ""
        for entry in last:
            self._where = (entry["branch"], entry["step"])
            self._why = entry["detail"]["why"]

    def judge(self) -> None:
        """Ask the rule, if there is one and the run has just been evaluated."""
        course = self._course
        if self._rule and course.standing.evaluated_step == course.step:
            own = scheduled_evaluations(course.files.database, course.lineage(), course.step)
            if course.step in own:
                self._note(self._verdict(self._rule, own))

    def overrule(self) -> None:
        """The person wants the run to go on: it does, and is not stopped again."""
        if self.why:
            self._rule = None
            self._note("")

    def _verdict(self, rule: MedianRule, own: dict[int, Measured]) -> str:
        step, total = self._course.step, self._course.trainer.total_steps
        if step < rule.warmup(total):  # nobody's files are opened before that
            return ""
        if self._read is None:  # they are trained, so that once is enough
            self._read = [read_evaluations(rival) for rival in self._rivals]
        on = own[step].on
        return verdict(rule, _alike(own, on), [_alike(one, on) for one in self._read], step, total)

    def _note(self, why: str) -> None:
        if why or self.why:
            self._course.journal(OUTDONE, why=why)
            self._where = (self._course.recorder.branch, self._course.step)
            self._why = why


def _alike(evaluations: dict[int, Measured], on: str) -> dict[int, float]:
    """The losses that were measured on the same."""
    return {step: one.loss for step, one in evaluations.items() if one.on == on}
