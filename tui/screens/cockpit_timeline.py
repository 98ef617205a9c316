"""The cockpit's dealings with the past: the timeline, going back, forks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine import protocol
from engine.program import program
from engine.runs.folder import typed_name
from tui.screens.fork_dialog import ForkDialog
from tui.screens.timeline import Choice, TimelineScreen

if TYPE_CHECKING:
    from tui.screens.cockpit import CockpitScreen


class CockpitTimeline:
    """Works for one cockpit.

    Args:
        cockpit: Whose run and notice it is about.
    """

    def __init__(self, cockpit: CockpitScreen) -> None:
        self._cockpit = cockpit
        self._to_open: int | None = None  # the request for a fork that is opened once it is made

    # -- keys ------------------------------------------------------------------------------------

    def look_back(self) -> None:
        """Show the timeline; go back or fork if that is the answer."""
        cockpit = self._cockpit
        cockpit.app.push_screen(TimelineScreen(cockpit.control), self._answered)

    def _answered(self, choice: Choice | None) -> None:
        if choice and choice.action == "rewind":
            self._cockpit.control.rewind(choice.step)
        elif choice:
            self.ask_to_fork(choice.step)

    def ask_to_fork(self, step: int) -> None:
        """Ask, then begin another run from a step of this one."""
        control = self._cockpit.control

        def fork(answer: str | None) -> None:
            if answer:
                request_id = control.fork(step)
                self._to_open = request_id if answer == "open" else None

        self._cockpit.app.push_screen(ForkDialog(control.draft, control.facts.name, step), fork)

    # -- events ----------------------------------------------------------------------------------

    def on_rewound(self, event: protocol.Rewound) -> None:
        """The run is back."""
        self._cockpit.samples.forget_after(event.step)
        self._cockpit.notice.say(
            f"back at step {event.step:,}. {self._left_behind(event)}\n"
            f"Change settings if you like, space goes on from here",
            "information",
        )

    def _left_behind(self, event: protocol.Rewound) -> str:
        """What became of the steps after."""
        finished = event.left_at >= self._cockpit.control.status.total_steps
        last = event.left_at - finished  # a fork there would have nothing to train
        words = f"What came after it, up to step {event.left_at:,}, stays as a faint line"
        if last <= event.step:
            return f"{words}."
        path = self._cockpit.control.run_path
        assert path
        fork = f"{program()} fork {typed_name(path)} --at {last}"
        return f"{words}; until the run is there again, {fork} takes it up"

    def on_forked(self, event: protocol.Forked) -> None:
        """A fork stands ready."""
        path = Path(event.path)
        if event.request_id == self._to_open:
            self._cockpit.control.open_run(path, keep_edits=True)  # it has those that fit it
            return
        self._cockpit.notice.say(
            f"{path.name} is this run as it was at step {event.step:,}: open it with r, or "
            f"{program()} {typed_name(path)}",
            "information",
        )
