"""Where a run ends: at its last step, by early stopping, or by the pruning rule of its sweep.

Both rules read their evaluations from the journal, and only those at ``eval.interval``: a run that
was resumed, killed, rewound or measured in between ends where it would have ended without.
"""

from __future__ import annotations

from pathlib import Path

from data.errors import InputError
from engine.protocol import PruningRule
from engine.runs.database import Measured, reading
from engine.session.outlet import Outlet
from engine.session.run_state import RunState, Verdict
from engine.sweeps.median_rule import MedianRule, verdict

# a change restarts the count
LENGTH = ("eval.patience", "train.max_steps", "train.max_epochs", "train.max_minutes")
PRUNED = "outdone"  # in the journal; the newest entry counts, an empty reason withdraws it


def is_at_end(run_state: RunState) -> bool:
    """Return whether the run ends at this step, once it is evaluated."""
    if run_state.step >= run_state.trainer.total_steps or run_state.pruned:
        return True
    return run_state.losses.evaluated_step == run_state.step and bool(_impatient_after(run_state))


def is_complete(run_state: RunState) -> bool:
    """Return whether the end was reached and evaluated."""
    return run_state.step == run_state.losses.final_step and is_at_end(run_state)


def why_ended(run_state: RunState) -> str:
    """Return why a run ended before its last step; empty if it did not."""
    return run_state.pruned or why_stopped_early(run_state)


def way_on(run_state: RunState) -> str:
    """Return how to continue a finished run, as an imperative."""
    if run_state.pruned:
        return "resume it"
    if why_stopped_early(run_state):
        return "raise eval.patience"
    by_clock = run_state.trainer.config.train.max_minutes
    return f"raise train.{'max_minutes' if by_clock else 'max_steps'}"


def why_stopped_early(run_state: RunState) -> str:
    """Return why ``eval.patience`` ended a run before its last step; empty if it did not."""
    if run_state.step >= run_state.trainer.total_steps:
        return ""
    number = _impatient_after(run_state)
    if not number:
        return ""
    times = "1 evaluation" if number == 1 else f"{number:,} evaluations"
    return f"stopped early: no lower validation loss in {times} (eval.patience)"


def _impatient_after(run_state: RunState) -> int:
    """Return the evaluations without improvement if they exhaust ``eval.patience``, else 0."""
    patience = run_state.trainer.config.eval.patience
    number = evaluations_without_improvement(run_state) if patience else 0
    return number if number >= patience else 0


def evaluations_without_improvement(run_state: RunState) -> int:
    """Count the latest evaluations above the best one, since the run's length last changed."""
    database, lineage = run_state.files.database, run_state.lineage()
    changes = lineage.changes(database.journal("adjusted"))
    lengths = (one for one in changes if one.changes.keys() & set(LENGTH) and not one.clock)
    since = max((one.step for one in lengths), default=0)
    best, without = float("inf"), 0
    for step, measured in database.evaluations(lineage, run_state.step).items():
        if measured.loss < best:
            best, without = measured.loss, 0
        elif step > since:
            without += 1
    return without


class Pruner:
    """Applies the pruning rule of a sweep to one run, whose ``verdict`` it sets.

    The run is compared with runs that are finished, so that the outcome depends on no clock.
    """

    def __init__(self, run_state: RunState, outlet: Outlet, rule: PruningRule | None) -> None:
        self._run_state, self._outlet = run_state, outlet
        self._rule = MedianRule(rule.after_runs, rule.after_steps) if rule else None
        self._rivals = [Path(rival) for rival in rule.rivals] if rule else []
        self._read: list[dict[int, Measured]] | None = None
        self.read_journal()

    @property
    def is_on(self) -> bool:
        return self._rule is not None

    def read_journal(self) -> None:
        """Restore the verdict, when the run is opened or was rewound."""
        entries = self._run_state.files.database.journal(PRUNED)
        verdicts = [Verdict(one["branch"], one["step"], one["detail"]["why"]) for one in entries]
        self._run_state.verdict = verdicts[-1] if verdicts else Verdict()

    def judge(self) -> None:
        """Apply the rule, if there is one and the run was just evaluated."""
        run_state = self._run_state
        if self._rule and run_state.losses.evaluated_step == run_state.step:
            database, lineage = run_state.files.database, run_state.lineage()
            own = database.evaluations(lineage, run_state.step)
            if run_state.step in own:
                self._note(self._verdict(self._rule, own))

    def overrule(self) -> None:
        """Let a pruned run continue, and do not prune it again."""
        if self._run_state.pruned:
            self._rule = None
            self._note("")

    def _verdict(self, rule: MedianRule, own: dict[int, Measured]) -> str:
        step, total = self._run_state.step, self._run_state.trainer.total_steps
        if step < rule.warmup(total):  # no file is opened before
            return ""
        if self._read is None:  # once is enough: they are finished
            self._read = [read_evaluations(rival) for rival in self._rivals]
        on = own[step].on
        return verdict(rule, _alike(own, on), [_alike(one, on) for one in self._read], step, total)

    def _note(self, why: str) -> None:
        run_state = self._run_state
        if why or run_state.pruned:
            self._outlet.journal(PRUNED, why=why)
            run_state.verdict = Verdict(run_state.recorder.branch, run_state.step, why)


def read_evaluations(run: Path) -> dict[int, Measured]:
    """Read the evaluations of a run, even while it is trained; none if it cannot be read."""
    try:
        with reading(run) as database:
            return database.evaluations(database.present_lineage())
    except (InputError, OSError, KeyError, TypeError):  # damaged: its own screens say so
        return {}


def _alike(evaluations: dict[int, Measured], on: str) -> dict[int, float]:
    """Return the losses that were measured on the same part of the split."""
    return {step: one.loss for step, one in evaluations.items() if one.on == on}
