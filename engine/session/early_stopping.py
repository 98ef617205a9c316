"""Where a run ends: at its last step, stopped early, or by the pruning rule of its sweep.

Early stopping counts the evaluations at ``eval.interval`` alone, so that a person who measures in
between changes nothing. The count is read from the journal: a run that is resumed, killed or has
gone back counts as one that was left alone.
"""

from __future__ import annotations

from engine.runs.evaluations import scheduled_evaluations
from engine.session.run_state import RunState

LENGTH = ("eval.patience", "train.max_steps", "train.max_epochs")  # a new word starts anew


def is_at_end(run_state: RunState) -> bool:
    """Whether all steps are done, or the evaluation of this one was the last straw."""
    step = run_state.step
    evaluated = run_state.losses.evaluated_step == step
    over = step >= run_state.trainer.total_steps or (evaluated and is_impatient(run_state))
    return over or bool(run_state.pruned)


def is_complete(run_state: RunState) -> bool:
    """Whether the end was reached and measured."""
    return run_state.step == run_state.losses.final_step and is_at_end(run_state)


def why_ended(run_state: RunState) -> str:
    """Why a run has ended before its last step; empty if it has not."""
    return run_state.pruned or why_stopped_early(run_state)


def way_on(run_state: RunState) -> str:
    """What a finished run goes on with, as an imperative."""
    if run_state.pruned:
        return "resume it"
    return f"raise {'eval.patience' if why_stopped_early(run_state) else 'train.max_steps'}"


def is_impatient(run_state: RunState) -> bool:
    """Whether ``eval.patience`` ends the run here."""
    patience = run_state.trainer.config.eval.patience
    return bool(patience) and evaluations_without_improvement(run_state) >= patience


def why_stopped_early(run_state: RunState) -> str:
    """Why ``eval.patience`` has ended a run before its last step; empty if it has not."""
    if run_state.step >= run_state.trainer.total_steps or not is_impatient(run_state):
        return ""
    number = evaluations_without_improvement(run_state)
    times = "1 evaluation" if number == 1 else f"{number:,} evaluations"
    return f"stopped early: no lower validation loss in {times} (eval.patience)"


def evaluations_without_improvement(run_state: RunState) -> int:
    """The latest evaluations, none lower than all before, since the run's length last changed."""
    database, lineage = run_state.files.database, run_state.lineage()
    evaluations = scheduled_evaluations(database, lineage, run_state.step)
    since = _length_changed_at(run_state)
    best, without = float("inf"), 0
    for step, measured in evaluations.items():
        if measured.loss < best:
            best, without = measured.loss, 0
        elif step > since:
            without += 1
    return without


def _length_changed_at(run_state: RunState) -> int:
    journal = run_state.files.database.journal("adjusted")
    changed = [
        one.step
        for one in run_state.lineage().changes(journal)
        if any(key in LENGTH for key in one.changes)
    ]
    return max(changed, default=0)
