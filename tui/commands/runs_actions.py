"""``gpt-tui runs ACTION``: tag, note, rename, copy and delete runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data.errors import InputError
from data.paths import quoted_path
from data.program import named
from engine.program import program
from engine.runs.catalogue import disk_use
from engine.runs.folder import find_own_run, in_runs_dir
from engine.runs.notes import change_tags, read_notes, set_note
from engine.runs.summary import read_summary
from engine.runs.transfer import (
    Trashed,
    copy_run,
    empty_trash,
    find_trashed,
    list_trash,
    rename_run,
    restore_run,
    trash_run,
)
from tui import EXIT_DONE
from tui.commands.options import Parser, RunParser, gathering, path_argument, runs_dir_of
from tui.terminal.stdout import put
from tui.text.numbers import format_count, format_path, format_time, format_unit
from tui.text.tables import format_json, format_table, run_facts

# -- one run -------------------------------------------------------------------------------------


def tag(argv: list[str]) -> int:
    parser = RunParser("gpt-tui runs tag", "Add tags to a run, or remove them; print its tags.")
    parser.add_argument("tags", nargs="*", metavar="TAG", help="a tag to add")
    parser.add_argument(
        "--remove", action="append", default=[], metavar="TAG", help="a tag to remove; repeatable"
    )
    args, path = parser.parse_run(argv)
    tags = read_notes(path).tags
    missing = [word for word in args.remove if word not in tags]
    if missing:
        raise InputError(
            f"the run {path.name!r} has no tag {missing[0]!r}: "
            f"it has {', '.join(tags) or 'none at all'}"
        )
    notes = change_tags(path, args.tags, args.remove)
    return _print_run(path, args.json, " ".join(notes.tags) or "no tags")


def note(argv: list[str]) -> int:
    parser = RunParser("gpt-tui runs note", "Write a note on a run, which may be in training.")
    parser.add_argument(
        "text", nargs="?", metavar="TEXT", help="the note; '' removes it (default: print it)"
    )
    args, path = parser.parse_run(argv)
    notes = read_notes(path) if args.text is None else set_note(path, args.text)
    return _print_run(path, args.json, notes.note or "no note")


def rename(argv: list[str]) -> int:
    parser = RunParser("gpt-tui runs rename", "Rename a run and its folder.")
    parser.add_argument("name", metavar="NAME", help="the new name")
    args = parser.parse_args(argv)
    path = find_own_run(args.run, runs_dir_of(args))
    renamed = rename_run(path, args.name)
    return _print_run(renamed, args.json, f"{named(path.name)} is now {renamed.name}")


def copy(argv: list[str]) -> int:
    parser = RunParser("gpt-tui runs copy", "Copy a run as it is now; it may be in training.")
    parser.add_argument(
        "destination",
        type=path_argument,
        metavar="DEST",
        help="the folder to create, or an existing one to copy it into under its name",
    )
    args, run = parser.parse_run(argv)
    made = copy_run(run, args.destination)
    facts = {"run": str(run), "copy": str(made)}
    put(format_json(facts) if args.json else f"copied {named(run.name)} to {format_path(made)}")
    return EXIT_DONE


def _print_run(path: Path, as_json: bool, text: str) -> int:
    put(format_json(run_facts(read_summary(path))) if as_json else text)
    return EXIT_DONE


# -- the trash -----------------------------------------------------------------------------------


def rm(argv: list[str]) -> int:
    parser = Parser("gpt-tui runs rm", "Move runs to the trash; 'gpt-tui runs restore' undoes it.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="name or path of a run")
    parser.add_argument("--json", action="store_true", help="print one line of JSON: an array")
    args = parser.parse_args(argv)
    problems: list[str] = []
    trashed: list[Trashed] = []
    for path in dict.fromkeys(find_own_run(run, runs_dir_of(args)) for run in args.runs):
        with gathering(problems):
            trashed.append(trash_run(path))
    if args.json:
        put(format_json([_facts(one) for one in trashed]))
    elif trashed:
        put(f"in the trash: {', '.join(one.name for one in trashed)}\n{_ways_back(trashed)}")
    if problems:
        raise InputError(*problems)
    return EXIT_DONE


def restore(argv: list[str]) -> int:
    parser = Parser("gpt-tui runs restore", "Restore runs from the trash.")
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="its name before (of several, the one deleted last), or its name in the trash",
    )
    parser.add_argument("--name", help="a new name, for a single run (default: as before)")
    parser.add_argument("--json", action="store_true", help="print one line of JSON: an array")
    args = parser.parse_args(argv)
    found = dict.fromkeys(find_trashed(run, runs_dir_of(args)) for run in args.runs)
    if args.name is not None and len(found) > 1:
        raise InputError("--name can name one run: restore the others without it")
    problems: list[str] = []
    restored: list[Path] = []
    for one in found:
        with gathering(problems):
            restored.append(restore_run(one, args.name))
    if args.json:
        put(format_json([run_facts(read_summary(path)) for path in restored]))
    elif restored:
        put(f"restored: {', '.join(path.name for path in restored)}")
    if problems:
        raise InputError(*problems)
    return EXIT_DONE


def trash(argv: list[str]) -> int:
    parser = Parser("gpt-tui runs trash", "List the deleted runs, the latest last.")
    parser.add_argument("--empty", action="store_true", help="delete them for good (with --yes)")
    parser.add_argument("--yes", action="store_true", help="confirm that they are lost then")
    parser.add_argument("--json", action="store_true", help="print one line of JSON: an array")
    args = parser.parse_args(argv)
    runs_dir = runs_dir_of(args)
    trashed = list_trash(runs_dir)
    facts = [_facts(one) for one in trashed]
    size = format_unit(sum(one["bytes"] for one in facts), "B")
    if args.empty:
        if trashed and not args.yes:
            raise InputError(
                f"{format_count(len(trashed), 'run')} ({size}) would be gone for good: "
                f"add --yes to delete, or look first: {program()} runs trash{in_runs_dir(runs_dir)}"
            )
        empty_trash(runs_dir)
    if args.json:
        put(format_json(facts))
    elif args.empty:
        put(f"deleted for good: {format_count(len(trashed), 'run')}, {size}")
    elif trashed:
        put(format_table(("name", "deleted", "size", "in the trash as"), map(_row, facts), (2,)))
    else:
        put(f"the trash of {runs_dir} is empty")
    return EXIT_DONE


def _ways_back(trashed: list[Trashed]) -> str:
    """Return a command for each of their runs folders, which have a trash each."""
    names: dict[Path, list[str]] = {}
    for one in trashed:
        names.setdefault(one.path.parent.parent, []).append(quoted_path(one.name))
    return "\n".join(
        f"  restore  {program()} runs restore {' '.join(some)}{in_runs_dir(folder)}"
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
    size = format_unit(facts["bytes"], "B")
    return facts["name"], format_time(facts["deleted"]), size, Path(facts["path"]).name
