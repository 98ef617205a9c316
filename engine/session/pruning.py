"""Whether a run of a sweep goes on beside the others: asked at evaluations, kept in its journal.

Whoever trains the sweep names the runs it is held to, those that were trained before it: which
runs are stopped hangs on what these have recorded, and on no clock.
"""

from __future__ import annotations

from pathlib import Path

from engine.protocol import PruningRule
from engine.runs.evaluations import Measured, read_evaluations, scheduled_evaluations
from engine.session.outlet import Outlet
from engine.session.run_state import RunState, Verdict
from engine.sweeps.median_rule import MedianRule, verdict

PRUNED = "outdone"  # in the journal; the newest one counts, an empty reason takes it back


class Pruner:
    """The word of the rule on one run.

    Args:
        run_state: The run; the last word on it is its ``verdict``.
        outlet: Keeps the word in the journal.
        rule: None if nothing stops the run.
    """

    def __init__(self, run_state: RunState, outlet: Outlet, rule: PruningRule | None) -> None:
        self._run_state, self._outlet = run_state, outlet
        self._rule = MedianRule(rule.after_runs, rule.after_steps) if rule else None
        self._rivals = [Path(rival) for rival in rule.rivals] if rule else []
        self._read: list[dict[int, Measured]] | None = None
        self.read_journal()

    @property
    def is_on(self) -> bool:
        """Whether a rule may stop the run."""
        return self._rule is not None

    def read_journal(self) -> None:
        """Take up the last word, as when the run is opened or has gone back."""
        said = [
            Verdict(entry["branch"], entry["step"], entry["detail"]["why"])
            for entry in self._run_state.files.database.journal(PRUNED)
        ]
        self._run_state.verdict = said[-1] if said else Verdict()

    def judge(self) -> None:
        """Ask the rule, if there is one and the run has just been evaluated."""
        run_state = self._run_state
        if self._rule and run_state.losses.evaluated_step == run_state.step:
            database, lineage = run_state.files.database, run_state.lineage()
            own = scheduled_evaluations(database, lineage, run_state.step)
            if run_state.step in own:
                self._note(self._verdict(self._rule, own))

    def overrule(self) -> None:
        """The person wants the run to go on: it does, and is not stopped again."""
        if self._run_state.pruned:
            self._rule = None
            self._note("")

    def _verdict(self, rule: MedianRule, own: dict[int, Measured]) -> str:
        step, total = self._run_state.step, self._run_state.trainer.total_steps
        if step < rule.warmup(total):  # nobody's files are opened before that
            return ""
        if self._read is None:  # they are trained, so that once is enough
            self._read = [read_evaluations(rival) for rival in self._rivals]
        on = own[step].on
        return verdict(rule, _alike(own, on), [_alike(one, on) for one in self._read], step, total)

    def _note(self, why: str) -> None:
        run_state = self._run_state
        if why or run_state.pruned:
            self._outlet.journal(PRUNED, why=why)
            run_state.verdict = Verdict(run_state.recorder.branch, run_state.step, why)


def _alike(evaluations: dict[int, Measured], on: str) -> dict[int, float]:
    """The losses that were measured on the same."""
    return {step: one.loss for step, one in evaluations.items() if one.on == on}
