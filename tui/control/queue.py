"""What the app does with the queue: fills it, and goes on with what waits. No widget in sight."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from data.errors import InputError
from engine.protocol import Command, Refused
from engine.sweeps.grid import Plan, grid, parse_axes, plan, split_axes
from engine.sweeps.median_rule import MedianRule
from engine.sweeps.queue import Queue, Taken
from engine.sweeps.queue_entry import Entry, EntryState, RunRequest
from tui.control.draft import Draft


class QueueControl:
    """Holds the queue of a runs folder and the entry that this app trains.

    Args:
        runs_dir: The folder.
        send: Takes commands for the engine, and returns the ids of the requests.
    """

    def __init__(self, runs_dir: Path, send: Callable[[Command], int]) -> None:
        self.queue = Queue(runs_dir)
        self.held = False  # the person wants nothing to begin of itself
        self._send = send
        self._taken: Taken | None = None
        self._opened = False  # the engine has the run of what is taken
        self._request_id = 0  # by which the engine was told to train it

    @property
    def taken(self) -> Entry | None:
        """What this app trains, if it comes from the queue."""
        return self._taken.entry if self._taken else None

    @property
    def is_beginning(self) -> bool:
        """Whether the engine was told to train an entry and has not yet begun."""
        return self._taken is not None and not self._opened

    def is_refusal(self, event: Refused) -> bool:
        """Whether the engine says that it cannot begin what it was told to train."""
        return self.is_beginning and event.request_id == self._request_id

    # -- filling ---------------------------------------------------------------------------------

    def add(
        self, draft: Draft, axes: str, command_line: str, rule: MedianRule | None = None
    ) -> int:
        """Queue the edited settings as a run or, with axes, as a sweep; returns how many runs.

        Args:
            draft: The edited settings, which are forgotten once they are queued.
            axes: What else to vary.
            command_line: What the app was begun with.
            rule: Stops the runs of a sweep that the others have outdone.

        Raises:
            InputError: They cannot be, or the queue cannot be written.
        """
        planned = plan_of(draft, axes)
        wishes = [RunRequest(one.config, draft.edits | one.changes) for one in planned.trials]
        sweep = "" if len(wishes) > 1 else None
        self.queue.add(wishes, command_line, sweep, rule)
        draft.edits.clear()  # they have found their run
        return len(wishes)

    # -- going on --------------------------------------------------------------------------------

    def waiting(self) -> list[Entry]:
        """What is still to be trained and nobody trains, in order.

        Raises:
            InputError: The queue cannot be read.
        """
        left = [one for one in self.queue.entries() if not one.is_over and not one.live]
        return sorted(left, key=lambda one: one.state is EntryState.WAITING)

    def begin_next(self) -> Entry | None:
        """Have the engine train the entry whose turn it is; None if there is none.

        Raises:
            InputError: The queue cannot be used.
        """
        self.release()
        taken = self.queue.take()
        if taken is None:
            return None
        self._taken, self._opened = taken, False
        self._request_id = self._send(taken.command)
        return taken.entry

    def note_opened(self, run: Path) -> None:
        """The engine has opened a run, this one or another."""
        if self._taken and self._taken.run.resolve() == run.resolve():
            self._opened = True
        else:
            self.release()

    def note_finished(self) -> None:
        """The open run is trained."""
        taken = self._drop()
        if taken:
            taken.finish()

    def note_failed(self, problem: str) -> None:
        """The open run, or what was to be one, cannot be trained."""
        taken = self._drop()
        if taken:
            taken.fail(problem)

    def release(self) -> None:
        """Leave what is taken for later; it goes on where it is."""
        taken = self._drop()
        if taken:
            with suppress(InputError):  # the lock is gone all the same: it counts as interrupted
                taken.release()

    def _drop(self) -> Taken | None:
        taken, self._taken = self._taken, None
        return taken


def plan_of(draft: Draft, axes: str) -> Plan:
    """The runs that the edited settings and some axes come to.

    Raises:
        InputError: All that is wrong with them, at once.
    """
    parsed, problems = parse_axes(split_axes(axes))
    if problems:
        raise InputError(*problems)
    return plan(draft.base, [draft.edits | combination for combination in grid(parsed)])
