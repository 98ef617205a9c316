"""A footer that never cuts off the keys that lead out and to the help."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.widget import Widget
from textual.widgets import Footer
from textual.widgets._footer import FooterKey  # Textual names it nowhere else

INDISPENSABLE = ("help", "leave", "app.leave", "close", "dismiss", "leave_field", "cancel")


class KeysFooter(Footer):
    """Shows as many keys as there is room for, and of what gives way the last ones first.

    The help names those that gave way.
    """

    def __init__(self) -> None:
        super().__init__(compact=True, show_command_palette=False)  # the keys take all the room
        self._width = 0  # that the keys were chosen for

    def compose(self) -> ComposeResult:
        """The keys that fit."""
        self._width = self.screen.size.width
        yield from those_that_fit(list(super().compose()), self._width)

    def on_resize(self, event: events.Resize) -> None:
        """Other keys fit now."""
        if event.size.width != self._width:
            self.call_after_refresh(self.recompose)


def those_that_fit(keys: Iterable[Widget], width: int) -> list[Widget]:
    """Leave out keys, from the last on, until the others fit into a width in cells."""
    kept = list(keys)
    droppable = [one for one in kept if not _is_indispensable(one)]
    while droppable and sum(map(_width_of, kept)) > width:
        kept.remove(droppable.pop())
    return kept


def _is_indispensable(key: Widget) -> bool:
    return isinstance(key, FooterKey) and key.action.partition("(")[0] in INDISPENSABLE


def _width_of(key: Widget) -> int:
    """The key, a space, its word and the space after it."""
    if not isinstance(key, FooterKey):
        return 0
    return cell_len(key.key_display) + 1 + cell_len(key.description) + 1
