"""``gpt-tui runs tag``, ``note`` and ``rename``: what a person writes on a run."""

from __future__ import annotations

from pathlib import Path

from data.errors import InputError
from engine.runs.folder import find_run
from engine.runs.notes import change_tags, read_notes, set_note
from engine.runs.summary import read_summary
from engine.runs.transfer import rename_run
from tui.commands import EXIT_DONE
from tui.commands.options import Parser, runs_dir_of
from tui.terminal.stdout import put
from tui.text.tables import run_facts, to_json


def tag(argv: list[str]) -> int:
    """Add and remove tags; without either, print them."""
    parser = _parser("tag", "Add tags to a run, which may be in training; print what it has.")
    parser.add_argument("tags", nargs="*", metavar="TAG", help="a word to add")
    parser.add_argument(
        "--remove", action="append", default=[], metavar="TAG", help="a word to take away"
    )
    args = parser.parse_args(argv)
    path = find_run(args.run, runs_dir_of(args))
    tags = read_notes(path).tags
    missing = [word for word in args.remove if word not in tags]
    if missing:
        raise InputError(
            f"the run {path.name!r} has no tag {missing[0]!r}: "
            f"it has {', '.join(tags) or 'none at all'}"
        )
    notes = change_tags(path, args.tags, args.remove)
    return _tell(path, args.json, " ".join(notes.tags) or "no tags")


def note(argv: list[str]) -> int:
    """Write the note; without a text, print it."""
    parser = _parser("note", "Write a note on a run, which may be in training.")
    parser.add_argument(
        "text", nargs="?", metavar="TEXT", help="the note; '' removes it (default: print it)"
    )
    args = parser.parse_args(argv)
    path = find_run(args.run, runs_dir_of(args))
    notes = read_notes(path) if args.text is None else set_note(path, args.text)
    return _tell(path, args.json, notes.note or "no note")


def rename(argv: list[str]) -> int:
    """Give a run another name."""
    parser = _parser("rename", "Give a run another name, and its folder with it.")
    parser.add_argument("name", metavar="NAME", help="the new one")
    args = parser.parse_args(argv)
    path = find_run(args.run, runs_dir_of(args))
    renamed = rename_run(path, args.name)
    return _tell(renamed, args.json, f"{path.name} is now {renamed.name}")


def _parser(action: str, description: str) -> Parser:
    parser = Parser(f"gpt-tui runs {action}", description)
    parser.add_argument("run", metavar="RUN", help="name or path of the run")
    parser.add_argument("--json", action="store_true", help="the run as one line of JSON")
    return parser


def _tell(path: Path, as_json: bool, text: str) -> int:
    put(to_json(run_facts(read_summary(path))) if as_json else text)
    return EXIT_DONE
