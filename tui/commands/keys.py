"""``gpt-tui keys``: the keys in force, or the key table as a page has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tui import EXIT_DONE
from tui.commands.options import Parser
from tui.control.keymap import GROUPS, HELP, Group, Key, display, id_of
from tui.control.preferences import Preferences
from tui.control.remap import Keymap
from tui.terminal.stdout import complain, put
from tui.text.tables import format_table, markdown

HEADER = ("keys", "action", "what it does")


def main(argv: list[str]) -> int:
    parser = Parser("gpt-tui keys", "List every key of the app, with those of your preferences.")
    parser.add_argument(
        "--markdown", action="store_true", help="the default keys, as the tables of docs/keys.md"
    )
    args = parser.parse_args(argv)
    if args.markdown:
        parts = ((group.title, _rows(name, group)) for name, group in GROUPS.items())
        put("\n\n".join(f"### {title}\n\n{_markdown(rows)}" for title, rows in parts))
    else:
        put(format_table(HEADER, list(_in_force(Preferences.load())), wrap=True))
    return EXIT_DONE


def _in_force(preferences: Preferences) -> Iterator[tuple[str, str, str]]:
    """Yield all rows with the keys that the preferences give; those say what they were."""
    keymap = Keymap(preferences.keys)
    for problem in keymap.problems:
        complain(problem)
    for name, group in GROUPS.items():
        for key in _keys_of(name, group):
            now, usual = keymap.shown(name, key), display(key.keys)
            told = key.help if now == usual else f"{key.help} (remapped: was {usual})"
            yield now, id_of(name, key), told


def _rows(name: str, group: Group) -> Iterator[tuple[str, str, str]]:
    for key in _keys_of(name, group):
        yield display(key.keys), id_of(name, key), key.help


def _keys_of(name: str, group: Group) -> Iterator[Key]:
    """Yield the keys of a group; that of the help, which all have, only of the app's."""
    return (key for key in group.keys if key is not HELP or name == "app")


def _markdown(rows: Iterable[tuple[str, str, str]]) -> str:
    cells = [
        (" ".join(f"`{one}`" for one in keys.split()), f"`{id}`", help) for keys, id, help in rows
    ]
    return markdown(HEADER, cells)
