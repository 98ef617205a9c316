"""``gpt-tui fork RUN``: a new run from any step of another one, with other settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data.program import named
from engine.config.changes import check_fork, check_fork_end
from engine.config.schema import read_config
from engine.program import program
from engine.runs.folder import CONFIG_FILE, check_name, path_in, typed_name
from engine.runs.summary import read_summary
from tui import EXIT_DONE
from tui.commands.options import (
    RunParser,
    add_data_options,
    add_set_option,
    changes_of,
    places_of,
    runs_dir_of,
    whole_number,
)
from tui.terminal.stdout import put, say
from tui.text.numbers import format_path
from tui.text.tables import format_json


def main(argv: list[str]) -> int:
    """Make the new run; it is not trained yet."""
    args, parent = _parser().parse_run(argv)
    changes = changes_of(args, new_run=True)
    runs_dir = path_in(runs_dir_of(args), parent).parent
    if args.name is not None:
        check_name(args.name, runs_dir)
    check_fork(changes)  # before training up to the step, which may take long
    _check_end(parent, args.at, changes)
    from engine.session.fork import fork
    from engine.session.rewind import visit

    with visit(parent, args.at, say, places_of(args)) as run_state:
        path = fork(run_state, changes, args.name, runs_dir)
        step = run_state.step
    if args.json:
        put(format_json({"run": path.name, "path": str(path), "parent": parent.name, "step": step}))
    else:
        name, command = typed_name(path), program()
        put(
            f"run {named(path.name)}: {named(parent.name)} as it was at step {step:,}\n"
            f"  kept in  {format_path(path)}\n"
            f"  train    {command} train --resume {name}\n"
            f"  look     {command} {name}"
        )
    return EXIT_DONE


def _check_end(parent: Path, step: int | None, changes: dict[str, Any]) -> None:
    """Refuse a fork that would have nothing to train, if that can be told beforehand."""
    told = read_summary(parent)
    epochs = read_config(parent / CONFIG_FILE).replace(changes).train.max_epochs
    if step is None or step > told.step or epochs:
        return
    end = changes.get("train.max_steps") or told.total_steps
    if end:
        check_fork_end(step, int(end))


def _parser() -> RunParser:
    parser = RunParser("gpt-tui fork", "Create a new run from any step of another one.")
    parser.add_argument(
        "--at",
        type=whole_number,
        metavar="STEP",
        help="any step that RUN has trained (default: its latest)",
    )
    add_data_options(parser)
    add_set_option(parser)
    parser.add_argument("--name", help="name of the new run (default: that of RUN and a number)")
    return parser
