"""``gpt-tui attach RUN``: watch and control a run that another process trains."""

from __future__ import annotations

from dataclasses import replace

from data.errors import InputError
from engine.program import program
from engine.runs.folder import find_run, is_locked, typed_name
from tui.commands.app import existing_run, launch_app
from tui.commands.options import Parser, add_theme_option, runs_dir_of, theme_of


def main(argv: list[str]) -> int:
    """Open the app on the run; quitting it leaves the run in training."""
    parser = Parser("gpt-tui attach", "Watch and control a run that another process trains.")
    parser.add_argument("run", metavar="RUN", help="name or path of the run")
    role = parser.add_mutually_exclusive_group()
    role.add_argument("--watch", action="store_true", help="only watch; change nothing")
    role.add_argument("--take", action="store_true", help="take control from whoever has it")
    add_theme_option(parser)
    args = parser.parse_args(argv)
    runs_dir = runs_dir_of(args)
    run = find_run(args.run, runs_dir)
    if not is_locked(run):
        name = typed_name(run)
        raise InputError(
            f"nothing trains the run {run.name!r}: {program()} {name} opens it, and "
            f"{program()} train --resume {name} --detach trains it in the background"
        )
    launch = existing_run(run, runs_dir, ["attach", *argv], "")
    role_asked = "watch" if args.watch else "take" if args.take else "control"
    return launch_app(replace(launch, theme=theme_of(args), role=role_asked))
