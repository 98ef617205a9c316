"""The cockpit's dealings with the learning-rate finder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from data.errors import InputError
from engine.config.schema import SETTINGS
from engine.protocol import Event, State
from tui.screens.lr_finder import LRFinderScreen

if TYPE_CHECKING:
    from tui.screens.cockpit import CockpitScreen


class CockpitLRFinder:
    """Works for one cockpit.

    Args:
        cockpit: Whose notice it speaks through, and whose settings it edits.
    """

    def __init__(self, cockpit: CockpitScreen) -> None:
        self._cockpit = cockpit
        self._screen: LRFinderScreen | None = None

    def begin(self) -> None:
        """Test the settings of the next run, or say why not now."""
        cockpit = self._cockpit
        control = cockpit.control
        if control.status.state is State.RUNNING:
            first = "wait: another program trains" if control.watching else "pause first (space)"
            cockpit.notice.say(f"{first}: a learning-rate test needs the processor")
            cockpit.refresh_bindings()
            return
        try:
            config = control.draft.next_config()
        except InputError as error:
            cockpit.say_conflicts(error.problems)
            return
        self._screen = LRFinderScreen(control, config, control.find_learning_rate(config))
        cockpit.app.push_screen(self._screen, self._answered)

    def hear(self, event: Event) -> bool:
        """Hand an event to the screen, if it is still open; False if it is not for it."""
        return self._screen is not None and self._screen.hear(event)

    def _answered(self, changes: dict[str, Any] | None) -> None:
        self._screen = None
        if changes:
            self._cockpit.edit(changes)
            words = ", ".join(f"{key} {SETTINGS[key].format(changes[key])}" for key in changes)
            self._cockpit.app.notify(f"set: {words}", markup=False)
