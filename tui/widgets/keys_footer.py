"""A footer that never cuts off the keys that lead out and to the help.

Textual's own footer mounts a widget for each key and builds them all anew whenever a key may have
changed, which costs a layout of the whole screen after most key presses. This one is a single line.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget

from tui.control.keymap import PLACES
from tui.text.notices import seconds_to_read

INDISPENSABLE = (
    "stop_going_back",
    "dismiss_notice",
    "app.help",
    "leave",
    "app.leave",
    "close",
    "dismiss",
    "leave_field",
    "screen.leave_settings",
)


class FooterKey(NamedTuple):
    """A key as the footer shows it."""

    key: str
    display: str
    description: str
    action: str
    enabled: bool = True

    @property
    def width(self) -> int:
        """In cells: the key, a space, its description and the space after it."""
        return cell_len(self.display) + 1 + cell_len(self.description) + 1


class KeysFooter(Widget):
    """Shows as many keys as there is room for, and of what gives way the last ones first.

    The help names those that gave way.
    """

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {"key", "description", "disabled", "hovered"}
    DEFAULT_CSS = """
    KeysFooter {
        dock: bottom;
        height: 1;
        color: $footer-foreground;
        background: $footer-background;
        & > .key { color: $footer-key-foreground; text-style: bold; }
        & > .description { color: $footer-description-foreground; }
        & > .disabled { text-style: dim; }
        &.-said { height: auto; max-height: 3; }
        & > .hovered { color: $footer-key-foreground; background: $block-hover-background; }
        &.-said { padding: 0 1; }
        &.-said.-information { color: $text-success; background: $success-muted; }
        &.-said.-warning { color: $text-warning; background: $warning-muted; }
        &.-said.-error { color: $text-error; background: $error-muted; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[FooterKey] = []
        self._hovered: FooterKey | None = None
        self.message = ""  # shown instead of the keys
        self._messages = 0

    def say(self, text: str, severity: str = "information", seconds: float | None = None) -> None:
        """Show a message instead of the keys, until the next key; empty takes it away."""
        self.message = text
        self._messages += 1
        self.set_classes(f"-said -{severity}" if text else "")
        self.refresh(layout=True)
        if text:
            number = self._messages
            seconds = seconds or seconds_to_read(text, severity)
            self.set_timer(seconds, lambda: self._end_message(number, seconds))

    def _end_message(self, number: int, seconds: float) -> None:
        if number != self._messages:
            return
        if self.screen.is_current:
            self.say("")
        else:  # it is hidden: whoever comes back shall read it
            self.set_timer(seconds, lambda: self._end_message(number, seconds))

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._bindings_changed)
        self._choose()

    def on_resize(self) -> None:
        self._choose()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        self._hover(self._key_at(event.x))

    def on_leave(self) -> None:
        self._hover(None)

    def on_click(self, event: events.Click) -> None:
        if self.message:
            self.say("")
            return
        key = self._key_at(event.x)
        if key and key.enabled:
            self.app.press_on(self.screen, key.key)  # type: ignore[attr-defined]
        elif key:
            self.app.bell()

    def render(self) -> Content:
        if self.message:
            return Content(self.message)
        return Content.assemble(*(part for key in self.keys for part in self._parts_of(key)))

    def _parts_of(self, key: FooterKey) -> Iterable[Content | str]:
        hovered = ["hovered"] * (key is self._hovered and key.enabled)
        state = hovered or ["disabled"] * (not key.enabled)
        text = Content.assemble(
            (key.display, self.get_visual_style("key")),
            (f" {key.description}", self.get_visual_style("description")),
        )
        yield text.stylize(self.get_visual_style(*state, partial=True)) if state else text
        yield " "

    def _bindings_changed(self, screen: Screen[object]) -> None:
        if self.is_attached and screen is self.screen:
            self._choose()

    def _choose(self) -> None:
        """Choose the keys that there are and that fit; repaint only if they changed."""
        screen = self.screen
        shown = [one for one in screen.active_bindings.values() if one.binding.show]
        nodes = list(dict.fromkeys(one.node for one in shown))
        shown.sort(  # Textual puts remapped keys behind all others
            key=lambda one: (nodes.index(one.node), PLACES.get(one.binding.id or "", len(PLACES)))
        )
        one_each = {one.binding.action: one for one in reversed(shown)}  # the first key wins
        keys = those_that_fit(
            (
                FooterKey(
                    one.binding.key,
                    self.app.get_key_display(one.binding),
                    one.binding.description,
                    one.binding.action,
                    one.enabled,
                )
                for one in shown
                if one_each[one.binding.action] is one
            ),
            screen.size.width,
        )
        if keys != self.keys:
            self.keys = keys
            self.refresh()

    def _key_at(self, x: int) -> FooterKey | None:
        if self.message:
            return None
        for key in self.keys:
            if x < key.width - 1:
                return key if x >= 0 else None
            x -= key.width
        return None

    def _hover(self, key: FooterKey | None) -> None:
        if key is not self._hovered:
            self._hovered = key
            self.refresh()


def those_that_fit(keys: Iterable[FooterKey], width: int) -> list[FooterKey]:
    """Leave out keys, from the last on, until the others fit into a width in cells."""
    kept = list(keys)
    droppable = [key for key in kept if key.action.partition("(")[0] not in INDISPENSABLE]
    while droppable and sum(key.width for key in kept) > width:
        kept.remove(droppable.pop())
    return kept
