"""``gpt-tui runs``: what there is, and what can be done with it."""

from __future__ import annotations

import argparse
import difflib
import importlib
from collections.abc import Callable
from typing import NamedTuple

from data.errors import InputError
from engine.program import program
from engine.runs.folder import in_runs_dir
from engine.runs.selection import SORTS, matches, sort_runs
from engine.runs.summary import DAMAGED, RunSummary, read_summaries
from tui.commands import EXIT_DONE
from tui.commands.options import Parser, runs_dir_of
from tui.terminal.stdout import put
from tui.text.numbers import amount, duration, loss
from tui.text.tables import run_facts, table, to_json


class Action(NamedTuple):
    """Where something that can be done with a run lives, and what it is."""

    module: str
    function: str
    help: str


ACTIONS = {
    "show": Action("tui.commands.runs_show", "main", "all that is known of a run"),
    "diff": Action("tui.commands.diff", "main", "how runs differ"),
    "tag": Action("tui.commands.runs_write", "tag", "read, add and remove tags"),
    "note": Action("tui.commands.runs_write", "note", "read and write the note"),
    "rename": Action("tui.commands.runs_write", "rename", "give a run another name"),
    "rm": Action("tui.commands.runs_trash", "remove", "move runs to the trash"),
    "restore": Action("tui.commands.runs_trash", "restore", "bring runs back from the trash"),
    "trash": Action("tui.commands.runs_trash", "trash", "list the trash, or empty it"),
    "copy": Action("tui.commands.runs_copy", "copy", "copy a run elsewhere, also in training"),
    "export": Action("tui.commands.runs_copy", "export", "metrics as CSV, JSON lines or Parquet"),
}
USAGE = "gpt-tui runs [options]\n       gpt-tui runs ACTION [RUN …] [options]"
HEADER = ("name", "state", "preset", "parameters", "step", "best val", "train time", "data", "tags")
RIGHT = (3, 4, 5, 6)


def main(argv: list[str]) -> int:
    """List the runs, or do something with one."""
    if argv and argv[0] in ACTIONS:
        action = ACTIONS[argv[0]]
        act: Callable[[list[str]], int] = getattr(
            importlib.import_module(action.module), action.function
        )
        return act(argv[1:])
    if argv and not argv[0].startswith("-"):
        raise InputError(_unknown(argv[0]))
    return _list(argv)


def _list(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    runs_dir = runs_dir_of(args)
    everything = read_summaries(runs_dir)
    chosen = (run for run in everything if matches(run, args.filter))
    runs = sort_runs(chosen, args.sort, args.reverse)
    if args.json:
        put(to_json([run_facts(run) for run in runs]))
    elif runs:
        put(table(HEADER, map(_row, runs), RIGHT))
        for run in runs:
            if run.problem:  # below the table, which a sentence in a cell would make too wide
                put(f"{run.name}: {run.problem.splitlines()[0]}")
    elif everything:
        put(f"none of the {len(everything)} runs in {runs_dir} matches {args.filter!r}")
    else:
        put(f"no runs in {runs_dir} yet: {program()}{in_runs_dir(runs_dir)} begins one")
    return EXIT_DONE


def _row(run: RunSummary) -> tuple[str, ...]:
    if run.state == DAMAGED:
        return (run.name, run.state, *[""] * 6, " ".join(run.tags))
    return (
        run.name,
        f"{run.state} (live)" if run.live else run.state,
        run.preset,
        "–" if run.parameters is None else amount(run.parameters),
        f"{run.step:,}/{run.total_steps:,}",
        loss(run.best_val_loss),
        duration(run.train_seconds),
        f"{run.corpus} (stand-in)" if run.corpus_note else run.corpus,
        " ".join(run.tags),
    )


def _parser() -> Parser:
    width = max(map(len, ACTIONS)) + 2
    parser = Parser(
        "gpt-tui runs",
        "List the runs, the newest last, or do something with one.",
        usage=USAGE,
        epilog="actions (gpt-tui runs ACTION --help says more):\n"
        + "\n".join(f"  {name:<{width}}{one.help}" for name, one in ACTIONS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="as one line of JSON: an array")
    parser.add_argument(
        "--filter",
        default="",
        metavar="WORDS",
        help="only runs with all these words in name, parent, state, preset, data, tags or note; "
        "tag:WORD looks in one of them, --filter=-WORD leaves out those that have it",
    )
    parser.add_argument(
        "--sort",
        default="created",
        metavar="BY",
        help=f"{', '.join(SORTS)} (%(default)s)",
    )
    parser.add_argument("--reverse", action="store_true", help="the largest first")
    return parser


def _unknown(action: str) -> str:
    near = difflib.get_close_matches(action, ACTIONS, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(ACTIONS)}"
    return f"'gpt-tui runs' cannot {action!r}: {hint}"
