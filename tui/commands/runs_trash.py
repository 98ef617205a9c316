"""``gpt-tui runs rm``, ``restore`` and ``trash``: deleting runs, and thinking better of it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from data.errors import InputError
from engine.program import program
from engine.runs.catalogue import disk_use
from engine.runs.folder import find_run, in_runs_dir
from engine.runs.summary import read_summary
from engine.runs.transfer import (
    Trashed,
    empty_trash,
    find_trashed,
    list_trash,
    restore_run,
    trash_run,
)
from tui.commands import EXIT_DONE
from tui.commands.options import Parser, runs_dir_of
from tui.terminal.stdout import put
from tui.text.numbers import counted, moment, with_unit
from tui.text.tables import run_facts, table, to_json


def remove(argv: list[str]) -> int:
    """Move runs to the trash."""
    parser = Parser("gpt-tui runs rm", "Move runs to the trash; 'gpt-tui runs restore' undoes it.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="name or path of a run")
    parser.add_argument("--json", action="store_true", help="as one line of JSON: an array")
    args = parser.parse_args(argv)
    paths = dict.fromkeys(find_run(run, runs_dir_of(args)) for run in args.runs)
    trashed, problems = [], []
    for path in paths:
        try:
            trashed.append(trash_run(path))
        except InputError as error:
            problems += error.problems
    if args.json:
        put(to_json([_facts(one) for one in trashed]))
    elif trashed:
        put(f"in the trash: {', '.join(one.name for one in trashed)}\n{_ways_back(trashed)}")
    if problems:
        raise InputError(*problems)
    return EXIT_DONE


def restore(argv: list[str]) -> int:
    """Bring runs back from the trash."""
    parser = Parser("gpt-tui runs restore", "Bring runs back from the trash.")
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="the name it had (then the one deleted last), or has in the trash",
    )
    parser.add_argument("--name", help="what to call the only one (default: as before)")
    parser.add_argument("--json", action="store_true", help="as one line of JSON: an array")
    args = parser.parse_args(argv)
    found = dict.fromkeys(find_trashed(run, runs_dir_of(args)) for run in args.runs)
    if args.name and len(found) > 1:
        raise InputError("--name can name one run: bring the others back without it")
    restored, problems = [], []
    for one in found:
        try:
            restored.append(restore_run(one, args.name))
        except InputError as error:
            problems += error.problems
    if args.json:
        put(to_json([run_facts(read_summary(path)) for path in restored]))
    elif restored:
        names = ", ".join(path.name for path in restored)
        put(f"{names} {'is' if len(restored) == 1 else 'are'} back")
    if problems:
        raise InputError(*problems)
    return EXIT_DONE


def trash(argv: list[str]) -> int:
    """List what is in the trash, or delete it for good."""
    parser = Parser("gpt-tui runs trash", "List the deleted runs, the latest last.")
    parser.add_argument("--empty", action="store_true", help="delete them for good (with --yes)")
    parser.add_argument("--yes", action="store_true", help="yes, they cannot be brought back then")
    parser.add_argument("--json", action="store_true", help="as one line of JSON: an array")
    args = parser.parse_args(argv)
    runs_dir = runs_dir_of(args)
    trashed = list_trash(runs_dir)
    facts = [_facts(one) for one in trashed]
    size = with_unit(sum(one["bytes"] for one in facts), "B")
    if args.empty:
        if trashed and not args.yes:
            raise InputError(
                f"{counted(len(trashed), 'run')} ({size}) would be gone for good: "
                f"add --yes to delete, or look first: {program()} runs trash{in_runs_dir(runs_dir)}"
            )
        empty_trash(runs_dir)
    if args.json:
        put(to_json(facts))
    elif args.empty:
        put(f"deleted for good: {counted(len(trashed), 'run')}, {size}")
    elif trashed:
        put(table(("name", "deleted", "size", "in the trash as"), map(_row, facts), (2,)))
    else:
        put(f"the trash of {runs_dir} is empty")
    return EXIT_DONE


def _ways_back(trashed: list[Trashed]) -> str:
    """A command for each of their runs folders, which have a trash each."""
    names: dict[Path, list[str]] = {}
    for one in trashed:
        names.setdefault(one.path.parent.parent, []).append(one.name)
    return "\n".join(
        f"  bring back  {program()} runs restore {shlex.join(some)}{in_runs_dir(folder)}"
        for folder, some in names.items()
    )


def _facts(one: Trashed) -> dict[str, Any]:
    return {
        "name": one.name,
        "path": str(one.path),
        "deleted": one.deleted,
        "bytes": disk_use(one.path),
    }


def _row(facts: dict[str, Any]) -> tuple[str, ...]:
    size = with_unit(facts["bytes"], "B")
    return facts["name"], moment(facts["deleted"]), size, Path(facts["path"]).name
