"""The cockpit's dealings with the queue: adding, going on after a run, holding back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from textual.timer import Timer

from data.errors import InputError
from engine.protocol import Advised, Refused, State
from engine.sweeps.queue_entry import Entry
from tui.screens.open_run_dialog import OpenRunDialog, is_busy
from tui.screens.queue import QueueScreen
from tui.screens.queue_dialog import QueueDialog, Wanted
from tui.text.leaderboard import format_settings
from tui.text.numbers import counted

if TYPE_CHECKING:
    from tui.screens.cockpit import CockpitScreen

NEXT_SECONDS = 8.0  # to read what the finished run came to, and to hold the queue
GIVE_UP_SECONDS = 60.0  # for a person to help a queued run that went wrong
BUSY_SECONDS = 300.0  # a person who reads or types is waited for, but not one who has left
LOOK_SECONDS = 1.0
AT_REST = (State.IDLE, State.FINISHED, State.STOPPED, State.FAILED)


class CockpitQueue:
    """Works for one cockpit.

    Args:
        cockpit: Whose notice it speaks through.
        show_settings: Brings the panels in line with the settings.
    """

    def __init__(self, cockpit: CockpitScreen, show_settings: Callable[[], None]) -> None:
        self._cockpit = cockpit
        self._show_settings = show_settings
        self._queue = cockpit.control.queue
        self._timer: Timer | None = None

    # -- keys ------------------------------------------------------------------------------------

    def add(self) -> None:
        """Ask what to queue, then do so."""
        dialog = QueueDialog(self._cockpit.control.draft)
        self._cockpit.app.push_screen(dialog, self._add)

    def _add(self, wanted: Wanted | None) -> None:
        if wanted is None:
            return
        control = self._cockpit.control
        try:
            typed = control.launch.command_line
            runs = self._queue.add(control.draft, wanted.axes, typed, wanted.rule)
        except InputError as error:
            self._cockpit.notice.say(str(error), "error")
            return
        self._show_settings()
        at_work = control.status.state in (State.RUNNING, State.PREPARING)
        how = "they follow the present run" if at_work else "Q, then r trains them"
        self._cockpit.app.notify(f"{counted(runs, 'run')} queued: {how}")

    def show(self) -> None:
        """The queue's own screen."""
        self._cockpit.app.push_screen(
            QueueScreen(self._queue, self.begin_now, self.toggle_hold, self.open_run)
        )

    def open_run(self, run: Path) -> None:
        """Open a run of the queue; what trains is asked about, saved and kept."""
        control = self._cockpit.control
        if control.is_open and control.run_path == run:
            return
        if is_busy(control) or control.draft.edits:
            dialog = OpenRunDialog(control, run.name)
            self._cockpit.app.push_screen(
                dialog, lambda yes: control.open_run(run) if yes else None
            )
        else:
            control.open_run(run)

    def toggle_hold(self) -> None:
        """Let nothing begin of itself, or go on."""
        self._queue.held = not self._queue.held
        if self._queue.held:
            self._stop_waiting()
            self._cockpit.notice.say("the queue is held: nothing begins of itself (h goes on)")
            return
        self._cockpit.notice.dismiss()
        if not self.announce_next(""):
            self._cockpit.app.notify("the queue goes on by itself")

    def begin_now(self) -> None:
        """Train the next entry.

        Raises:
            InputError: Something is being trained, nothing waits, or the queue cannot be used.
        """
        self._stop_waiting()
        if self._cockpit.control.status.state in (State.RUNNING, State.PREPARING):
            raise InputError("a run is being trained: the queue goes on when it is finished")
        if self._queue.begin_next() is None:
            raise InputError("nothing waits that nobody else trains")

    # -- going on --------------------------------------------------------------------------------

    def announce_next(self, before: str, severity: str = "information") -> bool:
        """Say what follows the finished run and begin it in a while; False if nothing does.

        Args:
            before: What else there is to say.
            severity: Of the notice.
        """
        try:
            waiting = self._queue.waiting()
        except InputError as error:
            self._cockpit.notice.say(f"{before}\n{error}".strip(), "error")
            return False
        if not waiting or self._cockpit.control.status.state not in AT_REST:
            return False
        if self._queue.held:
            what = f"the queue is held, {counted(len(waiting), 'run')} to go: h goes on"
        else:
            what = f"next in {NEXT_SECONDS:.0f} s: {_described(waiting[0])} · h holds the queue"
            self._begin_in(NEXT_SECONDS)
        self._cockpit.notice.say(f"{before}\n{what}".strip(), severity)
        return True

    def _begin_in(self, seconds: float, waited: float = 0.0) -> None:
        self._stop_waiting()
        self._timer = self._cockpit.set_timer(seconds, lambda: self._begin_if_still(waited))

    def _give_up(self, advice: Advised, id: int, waited: float = 0.0) -> None:
        """Nobody helped a run that went wrong: leave it as it is, for what waits."""
        taken, state = self._queue.taken, self._cockpit.control.status.state
        if self._queue.held or not taken or taken.id != id or state is not State.PAUSED:
            return
        if self._person_is_busy and waited < BUSY_SECONDS:
            self._timer = self._cockpit.set_timer(
                LOOK_SECONDS, lambda: self._give_up(advice, id, waited + LOOK_SECONDS)
            )
        elif self._settled(lambda: self._queue.note_failed(advice.message)):
            self._settled(self._queue.begin_next)

    def _begin_if_still(self, waited: float) -> None:
        """The time is over: go on, unless the person did something else or is at something."""
        still = self._cockpit.control.status.state in AT_REST
        if self._queue.held or self._queue.is_beginning or not still:
            return
        if self._person_is_busy and waited < BUSY_SECONDS:
            self._begin_in(LOOK_SECONDS, waited + LOOK_SECONDS)
            return
        try:
            self._queue.begin_next()
        except InputError as error:
            self._cockpit.notice.say(str(error), "error")

    @property
    def _person_is_busy(self) -> bool:
        """Whether the finished run is being looked at, or something is typed."""
        screen = self._cockpit.app.screen
        if isinstance(screen, QueueScreen):
            return False
        return screen is not self._cockpit or self._cockpit.focused is not None

    def _stop_waiting(self) -> None:
        if self._timer:
            self._timer.stop()
            self._timer = None

    # -- events ----------------------------------------------------------------------------------

    def welcome(self) -> None:
        """At the start of the app: say that something waits."""
        try:
            waiting = len(self._queue.waiting())
        except InputError as error:
            self._cockpit.notice.say(str(error), "error")
            return
        if waiting:
            self._cockpit.notice.say(f"the queue holds {counted(waiting, 'run')}: Q shows it")

    def note_begun(self) -> None:
        """Training begins: say so if the run comes from the queue."""
        entry = self._queue.taken
        if entry:
            self._cockpit.notice.say(f"from the queue: {_described(entry)}", "information")

    def note_finished(self, summary: str) -> None:
        """The open run has just been trained to its end."""
        if self._settled(self._queue.note_finished):
            self.announce_next(summary.splitlines()[0])

    def note_refused(self, event: Refused) -> None:
        """Something could not be done, perhaps to begin the run that the queue is at."""
        problem = event.message
        if self._queue.is_refusal(event) and self._settled(
            lambda: self._queue.note_failed(problem)
        ):
            self.announce_next(problem, "error")

    def note_advised(self, advice: Advised) -> None:
        """Something is wrong; if it paused a queued run, the others do not wait for ever."""
        taken = self._queue.taken
        if not taken or advice.rewind_to is None or not self._others_wait():
            return
        self._stop_waiting()
        self._timer = self._cockpit.set_timer(
            GIVE_UP_SECONDS, lambda: self._give_up(advice, taken.id)
        )
        self._cockpit.app.notify(
            f"the queue goes on with the next run in {GIVE_UP_SECONDS:.0f} s · h holds it",
            severity="warning",
        )

    def _others_wait(self) -> bool:
        try:
            return bool(self._queue.waiting())
        except InputError:  # it is told when the queue is to go on
            return False

    def note_failed(self, problem: str, told: str) -> None:
        """The open run cannot go on, which was told with a way out."""
        if self._queue.taken and self._settled(lambda: self._queue.note_failed(problem)):
            self.announce_next(told, "error")

    def _settled(self, note: Callable[[], object]) -> bool:
        """Whether the queue could be changed."""
        try:
            note()
        except InputError as error:
            self._cockpit.notice.say(str(error), "error")
            return False
        return True


def _described(entry: Entry) -> str:
    return " · ".join(filter(None, (entry.run or entry.sweep, format_settings(entry))))
