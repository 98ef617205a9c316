"""``gpt-tui open RUN``: open a run in the app."""

from __future__ import annotations

from engine.runs.folder import find_run
from tui.commands.app import existing_run, launch_app
from tui.commands.options import Parser, runs_dir_of


def main(argv: list[str]) -> int:
    parser = Parser("gpt-tui open", "Open a run in the app.")
    parser.add_argument("run", metavar="RUN", help="name or path of the run")
    args = parser.parse_args(argv)
    runs_dir = runs_dir_of(args)
    return launch_app(existing_run(find_run(args.run, runs_dir), runs_dir, ["open", *argv]))
