"""``gpt-tui verify RUN``: check the files of a run, and replay its training."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import InputError
from data.program import named
from tui import EXIT_DONE, EXIT_FAILED
from tui.commands.options import RunParser, add_data_options, places_of
from tui.terminal.stdout import complain, put, say
from tui.text.tables import format_json, format_table

if TYPE_CHECKING:
    from engine.repair.replay import Replay
    from engine.repair.verify import Check
    from engine.runs.known_text import Places


def main(argv: list[str]) -> int:
    args, run = _parser().parse_run(argv)
    for option, place in (("--data", args.data), ("--val", args.val)):
        if place and not args.replay:
            raise InputError(f"{option} is for --replay, which trains on the text: add --replay")
    from engine.repair.verify import verify_files
    from engine.runs.transfer import TRASH_FOLDER, way_back

    if run.parent.name == TRASH_FOLDER:
        back = way_back(run.name, run.parent.parent)
        complain(f"{named(run.name)} is in the trash: {back} brings it back")
    if args.repair:
        from engine.repair.repair import repair

        repair(run, say)
    checks, replayed = verify_files(run), None
    if args.replay:
        replayed = _replay(run, checks, places_of(args))
    is_fine = all(check.is_fine for check in checks)
    if args.json:
        facts = {
            "run": run.name,
            "path": str(run),
            "fine": is_fine,
            "checks": [
                {"part": check.part, "fine": check.is_fine, "found": check.found}
                for check in checks
            ],
            "replay": dataclasses.asdict(replayed) if replayed else None,
        }
        put(format_json(facts))
    else:
        rows = [(check.part, "ok" if check.is_fine else "BAD", check.found) for check in checks]
        put(format_table(("part", "", f"the run {run.name}"), rows, wrap=True))
        for caveat in replayed.caveats if replayed else ():
            put(f"different bits would not be an error here: {caveat}")
    return EXIT_DONE if is_fine else EXIT_FAILED


def _parser() -> RunParser:
    parser = RunParser(
        "gpt-tui verify",
        "Check that no file of a run is missing or damaged. Exit code 0: none is, 1: some are.",
    )
    parser.add_argument(
        "--replay",
        action="store_true",
        help="train it again from its settings and journal, and compare bit by bit",
    )
    add_data_options(parser)
    parser.add_argument(
        "--repair",
        action="store_true",
        help="first restore a damaged config.toml, or a damaged run.db from its copy in a "
        "checkpoint; the damaged file is kept",
    )
    return parser


def _replay(run: Path, checks: list[Check], places: Places) -> Replay | None:
    """Train the run again and add the result to the checks."""
    from engine.repair.replay import replay
    from engine.repair.verify import Check

    try:
        result = replay(run, say, places)
    except InputError as error:
        checks.append(Check("replay", str(error), False))
        return None
    checks.append(Check("replay", result.described, result.differs_at is None))
    return result
