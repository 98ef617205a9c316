"""``gpt-tui stop RUN``: save and end a run that another process trains."""

from __future__ import annotations

from engine.program import program
from engine.protocol import Stop
from engine.runs.folder import typed_name
from tui import EXIT_DONE
from tui.commands.elsewhere import AnywhereParser
from tui.commands.tell import tell
from tui.terminal.stdout import put
from tui.text.tables import format_json


def main(argv: list[str]) -> int:
    """Stop it, and wait until it is saved."""
    parser = AnywhereParser("stop", "Save and end a run that is trained in the background.")
    parsed = parser.parse_anywhere(argv)
    if isinstance(parsed, int):
        return parsed
    args, run = parsed
    told = tell(run, Stop())
    if args.json:
        put(format_json(told))
    else:
        name = typed_name(run)
        again = f"{program()} train --resume {name}"
        put(f"stopped at step {told['step']:,}, saved\n  go on    {again}")
    return EXIT_DONE
