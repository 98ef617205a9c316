"""``gpt-tui keys``: the key table."""

from __future__ import annotations

from collections.abc import Iterator

from tui import EXIT_DONE
from tui.commands.options import Parser
from tui.control.keymap import GROUPS, HELP, Group, display, id_of
from tui.terminal.stdout import put
from tui.text.tables import format_table, markdown

HEADER = ("keys", "action", "what it does")


def main(argv: list[str]) -> int:
    parser = Parser("gpt-tui keys", "List every key of the app.")
    parser.add_argument("--markdown", action="store_true", help="as the tables of docs/keys.md")
    args = parser.parse_args(argv)
    parts = ((group.title, list(_rows(name, group))) for name, group in GROUPS.items())
    if args.markdown:
        put("\n\n".join(f"### {title}\n\n{_markdown(rows)}" for title, rows in parts))
    else:
        rows = [row for _, rows in parts for row in rows]
        put(format_table(HEADER, rows, wrap=True))
    return EXIT_DONE


def _rows(name: str, group: Group) -> Iterator[tuple[str, str, str]]:
    for key in group.keys:
        if key is not HELP or name == "app":
            yield display(key.keys), id_of(name, key), key.help


def _markdown(rows: list[tuple[str, str, str]]) -> str:
    cells = [
        (" ".join(f"`{one}`" for one in keys.split()), f"`{id}`", help) for keys, id, help in rows
    ]
    return markdown(HEADER, cells)
