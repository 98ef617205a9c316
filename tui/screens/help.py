"""Pages of text over a screen: its help, made from the key table, or the log of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from tui.control.keymap import GROUPS, HELP, bindings
from tui.control.remap import Keymap
from tui.screens.keyed import KeyedModalScreen, KeyedScreen
from tui.widgets.keys_footer import KeysFooter


class Page(VerticalScroll):
    """A text to scroll."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("page")


class TextScreen(KeyedModalScreen[None]):
    """Shows a text, and Markdown above and below it, until Escape."""

    KEYS = "page"

    def __init__(
        self,
        title: str,
        text: Text | None = None,
        keys: Iterable[tuple[str, str]] = (),
        before: str = "",
        more: str = "",
        message: str = "",
        message_first: bool = False,
    ) -> None:
        super().__init__()
        self.keys = list(keys)  # and what they do
        self.text = text or table_of(self.keys)
        self._title, self.before, self._more = title, before, more
        self.told, self._message_first = message, message_first  # of the screen below

    def compose(self) -> ComposeResult:
        from textual.widgets import Markdown  # its parser is not loaded before the first paint

        with Page(id="page") as page:
            page.border_title = self._title
            page.border_subtitle = f"{self.key_of('page.back')}: back"
            message = Static(Text(f"{self.told}\n"), id="message")
            if self.told and self._message_first:
                yield message
            if self.before:
                yield Markdown(self.before)
            if self.told and not self._message_first:
                yield message
            yield Static(self.text, id="keys")
            if self._more:
                yield Markdown(self._more)
        yield KeysFooter()


def help_screen(screen: Screen[Any], keymap: Keymap) -> TextScreen:
    """Return the help of what has the focus, the keys of its screen, and the screen's ``HELP``."""
    keys = keys_of(screen, keymap)
    before, more = keymap.in_words(_of_focused(screen)), keymap.in_words(screen.HELP or "")
    if not isinstance(screen, KeyedScreen):
        return TextScreen("help", None, keys, before, more)
    # whoever sees that a message is cut asks for the rest of it
    cut = screen.message_is_cut
    return TextScreen("help", None, keys, before, more, screen.message, message_first=cut)


def table_of(keys: Iterable[tuple[str, str]]) -> Table:
    """Return keys and what they do in two columns, in each of which the text wraps."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", max_width=16)
    table.add_column(ratio=1)
    for key, help in keys:
        table.add_row(key, help)
    return table


def keys_of(screen: Screen[Any], keymap: Keymap) -> Iterator[tuple[str, str]]:
    """Yield the keys of what has the focus, of the screen and of the app, and what they do."""
    for name in (*_groups_of(screen.focused), getattr(screen, "KEYS", ""), "app"):
        for key in GROUPS[name].keys if name else ():
            if key is not HELP or name == "app":
                yield keymap.shown(name, key), key.help


def _groups_of(widget: Widget | None) -> Iterator[str]:
    if widget is not None:
        nodes = (one for one in widget.ancestors_with_self if not isinstance(one, Screen))
        yield from dict.fromkeys(
            str(binding.id).partition(".")[0]
            for node in nodes
            for _, binding in node._bindings
            if binding.id and not binding.id.startswith("app.")
        )


def _of_focused(screen: Screen[Any]) -> str:
    """Return the help of the focused widget, or of the innermost one around it that has some.

    Without one, or if none of these has any, it is what the screen explains of what it shows now.
    """
    around = screen.focused.ancestors_with_self if screen.focused is not None else ()
    nodes = [one for one in around if isinstance(one, Widget) and not isinstance(one, Screen)]
    explain = getattr(screen, "explain", None)
    found = (told for one in nodes if (told := help_of(one)))
    return next(found, "") or (str(explain()) if explain else "")


def help_of(widget: Widget) -> str:
    """Return the explanation of a widget: of what it shows now, if it has a method for that."""
    explain = getattr(widget, "explain", None)
    return str(explain()) if explain else widget.HELP or ""
