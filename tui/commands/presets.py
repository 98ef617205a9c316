"""``gpt-tui presets``: the named configurations."""

from __future__ import annotations

from engine.presets import PRESETS, default_preset
from tui.commands import EXIT_DONE
from tui.commands.options import Parser
from tui.commands.output import table


def main(argv: list[str]) -> int:
    """List the presets."""
    Parser("gpt-tui presets", "List the presets.").parse_args(argv)
    here = default_preset()
    rows = [
        (one.name, f"{one.help} Default here." if one.name == here else one.help)
        for one in PRESETS.values()
    ]
    print(table(("preset", "what it is"), rows))
    return EXIT_DONE
