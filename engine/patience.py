"""Early stopping: how long the validation loss has not improved.

Only the evaluations at ``eval.interval`` count, so that a person who measures in between changes
nothing. The count is read from the journal: a run that is resumed, killed or has gone back counts
as one that was left alone.
"""

from __future__ import annotations

from engine.course import Course

LENGTH = ("eval.patience", "train.max_steps", "train.max_epochs")  # a new word starts anew


def is_over(course: Course) -> bool:
    """Whether ``eval.patience`` ends the run here."""
    patience = course.trainer.config.eval.patience
    return bool(patience) and evaluations_without_improvement(course) >= patience


def why_over(course: Course) -> str:
    """Why a run has ended before its last step; empty if it has not."""
    if course.step >= course.trainer.total_steps or not is_over(course):
        return ""
    number = evaluations_without_improvement(course)
    times = "1 evaluation" if number == 1 else f"{number:,} evaluations"
    return f"stopped early: no lower validation loss in {times} (eval.patience)"


def evaluations_without_improvement(course: Course) -> int:
    """The latest evaluations, none lower than all before, since the run's length last changed."""
    lived, database = course.lineage(), course.files.database
    losses: dict[int, float] = {}  # by step; a step that was trained again has the newer word
    for entry in database.journal("evaluated"):
        step, detail = entry["step"], entry["detail"]
        on_way = any(one.branch == entry["branch"] and step <= one.up_to for one in lived)
        if on_way and step <= course.step and detail.get("scheduled"):
            losses[step] = detail["val_loss"]
    since = _length_changed_at(course)
    best, without = float("inf"), 0
    for step, loss in sorted(losses.items()):
        if loss < best:
            best, without = loss, 0
        elif step > since:
            without += 1
    return without


def _length_changed_at(course: Course) -> int:
    lived = course.lineage()
    changed = [
        entry["step"]
        for entry in course.files.database.journal("adjusted")
        if any(one.holds_change(entry["branch"], entry["step"]) for one in lived)
        and any(key in LENGTH for key in entry["detail"]["changes"])
    ]
    return max(changed, default=0)
