"""Screens whose keys are a group of the key table, and which say why one does nothing now."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from textual.await_complete import AwaitComplete
from textual.css.query import NoMatches
from textual.screen import ModalScreen, Screen, ScreenResultType

from tui.control.remap import key_in_force
from tui.terminal.compositor import ChangesCompositor
from tui.widgets.keys_footer import KeysFooter

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.notifications import SeverityLevel

    from engine.protocol import Event


class KeyedScreen(Screen[ScreenResultType]):
    """A screen with a footer of its keys, where its messages appear, too.

    Attributes:
        ABOUT: What it shows and why one would use it: its help begins with that.
        KEYS: Its group in the key table.
        QUEUE_GOES_ON: Whether the next queued run starts behind it.
    """

    ABOUT = ""
    KEYS = ""
    QUEUE_GOES_ON = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._compositor = ChangesCompositor()

    def on_compose(self) -> None:
        """Take the classes of the breakpoints before the first layout, not only after it."""
        size = self.app.size
        self.add_class(
            *self._get_breakpoint_classes(size.width, self.HORIZONTAL_BREAKPOINTS or []),
            *self._get_breakpoint_classes(size.height, self.VERTICAL_BREAKPOINTS or []),
        )

    def why_not(self, action: str, parameters: tuple[object, ...]) -> str:
        """Return why an action of a key is impossible now; empty if it is possible."""
        return ""

    def hear(self, event: Event) -> bool:
        """Take an event of the engine; return whether it answers this screen alone."""
        return False

    def explain(self) -> str:
        """Return what it shows now, as Markdown, for its help."""
        return self.ABOUT

    @property
    def message(self) -> str:
        """The message that stays on the screen; its help has it, too."""
        return ""

    @property
    def message_is_cut(self) -> bool:
        """Whether there is more of the message than the screen shows."""
        return False

    def key_of(self, id: str) -> str:
        """Return the key in force of an action, as ``cockpit.train``; the first of several."""
        return key_in_force(self, id)

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Close the screen, once: a second key or click in its queue would pop the one below."""
        return super().dismiss(result) if self.is_active else AwaitComplete()

    def call_from_worker(self, take: Callable[..., object], *what: object) -> None:
        """Call a function with what a thread of the screen found, unless the screen is left then.

        A screen that is being removed loses its widgets first, so that a method of it would fail.
        """

        def call() -> None:
            if self.is_attached and not self._pruning:
                take(*what)

        with suppress(RuntimeError):  # the app has left
            self.app.call_later(call)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not self.why_not(action, parameters)

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """Show a message in the footer: a toast would cover text, on other screens, too."""
        with suppress(NoMatches):  # it is being built or removed
            self.query_one(KeysFooter).say(message, severity, timeout)


class KeyedModalScreen(ModalScreen[ScreenResultType], KeyedScreen[ScreenResultType]):
    """A screen over another one, whose footer it covers with its own.

    ModalScreen comes first, because Textual's stylesheets only know the first base: its rules let
    the screen beneath show through.
    """
