"""``gpt-tui runs``: list the runs, show one; the other actions have modules of their own."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from data.errors import InputError, brief, suggest
from data.program import named
from engine.config.schema import SETTINGS
from engine.config.setting import Setting
from engine.program import program
from engine.runs.catalogue import disk_use, find_parent
from engine.runs.fields import FIELDS, SORTS
from engine.runs.folder import in_runs_dir
from engine.runs.selection import FILTER_EXAMPLE, parse_filter, sort_runs
from engine.runs.summary import RunSummary, read_summaries, read_summary
from engine.states import DAMAGED
from tui import EXIT_DONE
from tui.charts.sparkline import spark
from tui.commands.options import Parser, RunParser, runs_dir_of
from tui.terminal.stdout import put
from tui.text.numbers import (
    format_amount,
    format_duration,
    format_loss,
    format_path,
    format_time,
    format_unit,
)
from tui.text.tables import format_columns, format_json, format_table, format_threads, run_facts


class Action(NamedTuple):
    """The module of an action, with a function of its name, and what it does."""

    module: str
    help: str


ACTIONS = {
    "show": Action("tui.commands.runs", "all that is known of a run"),
    "diff": Action("tui.commands.diff", "how runs differ"),
    "tag": Action("tui.commands.runs_actions", "read, add and remove tags"),
    "note": Action("tui.commands.runs_actions", "read and write the note"),
    "rename": Action("tui.commands.runs_actions", "rename a run"),
    "rm": Action("tui.commands.runs_actions", "move runs to the trash"),
    "restore": Action("tui.commands.runs_actions", "restore runs from the trash"),
    "trash": Action("tui.commands.runs_actions", "list the trash, or empty it"),
    "copy": Action("tui.commands.runs_actions", "copy a run, also in training"),
    "export": Action("tui.commands.runs_export", "metrics as CSV, JSON lines or Parquet"),
}
SPARK_WIDTH = 40
USAGE = "gpt-tui runs [options]\n       gpt-tui runs ACTION [RUN …] [options]"
HEADER = ("name", "state", "preset", "parameters", "step", "best val", "train time", "data", "tags")
RIGHT = (3, 4, 5, 6)
LEAST = (7, 3, 2, 6, 8)  # left out of a terminal that is too narrow, in this order


def main(argv: list[str]) -> int:
    if argv and argv[0] in ACTIONS:
        module = importlib.import_module(ACTIONS[argv[0]].module)
        act: Callable[[list[str]], int] = getattr(module, argv[0])
        return act(argv[1:])
    if argv and not argv[0].startswith("-"):
        hint = suggest(argv[0], ACTIONS)
        raise InputError(f"'gpt-tui runs' has no action {brief(argv[0])}: {hint}")
    return _list(argv)


def _list(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    runs_dir = runs_dir_of(args)
    chosen = parse_filter(args.filter)
    sort_runs((), args.sort)  # refuses an order before the runs are read
    everything = read_summaries(runs_dir)
    runs = sort_runs(filter(chosen.matches, everything), args.sort, args.reverse)
    if args.json:
        put(format_json([run_facts(run) for run in runs]))
    elif runs:
        header: tuple[str, ...] = HEADER
        rows = [_row(run) for run in runs]
        if args.sort not in SORTS:  # a setting, which is seen, too
            setting = SETTINGS[FIELDS[args.sort].setting]
            header = (*HEADER, args.sort)
            rows = [(*row, _setting(run, setting)) for row, run in zip(rows, runs, strict=True)]
        put(format_table(header, rows, RIGHT, least=LEAST))
        for run in runs:
            if run.problem:  # below the table, which a sentence in a cell would make too wide
                put(f"{named(run.name)}: {run.problem.splitlines()[0]}")
    elif everything:
        put(f"none of the {len(everything)} runs in {runs_dir} matches {args.filter!r}")
    else:
        put(f"no runs in {runs_dir} yet: {program()}{in_runs_dir(runs_dir)} starts one")
    return EXIT_DONE


def _setting(run: RunSummary, setting: Setting) -> str:
    return "" if run.config is None else setting.format(run.config.get(setting.key))


def _row(run: RunSummary) -> tuple[str, ...]:
    if run.state == DAMAGED:
        return (run.name, run.state, *[""] * 6, " ".join(run.tags))
    return (
        run.name,
        f"{run.state} (live)" if run.live else run.state,
        run.preset,
        "–" if run.parameters is None else format_amount(run.parameters),
        f"{run.step:,}/{run.total_steps:,}",
        format_loss(run.best_val_loss),
        format_duration(run.train_seconds),
        f"{run.corpus} (stand-in)" if run.corpus_note else run.corpus,
        " ".join(run.tags),
    )


def _parser() -> Parser:
    width = max(map(len, ACTIONS)) + 2
    parser = Parser(
        "gpt-tui runs",
        "List the runs, the newest last, or carry out an action on a run.",
        usage=USAGE,
        epilog="actions (gpt-tui runs ACTION --help says more):\n"
        + "\n".join(f"  {name:<{width}}{one.help}" for name, one in ACTIONS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="as one line of JSON: an array")
    parser.add_argument(
        "--filter",
        default="",
        metavar="TERMS",
        help=f"only runs that match all terms, such as '{FILTER_EXAMPLE}': words in name, parent, "
        "state, preset, data, tags or note, field:WORD in one of them, figures and settings with "
        "<, >, = or a..b; --filter=-TERM excludes, | separates alternatives",
    )
    parser.add_argument(
        "--sort",
        default="created",
        metavar="BY",
        help=f"{', '.join(SORTS)}, or a setting such as lr (%(default)s)",
    )
    parser.add_argument("--reverse", action="store_true", help="reverse the order")
    return parser


# -- one run -------------------------------------------------------------------------------------


def show(argv: list[str]) -> int:
    parser = RunParser("gpt-tui runs show", "Print all that is known of a run.")
    args, path = parser.parse_run(argv)
    run = read_summary(path)
    size = disk_use(path)
    if args.json:
        put(format_json(run_facts(run) | {"bytes": size}))
    else:
        put(format_columns([(name, text) for name, text in _facts(run, size) if text]))
    return EXIT_DONE


FIGURES = ("", "steps", "best val", "trained")  # which of a damaged run are not known


def _facts(run: RunSummary, size: int) -> list[tuple[str, str]]:
    """Return the facts and their names; empty ones are not printed."""
    best = f" at step {run.best_step:,}" if run.best_step is not None else ""
    parameters = "" if run.parameters is None else f"{format_amount(run.parameters)} parameters"
    speed = format_amount(run.tokens_per_second)
    machine = [
        run.device,
        run.precision,
        format_threads(run.threads, run.processes, run.sharded) if run.threads else None,
    ]
    facts = [
        ("run", run.name),
        ("state", f"{run.state} (live)" if run.live else run.state),
        ("", run.pruned),
        ("problem", run.problem.replace("\n", "; ")),
        ("tags", " ".join(run.tags)),
        ("note", run.note),
        ("model", ", ".join(word for word in (run.preset, parameters) if word)),
        ("data", f"{run.corpus} (stand-in)" if run.corpus_note else run.corpus),
        ("steps", f"{run.step:,} of {run.total_steps:,}, {format_amount(run.tokens)} tokens"),
        ("loss", spark(run.sparkline, SPARK_WIDTH)),
        ("", f"train {format_loss(run.train_loss)}, val {format_loss(run.val_loss)}"),
        ("best val", format_loss(run.best_val_loss) + best),
        ("trained", f"{format_duration(run.train_seconds)} ({speed} tokens/s)"),
        ("on", ", ".join(word for word in machine if word)),
        ("created", format_time(run.created)),
        ("forked from", _parent(run)),
        ("formerly", " ".join(run.formerly)),
        ("on disk", format_unit(size, "B")),
        ("kept in", format_path(run.path)),
    ]
    return [one for one in facts if run.state != DAMAGED or one[0] not in FIGURES]


def _parent(run: RunSummary) -> str:
    if not run.parent:
        return ""
    parent = find_parent(run, read_summaries(Path(run.path).parent))
    step = f" at step {run.parent_step:,}" if run.parent_step is not None else ""
    return (parent.name if parent else f"{run.parent} (not here any more)") + step
