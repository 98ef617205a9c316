"""``gpt-tui preferences``: list and change the preferences of the app."""

from __future__ import annotations

import argparse
import re

from engine.config.setting import Value
from tui import EXIT_DONE
from tui.commands.options import Parser
from tui.control.preferences import (
    KEYS,
    PREFERENCES,
    Preferences,
    allowed,
    preference,
    preferences_file,
    typed_value,
)
from tui.control.remap import Keymap
from tui.terminal.stdout import complain, put
from tui.text.tables import format_table, markdown

ACTIONS = {"list": 0, "path": 0, "set": 2, "reset": 1}  # and how many words follow
DESCRIPTION = """The preferences of the app: theme, layout, charts, notifications, folders, keys.

  list             show all, with their values (the default)
  path             print where they are kept; the file may be edited by hand, too
  set NAME VALUE   change one, as in: set screen.theme dracula, or set keys.cockpit.train f6
  reset NAME       give one its default again"""
EMPTY = '""'
HEADER = ("preference", "default", "allowed", "what it is")


def main(argv: list[str]) -> int:
    parser = Parser(
        "gpt-tui preferences", DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", nargs="?", default="list", choices=ACTIONS)
    parser.add_argument("words", nargs="*", metavar="NAME VALUE", help="of a preference")
    parser.add_argument(
        "--markdown", action="store_true", help="as the table of docs/preferences.md"
    )
    args = parser.parse_args(argv)
    if len(args.words) != ACTIONS[args.action]:
        takes = ("no more words", "the NAME of a preference", "a NAME and a VALUE")
        parser.error(f"{args.action} takes {takes[ACTIONS[args.action]]}")
    if args.markdown:
        put(preferences_markdown())
    elif args.action == "path":
        put(str(preferences_file()))
    elif args.action == "list":
        put(_list(Preferences.load()))
    else:
        name, *value = args.words
        put(_change(re.sub("[\"']", "", name), *value))  # quoted as in the file
    return EXIT_DONE


def preferences_markdown() -> str:
    """The table in docs/preferences.md."""
    rows = []
    for name in PREFERENCES:
        one = preference(name)
        words = allowed(one) or "any text"
        rows.append([f"`{name}`", f"`{one.format(one.default) or EMPTY}`", words, one.help])
    return markdown(HEADER, rows)


def _list(preferences: Preferences) -> str:
    for problem in [*preferences.problems, *Keymap(preferences.keys).problems]:
        complain(problem)
    rows = []
    for name, one in PREFERENCES.items():
        words = allowed(one)
        told = f"{one.help} ({words})" if words else one.help
        rows.append((name, *(one.format(v) or EMPTY for v in _values(preferences, name)), told))
    for action, keys in preferences.keys.items():
        rows.append((f"{KEYS}.{action}", keys, "", "Keys of an action."))
    return format_table((HEADER[0], "value", HEADER[1], HEADER[3]), rows, wrap=True)


def _values(preferences: Preferences, name: str) -> tuple[Value, Value]:
    return preferences.get(name), PREFERENCES[name].default


def _change(name: str, typed: str | None = None) -> str:
    preferences = Preferences.load()
    if name.startswith(f"{KEYS}."):
        preferences.set_key(name.removeprefix(f"{KEYS}."), typed or "")
        return f"{name} = {typed or 'its own keys'}"
    one = preference(name)
    value = preferences.set(name, one.default if typed is None else typed_value(one, typed))
    return f"{name} = {one.format(value) or EMPTY}"
