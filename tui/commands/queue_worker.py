"""Trains what is queued, one run after the other, without a screen."""

from __future__ import annotations

import sys

from data.errors import InputError
from engine.sweeps.grid import format_changes
from engine.sweeps.queue import Queue, Taken
from tui.commands import EXIT_BAD_INPUT, EXIT_DONE, EXIT_FAILED, EXIT_SIGNAL
from tui.commands.headless import train


def work_off(queue: Queue, sweep: str | None = None) -> int:
    """Train until nothing waits or a signal comes.

    Args:
        queue: Whose entries.
        sweep: Only what belongs to it.

    Returns:
        The exit code: of the first run that failed, if there is one.
    """
    code = EXIT_DONE
    try:
        while (taken := queue.take(sweep)) is not None:
            ended = _train(taken, len(_waiting(queue, sweep)))
            if ended == EXIT_SIGNAL:
                return ended
            code = code or ended
    except KeyboardInterrupt:  # between two runs; within one it is the run's to handle
        return EXIT_SIGNAL
    return code


def _waiting(queue: Queue, sweep: str | None) -> list[int]:
    return [one.id for one in queue.entries(sweep) if not one.is_over and not one.live]


def _train(taken: Taken, others: int) -> int:
    """One run, and what became of it into the queue."""
    more = f", {others} more to come" if others else ""
    print(
        f"\n{taken.entry.run}: {format_changes(taken.entry.changes)}{more}",
        file=sys.stderr,
        flush=True,
    )
    try:
        outcome = train(taken.command, sys.stderr)
    except InputError as error:
        taken.fail(str(error))
        for problem in error.problems:
            print(f"gpt-tui: {problem}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except BaseException:
        taken.release()
        raise
    if outcome.code == EXIT_DONE:
        taken.finish()
    elif outcome.problem:
        taken.fail(outcome.problem)
        return EXIT_FAILED
    else:  # a signal; the code tells whether all is saved
        taken.release()
        return EXIT_SIGNAL
    return outcome.code
