"""``gpt-tui verify RUN``: is all that was written still there, and would it come out the same?"""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any

from data.errors import InputError
from engine.runs.folder import find_run
from tui.commands import EXIT_DONE, EXIT_FAILED
from tui.commands.options import Parser, runs_dir_of
from tui.terminal.stdout import put
from tui.text.tables import table, to_json

if TYPE_CHECKING:
    from engine.repair.replay import Replay
    from engine.repair.verify import Check


def main(argv: list[str]) -> int:
    """Look at the run's files, and train it again if that is asked for."""
    args = _parser().parse_args(argv)
    run = find_run(args.run, runs_dir_of(args))
    from engine.repair.verify import verify_files

    if args.repair:
        from engine.repair.repair import repair

        repair(run, _say)
    checks, replayed = verify_files(run), None
    if args.replay:
        replayed = _replay(run, checks)
    is_fine = all(check.is_fine for check in checks)
    if args.json:
        facts = {"run": run.name, "path": str(run), "fine": is_fine}
        put(to_json(facts | {"checks": _plain(checks), "replay": _replay_facts(replayed)}))
    else:
        rows = [(check.part, _mark(check), check.found) for check in checks]
        put(table(("part", "", f"the run {run.name}"), rows, wrap=True))
        for caveat in replayed.caveats if replayed else ():
            put(f"other bits would be no fault here: {caveat}")
    return EXIT_DONE if is_fine else EXIT_FAILED


def _parser() -> Parser:
    parser = Parser(
        "gpt-tui verify",
        "Check that nothing of a run is missing or damaged. Exit code 0: all is well, 1: not.",
    )
    parser.add_argument("run", metavar="RUN", help="name or path of the run")
    parser.add_argument(
        "--replay",
        action="store_true",
        help="train it again from its settings and journal, and compare bit by bit",
    )
    parser.add_argument(
        "--repair",
        action="store_true",
        help="first make a damaged config.toml anew, and restore a damaged run.db from its copy "
        "in a checkpoint; the damaged one is kept",
    )
    parser.add_argument("--json", action="store_true", help="as one line of JSON")
    return parser


def _replay(run: Any, checks: list[Check]) -> Replay | None:
    """Train it again and add what came of it to the checks."""
    from engine.repair.replay import replay
    from engine.repair.verify import Check

    try:
        result = replay(run, _say)
    except InputError as error:
        checks.append(Check("replay", str(error), False))
        return None
    checks.append(Check("replay", result.described, result.differs_at is None))
    return result


def _replay_facts(replayed: Replay | None) -> dict[str, Any] | None:
    return dataclasses.asdict(replayed) if replayed else None


def _plain(checks: list[Check]) -> list[dict[str, Any]]:
    return [{"part": check.part, "fine": check.is_fine, "found": check.found} for check in checks]


def _mark(check: Check) -> str:
    return "ok" if check.is_fine else "BAD"


def _say(message: str) -> None:
    print(message, file=sys.stderr)
