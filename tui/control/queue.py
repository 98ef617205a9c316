"""The queue in the app: adding runs, and training one after the other."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import InputError
from data.paths import real_path
from engine.protocol import Advised, Command, Refused, State, Status
from engine.sweeps.median_rule import MedianRule
from engine.sweeps.queue import Entry, EntryState, Queue
from tui.control.draft import Draft
from tui.text.leaderboard import format_entry
from tui.text.numbers import format_count

if TYPE_CHECKING:
    from engine.sweeps.grid import Plan

NEXT_SECONDS = 8.0  # to read the results of the finished run, and to hold the queue
GIVE_UP_SECONDS = 60.0  # for the user to act on a queued run with a problem
BUSY_SECONDS = 300.0  # how long a user who reads or types delays the next run
SHOW, HOLD = "cockpit.queue", "cockpit.hold_queue"  # in the key table
AT_REST = (State.IDLE, State.FINISHED, State.STOPPED, State.FAILED)


class QueueControl:
    """The queue of a runs folder, and the entry of it that this app trains.

    Args:
        send: Sends a command to the engine, and returns the id of the request.
        key_of: Returns the key in force of an action, by its id in the key table.
    """

    def __init__(
        self,
        runs_dir: Path,
        send: Callable[[Command], int],
        status: Callable[[], Status],
        key_of: Callable[[str], str],
    ) -> None:
        self.queue = Queue(runs_dir)
        self.held = self.queue.is_held  # no run starts by itself
        self._in_use = False  # the user has queued, started or released runs since the app started
        self.taken: Entry | None = None  # the entry that is trained here
        # both are set by the screen; `say` takes a severity, and stays until it is read
        self.say: Callable[[str, str], None] = lambda text, severity: None
        self.notify: Callable[[str], None] = lambda text: None
        self._send, self._status, self._key_of = send, status, key_of
        self._opened = False  # the engine has the run of the entry
        self._request_id = 0  # of the command to train it
        self._next_at = math.inf  # when the next run starts by itself, on the monotonic clock
        self._give_up = ""  # the problem of the paused run, if the next one replaces it

    # -- actions ---------------------------------------------------------------------------------

    def add(
        self, draft: Draft, axes: str, command_line: str, rule: MedianRule | None = None
    ) -> str:
        """Queue the edited settings as a run or, with axes, as a sweep; return a message.

        Those of the next run are removed from the draft.

        Raises:
            InputError: The settings are invalid, or the queue cannot be written.
        """
        trials = plan_of(draft, axes).trials
        self._in_use = True
        self.queue.add(trials, command_line, "" if len(trials) > 1 else None, rule)
        draft.forget_next()
        how = "they follow the open run" if self._is_training else self._how_to_train
        return f"{format_count(len(trials), 'run')} queued: {how}"

    def start_next(self) -> None:
        """Train the next entry now.

        Raises:
            InputError: A run is being trained, no entry is pending, or the queue cannot be used.
        """
        if self._is_training:
            raise InputError("a run is being trained: the queue continues when it is finished")
        self._in_use = True
        if not self._start_next():
            raise InputError("no run is pending, or other programs train them already")

    def toggle_hold(self) -> None:
        """Let no run start by itself, or continue; this is remembered."""
        self.held = not self.held
        self._in_use = True
        self._next_at = math.inf
        problem = ""
        try:
            self.queue.hold(self.held)
        except InputError as error:
            problem = f"\nthis is not remembered when the app ends: {error}"
        if self.held:
            self.say(
                f"the queue is held: no run starts by itself ({self._key_of(HOLD)} continues)"
                f"{problem}",
                "warning",
            )
            return
        self.say(problem.strip(), "warning")
        with self._showing_errors():
            if not self._announce("", "information"):
                self.notify("the queue continues by itself")

    # -- autostart -------------------------------------------------------------------------------

    def tick(self, is_busy: bool) -> None:
        """Start the next run when the countdown is over, unless the user started something else.

        Args:
            is_busy: The user reads or types, which delays the run by at most `BUSY_SECONDS`.
        """
        late = time.monotonic() - self._next_at
        if late < 0 or (is_busy and late < BUSY_SECONDS):
            return
        self._next_at = math.inf
        expected = (State.PAUSED,) if self._give_up else AT_REST
        if self.is_starting or self._status().state not in expected:
            return
        with self._showing_errors():
            if self._give_up:
                self._end(EntryState.FAILED, self._give_up)
            self._start_next()

    @property
    def is_starting(self) -> bool:
        """Whether the engine has the command to train an entry, and has not opened its run yet."""
        return self.taken is not None and not self._opened

    @property
    def _how_to_train(self) -> str:
        return f"{self._key_of(SHOW)}, then {self._key_of('queue.start')} trains them"

    @property
    def _is_training(self) -> bool:
        return self._status().state in (State.RUNNING, State.PREPARING)

    def _announce(self, before: str, severity: str) -> bool:
        """Show the next run and start the countdown; return False if no run is pending."""
        pending = self.queue.pending()
        if not pending or self._status().state not in AT_REST:
            return False
        if self.held:
            to_go = format_count(len(pending), "run")
            what = f"the queue is held, {to_go} to go: {self._key_of(HOLD)} continues"
        elif not self._in_use:  # they were queued another day, and must not take the screen over
            what = f"{format_count(len(pending), 'run')} queued before: {self._how_to_train}"
        else:
            hold = f"{self._key_of(HOLD)} holds the queue"
            what = f"next in {NEXT_SECONDS:.0f} s: {format_entry(pending[0])} · {hold}"
            self._next_at, self._give_up = time.monotonic() + NEXT_SECONDS, ""
        self.say(f"{before}\n{what}".strip(), severity)
        return True

    def _start_next(self) -> bool:
        """Have the engine train the next entry; return whether there is one."""
        self.release()
        self._next_at = math.inf
        taken = self.queue.take()
        if taken is None:
            return False
        self.taken, command = taken
        self._opened = False
        self._request_id = self._send(command)
        return True

    # -- events ----------------------------------------------------------------------------------

    def welcome(self) -> None:
        """Show, at the start of the app, that runs are pending."""
        with self._showing_errors():
            if pending := self.queue.pending():
                shows = f"{self._key_of(SHOW)} shows it"
                if self.held:
                    shows += f", and it is held: {self._key_of(HOLD)} lets runs start by themselves"
                runs = format_count(len(pending), "run")
                self.say(f"the queue holds {runs}: {shows}", "warning")

    def note_opened(self, run: Path) -> None:
        """Handle an opened run: that of the entry, or another."""
        taken = self.taken
        self._opened = bool(taken and real_path(self.queue.runs_dir / taken.run) == real_path(run))
        if not self._opened:
            self.release()

    def note_started(self) -> None:
        """Show that the run in training comes from the queue, if it does."""
        if self.taken:
            self.say(f"from the queue: {format_entry(self.taken)}", "information")

    def note_finished(self, summary: str) -> None:
        """End the entry; the first line of the summary stays on the screen."""
        self._end_and_announce(EntryState.DONE, "", summary.splitlines()[0], "information")

    def note_refused(self, event: Refused) -> None:
        """Fail the entry if it is the one that the engine refused to train."""
        if self.is_starting and event.request_id == self._request_id:
            self.note_failed(event.message, event.message)

    def note_failed(self, problem: str, message: str) -> None:
        """Fail the entry; ``message`` stays on the screen."""
        if self.taken:
            self._end_and_announce(EntryState.FAILED, problem, message, "error")

    def note_advised(self, advice: Advised) -> None:
        """Start a countdown if a problem paused the queued run, so that the others get trained."""
        if not self.taken or not advice.pauses or self.held:
            return
        with suppress(InputError):  # shown when the queue continues
            if self.queue.pending():
                self._next_at = time.monotonic() + GIVE_UP_SECONDS
                self._give_up = advice.message
                self.notify(
                    f"the queue continues with the next run in {GIVE_UP_SECONDS:.0f} s · "
                    f"{self._key_of(HOLD)} holds it"
                )

    def release(self) -> None:
        """Leave the entry for later, if there is one; its run is resumed then."""
        with suppress(InputError):  # its lock is released all the same: it counts as interrupted
            self._end(EntryState.INTERRUPTED)

    def _end_and_announce(
        self, state: EntryState, problem: str, message: str, severity: str
    ) -> None:
        with self._showing_errors(message):
            self._end(state, problem)
            self._announce(message, severity)

    def _end(self, state: EntryState, problem: str = "") -> None:
        """Record the state of the entry that was trained here, if there is one."""
        entry, self.taken = self.taken, None
        if entry:
            self._next_at = math.inf
            self.queue.end(entry.id, state, problem)

    @contextmanager
    def _showing_errors(self, before: str = "") -> Iterator[None]:
        try:
            yield
        except InputError as error:
            self.say(f"{before}\n{error}".strip(), "error")


def plan_of(draft: Draft, axes: str) -> Plan:
    """Return the runs for the edited settings and some axes.

    Raises:
        InputError: All problems at once.
    """
    from engine.sweeps.grid import grid, parse_axes, plan, split_axes  # not for the first paint

    parsed, problems = parse_axes(split_axes(axes))
    if problems:
        raise InputError(*problems)
    return plan(draft.next_base, [draft.next_edits | combination for combination in grid(parsed)])
