"""``gpt-tui logs RUN``: what a run said while it was trained in the background."""

from __future__ import annotations

import time

from data.errors import InputError
from data.reading import open_regular
from engine.runs.folder import LOG_FILE, is_locked
from tui import EXIT_DONE
from tui.commands.elsewhere import AnywhereParser
from tui.terminal.stdout import complain, put
from tui.terminal.visible import visible

POLL_SECONDS = 0.3


def main(argv: list[str]) -> int:
    """Print the log; with ``--follow``, until the run ends."""
    parser = AnywhereParser(
        "logs", "Print what a run said while trained in the background.", or_only=True
    )
    parser.add_argument("--follow", "-f", action="store_true", help="go on until the run ends")
    parsed = parser.parse_anywhere(argv)
    if isinstance(parsed, int):
        return parsed
    args, run = parsed
    try:
        descriptor = open_regular(run / LOG_FILE)
    except FileNotFoundError:
        raise InputError(
            f"the run {run.name!r} has no log: it was not trained in the background"
        ) from None
    is_empty = True
    with open(descriptor, "rb") as log:
        while True:
            live = is_locked(run)  # before reading: what is written last is read, too
            text = visible(log.read().decode(errors="replace"))
            put(text, end="")
            is_empty = is_empty and not text
            if not (args.follow and live):
                break
            time.sleep(POLL_SECONDS)
    if is_empty:
        complain(f"the run {run.name!r} has logged nothing{' yet' if live else ''}")
    return EXIT_DONE
