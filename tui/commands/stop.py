"""``gpt-tui stop RUN``: save and end a run that another process trains."""

from __future__ import annotations

from engine.protocol import Stop
from engine.runs.summary import read_summary
from tui import EXIT_DONE
from tui.commands.elsewhere import AnywhereParser
from tui.commands.tell import tell
from tui.terminal.stdout import put
from tui.text.notices import going_on
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
        put(f"stopped at step {told['step']:,}, saved\n  go on    {going_on(read_summary(run))}")
    return EXIT_DONE
