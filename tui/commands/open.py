"""``gpt-tui open RUN``: open a run in the app."""

from __future__ import annotations

from msgspec.structs import replace

from engine.runs.folder import find_run
from tui.commands.app import existing_run, launch_app
from tui.commands.options import (
    Parser,
    add_data_options,
    add_theme_option,
    runs_dir_of,
    theme_of,
)


def main(argv: list[str]) -> int:
    parser = Parser("gpt-tui open", "Open a run in the app.")
    parser.add_argument("run", metavar="RUN", help="name or path of the run")
    add_data_options(parser)
    add_theme_option(parser)
    args = parser.parse_args(argv)
    runs_dir = runs_dir_of(args)
    run = find_run(args.run, runs_dir)
    launch = existing_run(run, runs_dir, ["open", *argv], args.data, args.val)
    return launch_app(replace(launch, theme=theme_of(args)))
