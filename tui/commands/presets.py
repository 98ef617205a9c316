"""``gpt-tui presets``: the named configurations."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import structs

from engine.config.presets import Preset, default_preset
from tui import EXIT_DONE
from tui.commands.options import Parser
from tui.control.own_presets import all_presets, own_presets
from tui.terminal.stdout import complain, put
from tui.text.tables import format_columns, format_json


def main(argv: list[str]) -> int:
    parser = Parser("gpt-tui presets", "List the presets.")
    parser.add_argument("--json", action="store_true", help="as one line of JSON: an array")
    args = parser.parse_args(argv)
    here, groups = default_preset(), all_presets()
    if args.json:
        put(format_json([_facts(one, group, here) for group in groups for one in groups[group]]))
    else:
        width = max(len(one.name) for presets in groups.values() for one in presets)
        put("\n".join(f"{name}\n{_listing(groups[name], here, width)}" for name in groups))
    for one in own_presets():
        if one.problem:
            complain(one.problem)
    return EXIT_DONE


def _listing(presets: Iterable[Preset], here: str, width: int) -> str:
    rows = [(f"  {one.name:<{width}}", *_cells(one, here)) for one in presets]
    return format_columns(rows, wrap=True)


def _cells(preset: Preset, here: str) -> tuple[str, ...]:
    if preset.lecture_loss is not None:
        return f"{preset.lecture_loss:.2f}", preset.changed
    return (f"{preset.help}{' Default here.' if preset.name == here else ''}",)


def _facts(preset: Preset, group: str, here: str) -> dict[str, object]:
    return {**structs.asdict(preset), "group": group, "default": preset.name == here}
