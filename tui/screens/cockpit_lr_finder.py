"""The cockpit's dealings with the learning-rate finder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.config.schema import SETTINGS
from engine.config.setting import Value
from engine.protocol import Event, FindLearningRate, State
from tui.control.run import RunControl
from tui.screens.lr_finder import LRFinderScreen
from tui.screens.outlet import Outlet


class CockpitLRFinder:
    """Begins tests, one at a time, and takes over what they suggest.

    Args:
        control: Has the settings to test, and the engine to test them.
        outlet: Shows the test.
        edit: Gives settings new values, as if they had been typed.
    """

    def __init__(
        self, control: RunControl, outlet: Outlet, edit: Callable[[dict[str, Value]], None]
    ) -> None:
        self._control, self._outlet, self._edit = control, outlet, edit
        self._screen: LRFinderScreen | None = None

    def begin(self) -> None:
        """Test the settings of the next run, or say why not now.

        Raises:
            InputError: The settings do not go together.
        """
        control = self._control
        if control.status.state is State.RUNNING:
            first = "wait: another program trains" if control.watching else "pause first (space)"
            self._outlet.say(f"{first}: a learning-rate test needs the processor")
            return
        config = control.draft.next_config()
        request_id = control.send(FindLearningRate(config.to_dict()))
        self._screen = LRFinderScreen(control, config, request_id)
        self._outlet.push(self._screen, self._answered)

    def hear(self, event: Event) -> bool:
        """Hand an event to the screen, if it is still open; False if it is not for it."""
        return self._screen is not None and self._screen.hear(event)

    def _answered(self, changes: dict[str, Any] | None) -> None:
        self._screen = None
        if changes:
            self._edit(changes)
            words = ", ".join(f"{key} {SETTINGS[key].format(changes[key])}" for key in changes)
            self._outlet.notify(f"set: {words}", markup=False)
