"""``gpt-tui settings``: the schema as a table."""

from __future__ import annotations

from engine.config.changes import WHEN_TEXTS
from engine.config.schema import SETTINGS
from engine.config.setting import Setting
from tui import EXIT_DONE
from tui.commands.options import Parser
from tui.terminal.stdout import put
from tui.text.tables import format_table, markdown

HEADER = ("setting", "default", "allowed", "unit", "may change", "what it is")


def main(argv: list[str]) -> int:
    parser = Parser("gpt-tui settings", "List every setting, as the schema declares it.")
    parser.add_argument("--markdown", action="store_true", help="as the table of docs/settings.md")
    args = parser.parse_args(argv)
    put(
        settings_markdown() if args.markdown else format_table(HEADER, map(_row, SETTINGS.values()))
    )
    return EXIT_DONE


def settings_markdown() -> str:
    """The table in docs/settings.md."""
    rows = [[cell.replace("|", "\\|") for cell in _row(one)] for one in SETTINGS.values()]
    return markdown(HEADER, [[f"`{name}`", *others] for name, *others in rows])


def _row(one: Setting) -> tuple[str, ...]:
    allowed = ", or ".join((one.bounds, *one.special.values()))
    default = one.format(one.default) or '""'
    told = f"{one.help} ({one.source})" if one.source else one.help
    return (one.key, default, allowed or "any text", one.unit, WHEN_TEXTS[one.when].column, told)
