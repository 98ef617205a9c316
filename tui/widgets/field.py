"""A field of one line, also for a text of several: a line break is written ``\\n`` in it."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.widgets import Input, Label

from engine.config.escapes import escape
from tui.control.keymap import bindings

EMPTY_PROMPT = "empty: a new document or line"  # where it is not known which


class Field(Input):
    """A compact field that Escape leaves, by the screen's action ``leave_field``.

    Where ``escaped`` is set it takes what is pasted whole; else its first line, as any field. With
    ``takes_tab`` a tab, which a terminal may paste as a key, is a part of the text.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("field")

    escaped = False
    takes_tab = False

    def __init__(
        self, *, id: str | None = None, placeholder: str = "", restrict: str | None = None
    ) -> None:
        # what is typed replaces nothing: a field may get the focus while the user types
        super().__init__(placeholder=placeholder, restrict=restrict, id=id, select_on_focus=False)
        # as compact=True, which would compute the styles of a widget that is not mounted yet
        self.add_class("-textual-compact", update=False)

    def _on_paste(self, event: events.Paste) -> None:
        if self.escaped:
            event.prevent_default()  # it would take the first line alone
            event.stop()
            self._take(event.text)

    def on_key(self, event: events.Key) -> None:
        if self.takes_tab and event.key == "tab":
            event.prevent_default()
            event.stop()
            self._take("\t")

    def action_paste(self) -> None:
        if self.escaped:
            self._take(self.app.clipboard)
        else:
            super().action_paste()

    def _take(self, pasted: str) -> None:
        """Put it in place of what is selected.

        One line may have been copied from such a field, so its backslashes are taken as if they
        were typed; several lines are a text, and mean what they say.
        """
        text = "\n".join(pasted.split("\r\n")).replace("\r", "\n")
        self.replace(escape(text) if "\n" in text or "\t" in text else text, *self.selection)


class FieldLabel(Label):
    """The name of the field beside it; a click on it goes to the field."""

    DEFAULT_CSS = """
    FieldLabel { pointer: pointer; }
    """

    def on_click(self, event: events.Click) -> None:
        assert self.parent
        beside = list(self.parent.children)
        for one in beside[beside.index(self) :]:
            if isinstance(one, Field):
                event.stop()
                self.screen.set_focus(one)
                return
