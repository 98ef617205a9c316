"""Which actions of the cockpit are possible now, and what to do where one is not."""

from __future__ import annotations

from collections.abc import Callable

from engine.protocol import State
from tui.control.run import RunControl

NEW_RUN = "cockpit.new_run"
TAKE = "cockpit.take_control"
WAIT = "the run is being prepared: wait until it is open"


def why_not(action: str, control: RunControl) -> str:
    """Return why an action is impossible, and the way out; empty if it is possible."""
    return WHY_NOT[action](control) if action in WHY_NOT else ""


def _train(run: RunControl) -> str:
    return run.key_of("cockpit.train")


def _not_open(run: RunControl) -> str:
    state = run.status.state
    if run.is_open:
        return _going_back(run)
    if run.controlled.watches:
        return "this run is only watched here (--watch), and nothing can be changed"
    if run.controlled.who:
        return f"{run.controlled.who} is in control: {run.key_of(TAKE)} takes over"
    if state is State.PREPARING:
        return WAIT
    if run.missing:
        return f"this run is read-only here: {run.missing}"
    if run.watching and not run.status.message:
        return f"the program that had this run open has ended: {_train(run)} opens it here"
    if run.watching:
        return "this run is read-only here, because another program has it open: end that one first"
    if _has_run(run):
        return f"the run is closed: {_train(run)} opens and continues it"
    return f"there is no run yet: {_train(run)} starts one"


def _going_back(run: RunControl) -> str:
    if way := run.status.going_back:
        return (
            f"the run is going back to step {way.step:,}: {run.key_of('cockpit.hide')} stops that"
        )
    return ""


def _not_startable(run: RunControl) -> str:
    possible = run.status.state in (State.IDLE, State.FAILED) and not _has_run(run)
    if possible and not run.is_being_opened:
        return ""
    new = f"{run.key_of(NEW_RUN)} starts a new one"
    return f"a run is open: {_train(run)} pauses and resumes it, {new}"


def _not_pausable(run: RunControl) -> str:
    if run.is_being_opened:
        return WAIT if run.launch.attaches else "" if run.will_train else "the run is opened paused"
    begins = run.status.state is State.PREPARING and run.will_train
    if run.is_open and (begins or run.status.state is State.RUNNING):
        return ""
    return _not_open(run) or "the run is not training"


def _not_resumable(run: RunControl) -> str:
    state = run.status.state
    if run.is_being_opened:  # whether another process trains it is not known yet
        begins = "training begins once the run is open"
        return WAIT if run.launch.attaches else begins if run.will_train else ""
    pruned = state is State.FINISHED and bool(run.status.pruned)
    if run.status.going_back:
        return _going_back(run)
    at_rest = state in (State.IDLE, State.PAUSED, State.STOPPED, State.FAILED) or pruned
    at_rest = at_rest or (run.is_open and state is State.PREPARING and not run.will_train)
    taken = (run.watching and not run.missing and bool(run.status.message)) or run.others_control
    if _has_run(run) and at_rest and not taken and (run.is_open or state is not State.PAUSED):
        return ""
    if state is State.FINISHED and not (run.watching or run.others_control):
        settings, new = run.key_of("cockpit.settings"), run.key_of(NEW_RUN)
        return (
            f"the run is finished: a larger train.max_steps ({settings}) continues it, "
            f"{new} starts a new one"
        )
    return _not_open(run) or "the run is training"


def _not_steppable(run: RunControl) -> str:
    if run.status.state is State.PAUSED and run.is_open:
        return _going_back(run)
    return _not_open(run) or f"single steps are for a paused run: pause it first ({_train(run)})"


def _not_coolable(run: RunControl) -> str:
    if run.can_cool_down:
        return _going_back(run)
    if run.status.state in (State.RUNNING, State.PAUSED) and run.is_open:
        schedule = run.draft.base.optim.schedule
        return f"a {schedule} schedule decays by itself: a cool-down is for wsd and constant"
    return _not_open(run) or "the run is finished"


def _nothing_to_take(run: RunControl) -> str:
    if run.controlled.watches:
        return _not_open(run)
    if run.controlled.who:
        return ""
    return "nobody else is in control of this run"


def _without_run(run: RunControl) -> str:
    if run.status.state is State.PREPARING:
        return WAIT
    return "" if _has_run(run) else f"there is no run yet: {_train(run)} starts one"


def _without_past(run: RunControl) -> str:
    if why := _without_run(run):
        return why
    any_step = run.status.step > 0 or bool(run.metrics.ghosts("train_loss"))
    return "" if any_step else "the run has no steps yet"


def _not_forkable(run: RunControl) -> str:
    return _not_open(run) or (
        "" if run.status.step > 0 else "the run has no steps yet to fork from"
    )


def _no_new_run(run: RunControl) -> str:
    if run.status.state is State.PREPARING:
        return WAIT
    return (
        ""
        if _has_run(run)
        else f"there is no run yet: {_train(run)} starts one with these settings"
    )


def _no_rate_test(run: RunControl) -> str:
    state = run.status.state
    if why := _no_text_here(run):
        return why
    if state is State.PREPARING:
        return WAIT
    if state is State.RUNNING:
        first = "wait: another program trains" if run.watching else f"pause first ({_train(run)})"
        return f"{first}: a learning-rate test needs the processor"
    return ""


def _has_run(run: RunControl) -> bool:
    return run.run_path is not None


def _no_text_here(run: RunControl) -> str:
    host, _, name = run.elsewhere.partition(":")
    return f"the text of this run is on {host}: ssh -t {host} gpt-tui attach {name}" if host else ""


def _nothing_to_undo(run: RunControl) -> str:
    if run.can_undo:
        return ""
    if run.has_undone:
        return "there is nothing more to undo"
    return "no setting was changed yet"


WHY_NOT: dict[str, Callable[[RunControl], str]] = {  # other actions are always possible
    "start": _not_startable,
    "pause": _not_pausable,
    "resume": _not_resumable,
    "take_control": _nothing_to_take,
    "step": _not_steppable,
    "sample": _not_open,
    "evaluate": _not_open,
    "save": _not_open,
    "cool_down": _not_coolable,
    "inside": _without_run,
    "timeline": _without_past,
    "data": _no_text_here,
    "fork": _not_forkable,
    "new_run": _no_new_run,
    "undo": _nothing_to_undo,
    "test_rates": _no_rate_test,
}
