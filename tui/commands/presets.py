"""``gpt-tui presets``: the named configurations."""

from __future__ import annotations

import dataclasses

from engine.config.presets import GROUPS, Preset, default_preset
from tui import EXIT_DONE
from tui.commands.options import Parser
from tui.terminal.stdout import put
from tui.text.tables import format_columns, format_json


def main(argv: list[str]) -> int:
    parser = Parser("gpt-tui presets", "List the presets.")
    parser.add_argument("--json", action="store_true", help="as one line of JSON: an array")
    args = parser.parse_args(argv)
    here = default_preset()
    if args.json:
        put(format_json([_facts(one, group, here) for group in GROUPS for one in GROUPS[group]]))
    else:
        put("\n".join(f"{group}\n{_listing(group, here)}" for group in GROUPS))
    return EXIT_DONE


def _listing(group: str, here: str) -> str:
    width = max(len(one.name) for presets in GROUPS.values() for one in presets)
    rows = [(f"  {one.name:<{width}}", *_cells(one, here)) for one in GROUPS[group]]
    return format_columns(rows, wrap=True)


def _cells(preset: Preset, here: str) -> tuple[str, ...]:
    if preset.lecture_loss is not None:
        return f"{preset.lecture_loss:.2f}", preset.changed
    return (f"{preset.help}{' Default here.' if preset.name == here else ''}",)


def _facts(preset: Preset, group: str, here: str) -> dict[str, object]:
    return {**dataclasses.asdict(preset), "group": group, "default": preset.name == here}
