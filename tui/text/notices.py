"""Messages about a run: finished, failed, rewound, forked, advice on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.config.changes import format_options
from engine.program import PROGRAM, program
from engine.protocol import Advised, Failed, Forked, Rewound, State, Status
from engine.runs.folder import LOG_FILE, typed_name
from tui.text.numbers import format_count, format_duration, format_loss, format_path

if TYPE_CHECKING:
    from engine.runs.summary import RunSummary

FOLDER_GONE = "the folder {} is gone: the run in it was moved or deleted"
SETTINGS_GONE = "{} is gone: {} verify {} --repair writes it anew from a checkpoint"


READING_SECONDS = {"information": 6.0, "warning": 10.0, "error": 20.0}
WORDS_A_SECOND = 3.0


def seconds_to_read(text: str, severity: str) -> float:
    """Return how long a message stays: by its words, and errors long enough to be acted on."""
    return READING_SECONDS[severity] + len(text.split()) / WORDS_A_SECOND


def going_on(run: RunSummary, detached: bool = False) -> str:
    """Return the command that trains a run on; one that is finished needs a later end."""
    longer = "eval.patience" if run.step < run.total_steps else "train.max_steps"
    more = f" --procs {run.processes}" if run.processes > 1 else ""
    more += f" --set {longer}=N" if run.state == State.FINISHED and not run.pruned else ""
    more += " --detach" if detached else ""
    return f"{program()} train --resume {typed_name(Path(run.path))}{more}"


def nothing_trains(path: Path) -> str:
    """Say that a run is not in training, and how it is trained on."""
    from engine.runs.summary import read_summary  # not for the first paint

    run = read_summary(path)
    ended = run.state == State.FINISHED and not run.pruned
    what = f"is finished at step {run.step:,}" if ended else "is not in training"
    return (
        f"the run {path.name!r} {what}: {program()} {typed_name(path)} opens it, and "
        f"{going_on(run, detached=True)} trains it in the background"
    )


def format_finished(
    status: Status,
    run: Path | str | None,
    key_of: Callable[[str], str],
    early: str = "",
    brief: bool = False,
) -> str:
    """Format the results of a run, and the keys to continue with.

    Args:
        run: Its folder, or HOST:RUN.
        key_of: Returns the key of an action, by its id in the key table.
        early: Why it ended before its last step, if it did.
        brief: Say it in two lines of 80 columns; the status bar has the figures.
    """
    train, settings, new, sample = map(
        key_of, ("cockpit.train", "cockpit.settings", "cockpit.new_run", "cockpit.sample")
    )
    longer = "eval.patience" if status.step < status.total_steps else "train.max_steps"
    way_on = f"{train} continues" if status.pruned else f"raise {longer} ({settings}) to continue"
    ways = f"{way_on}, {new} starts a new run, {sample} samples"
    done = (
        f"finished: {format_count(status.step, 'step')} in {format_duration(status.train_seconds)}"
    )
    best = f"best {format_loss(status.best_val_loss)} at step {status.best_step or 0:,}"
    if brief:
        return f"{early or f'{done} · {best} (whole split)'}\n{ways}"
    val = f"val {format_loss(status.val_loss)}"
    kept = f"kept in {format_path(run or '')} · {ways}"
    return "\n".join([*[early] * bool(early), f"{done} · {val} · {best} (whole split)", kept])


def format_failed(
    event: Failed, status: Status, run: Path | str | None, key_of: Callable[[str], str]
) -> str:
    """Format why a run failed, where it can continue, and where the details are, if any."""
    saved = status.saved_step
    there = f"the checkpoint of step {saved:,}" if saved else "the beginning"
    more = f"; details are in {format_path(f'{run}/{LOG_FILE}')}" if event.detail else ""
    return f"{event.message}\n{key_of('cockpit.train')} continues from {there}{more}"


def format_rewound(
    event: Rewound, status: Status, run: Path, key_of: Callable[[str], str], elsewhere: str = ""
) -> str:
    """Format where the run is now, and what happens to the steps after that."""
    fork = fork_command(run, event.left_at, status.total_steps, elsewhere)
    return (
        f"back at step {event.step:,}: change settings if you like, then "
        f"{key_of('cockpit.train')} continues from here\n"
        f"the steps after it, up to {event.left_at:,}, stay as a faint line; until the run is "
        f"there again, {fork} continues it"
    )


def fork_command(run: Path, step: int, total_steps: int, elsewhere: str = "") -> str:
    """Return the command that continues a run from a step on in a new one.

    At the last step that needs a later end.

    Args:
        elsewhere: HOST:RUN, if the run is on another machine.
    """
    host, _, there = elsewhere.partition(":")
    fork = f"ssh {host} {PROGRAM} fork {there}" if host else f"{program()} fork {typed_name(run)}"
    command = f"{fork} --at {step}"
    if step < total_steps:
        return command
    return f"{command} {format_options({'train.max_steps': 2 * step})}"


def format_cool_down(end: int, key_of: Callable[[str], str]) -> str:
    """Say that a cool-down has begun, where the run ends with it, and how that is undone."""
    return f"cool-down: the run ends at step {end:,} · {key_of('cockpit.undo')} undoes it"


def format_forked(event: Forked, key_of: Callable[[str], str], elsewhere: str = "") -> str:
    path = Path(event.path)
    if host := elsewhere.partition(":")[0]:
        return (
            f"{path.name} is this run as it was at step {event.step:,}, on {host}: ssh {host} "
            f"{PROGRAM} train --resume {path.name} --detach trains it"
        )
    return (
        f"{path.name} is this run as it was at step {event.step:,}: open it with "
        f"{key_of('cockpit.runs')}, or "
        f"{program()} {typed_name(path)}"
    )


def format_advice(advice: Advised, run: Path, in_background: bool = False) -> str:
    """Say what is wrong, and the commands that follow the advice.

    Args:
        in_background: No terminal can send Ctrl-C to what trains the run.
    """
    name, options = typed_name(run), format_options(advice.changes)
    resume, step = f"{program()} train --resume {name}", advice.rewind_to
    if step is None or not advice.pauses:
        how = resume if step is None else f"{program()} fork {name} --at {step}"
        stop = f"{program()} stop {name}" if in_background else "stop with Ctrl-C"
        then = f"{stop}, then {how} {options}"
        return f"advice: {advice.message}\n  to {advice.action}, {then}"
    ways = {
        f"from step {step:,}, as a new run": f"{program()} fork {name} --at {step} {options}",
        "with a lower learning rate": f"{resume} {options}",
    }
    if not advice.has_diverged:
        ways["without this batch"] = resume
    lines = [f"  {f'{way}:':<32}{command}" for way, command in ways.items()]
    return "\n".join([f"gpt-tui: {advice.message}. To continue", *lines])
