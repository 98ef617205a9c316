"""The keys of all actions as a list, to give an action another one."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import events, getters
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from data.errors import InputError
from tui.control.keymap import GROUPS, Key, bindings, display, id_of
from tui.control.preferences import Preferences
from tui.control.remap import Keymap
from tui.screens.keyed import KeyedModalScreen
from tui.text.numbers import format_count
from tui.widgets.choice_list import RowList
from tui.widgets.field import Field
from tui.widgets.keys_footer import KeysFooter

KEYS_WIDTH, LABEL_WIDTH = 18, 16
LEAVES = "escape"  # a key that waits for another one is left by it


class NextKey(Static, can_focus=True):
    """Takes the next key that is pressed, whatever it does elsewhere."""

    class Pressed(Message):
        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        self.post_message(self.Pressed(event.key))


class KeyPreferencesScreen(KeyedModalScreen[None]):
    """Lists the actions with their keys; Enter waits for the new key of one."""

    KEYS = "keys"
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)
    ABOUT = (
        "All that keys do, and which keys. Change them if your terminal has a key for itself, or "
        "to have those that you know from elsewhere."
    )
    HELP = (
        "Enter on an action waits for its new key, and {keys.add} for a further one; {keys.reset} "
        "gives the action its own again. A key that another action of the screen has is refused. "
        "They are kept in the file of the preferences, under `[keys]`."
    )
    DEFAULT_CSS = """
    KeyPreferencesScreen {
        #keys { text-wrap: nowrap; text-overflow: ellipsis; scrollbar-size-vertical: 1; }
        #filter, #next-key { display: none; }
        .-filtering #filter { display: block; }
        .-waiting #next-key { display: block; background: $boost; text-style: bold; }
        #told { height: auto; min-height: 3; margin-top: 1; }
    }
    """

    rows = getters.query_one("#keys", RowList)
    filter = getters.query_one("#filter", Field)

    def __init__(self, preferences: Preferences) -> None:
        super().__init__()
        self.preferences = preferences
        self._keymap = Keymap(preferences.keys)
        self._problem = "", ""  # of which action, and what
        self._adds = False  # the next key is one more, in place of all that there are

    def compose(self) -> ComposeResult:
        with Vertical(id="page") as page:
            page.border_title = "keys"
            page.border_subtitle = (
                f"enter: change · {self.key_of('keys.add')}: one more · "
                f"{self.key_of('keys.reset')}: default · {self.key_of('keys.filter')}: filter"
            )
            yield Field(id="filter", placeholder="words in the action or what it does")
            yield RowList(id="keys")
            yield NextKey(id="next-key")
            yield Static(id="told")
        yield KeysFooter()

    def on_mount(self) -> None:
        self._show()
        self.set_focus(self.rows)

    # -- showing ---------------------------------------------------------------------------------

    def _show(self) -> None:
        self._keymap = Keymap(self.preferences.keys)
        kept, words = self._chosen, self.filter.value.lower().split()
        options: list[Option] = []
        for name, group in GROUPS.items():
            found = [
                Option(self._row(name, key), id=id_of(name, key))
                for key in group.keys
                if id_of(name, key).startswith(f"{name}.") and _matches(group.title, key, words)
            ]
            if found:
                options += [Option(Text(group.title, "bold"), disabled=True), *found]
        self.rows.set_options(options)
        ids = [one.id for one in options]
        if options:
            self.rows.highlighted = ids.index(kept) if kept in ids else 1
        self._tell()

    def _row(self, name: str, key: Key) -> Text:
        changed = id_of(name, key) in self._keymap.changes
        mark, style = ("* ", "bold") if changed else ("  ", "")
        shown = self._keymap.shown(name, key)
        row = Text.assemble(mark, (f"{shown:<{KEYS_WIDTH}} ", style), no_wrap=True)
        return row.append(f"{key.label:<{LABEL_WIDTH}} ").append(key.help, "dim")

    @property
    def _chosen(self) -> str:
        """The action under the cursor; empty if there is none."""
        option = self.rows.highlighted_option
        return (option.id or "") if option else ""

    def _tell(self) -> None:
        told, id = Text(), self._chosen
        if id:
            name, key = action_of(id)
            told.append(id, "bold").append(f"  {display(self._keymap.keys(name, key))}")
            if id in self._keymap.changes:
                told.append(f" · by default {display(key.keys)}", "dim")
            told.append(f"\n{key.help}\n")
        else:
            told.append(f"no action has these words: {self.key_of('keys.back')} lists all\n")
        changed = len(self._keymap.changes)
        kept = f"{format_count(changed, 'action')} with other keys" if changed else "all by default"
        of, problem = self._problem
        told.append(*((problem, "bold") if problem and of == id else (kept, "dim")))
        self.query_one("#told", Static).update(told)

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        self._tell()

    # -- changing --------------------------------------------------------------------------------

    def why_not(self, action: str, parameters: tuple[object, ...]) -> str:
        listed = self.query("#keys")  # the footer, which is there first, asks before
        if action in ("add", "reset") and listed and not self._chosen:
            return "no action is listed"
        return ""

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._wait(adds=False)

    def action_add(self) -> None:
        """Have the next key be one more of the action under the cursor."""
        self._wait(adds=True)

    def _wait(self, adds: bool) -> None:
        self._adds, self._problem = adds, ("", "")
        field, what = self.query_one(NextKey), "a further key" if adds else "the new key"
        _, key = action_of(self._chosen)
        field.update(f"press {what} for “{key.label}”; {display(LEAVES)} leaves it as it is")
        self.query_one("#page").add_class("-waiting")
        self.set_focus(field)  # at once: the next key is for it
        self._tell()

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        if isinstance(event.widget, NextKey) and self.is_current:
            self._end()

    def on_next_key_pressed(self, message: NextKey.Pressed) -> None:
        message.stop()
        self._end()
        if message.key != LEAVES:
            name, key = action_of(self._chosen)
            before = self._keymap.keys(name, key).split(",") if self._adds else []
            keys = [*(one for one in before if one != message.key), message.key]
            self._set("" if keys == key.keys.split(",") else ",".join(keys))

    def _end(self) -> None:
        self.query_one("#page").remove_class("-waiting")
        if not isinstance(self.focused, Input):
            self.set_focus(self.rows)

    def action_move(self, where: str) -> None:
        """Go to the next action, or the one before."""
        getattr(self.rows, f"action_cursor_{where}")()

    def action_reset(self) -> None:
        """Give the action under the cursor its own keys again."""
        self._set("")

    def _set(self, keys: str) -> None:
        before, problem = self.preferences.keys, ""
        try:
            self.preferences.set_key(self._chosen, keys)
        except InputError as error:
            kept = self.preferences.keys != before
            problem = f"{error}; it is so until the app ends" if kept else str(error)
        self._problem = self._chosen, problem
        self._show()

    # -- finding ---------------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Show only actions with some words."""
        self.query_one("#page").add_class("-filtering")
        self.set_focus(self.filter)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._show()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.set_focus(self.rows)

    def action_leave_field(self) -> None:
        """Leave the filter first, then the screen."""
        page = self.query_one("#page")
        if page.has_class("-filtering"):
            page.remove_class("-filtering")
            self.filter.value = ""
            self.set_focus(self.rows)
        else:
            self.dismiss()


def action_of(id: str) -> tuple[str, Key]:
    """Return the group and the line of the key table of an action."""
    return next(
        (name, key) for name, group in GROUPS.items() for key in group.keys
        if id_of(name, key) == id
    )  # fmt: skip


def _matches(title: str, key: Key, words: list[str]) -> bool:
    text = f"{title} {key.name} {key.label} {key.help}".lower()
    return all(word in text for word in words)
