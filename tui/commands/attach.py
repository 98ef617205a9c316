"""``gpt-tui attach [HOST:]RUN``: watch and control a run that another process trains."""

from __future__ import annotations

import argparse
import gc
import sys
from pathlib import Path

from msgspec.structs import replace

from data.errors import InputError
from data.paths import quoted_path
from engine.config.schema import config_from_dict
from engine.program import PROGRAM
from engine.remote.host import Host, parse_address
from engine.runs.folder import find_run, is_locked
from tui import EXIT_DONE
from tui.commands.app import check_terminal, existing_run, launch_app
from tui.commands.elsewhere import RUN_OR_ONLY_HELP, add_ssh_options, host_of, only_run
from tui.commands.options import Parser, add_theme_option, runs_dir_of, theme_of
from tui.control.run import Launch
from tui.text.notices import nothing_trains


def main(argv: list[str]) -> int:
    """Open the app on the run; quitting it leaves the run in training."""
    gc.disable()  # as ``tui.commands.app`` does: the app enables it once the run is on the screen
    try:
        return _attach(argv)
    finally:
        gc.enable()


def _attach(argv: list[str]) -> int:
    parser = Parser("gpt-tui attach", "Watch and control a run that another process trains.")
    parser.add_argument("run", metavar="RUN", nargs="?", help=RUN_OR_ONLY_HELP)
    role = parser.add_mutually_exclusive_group()
    role.add_argument("--watch", action="store_true", help="only watch; change nothing")
    role.add_argument("--take", action="store_true", help="take control from whoever has it")
    role.add_argument("--stdio", action="store_true", help=argparse.SUPPRESS)  # the end of ssh
    add_ssh_options(parser)
    add_theme_option(parser)
    args = parser.parse_args(argv)
    args.run = args.run or only_run()
    if args.stdio:
        from engine.remote.relay import relay  # imports numpy, which the first paint does without

        relay(lambda: trained_run(args.run, runs_dir_of(args)), 0, sys.stdout.buffer)
        return EXIT_DONE
    if there := parse_address(args.run):
        return _attach_elsewhere(host_of(there[0], args), there[1], args)
    runs_dir = runs_dir_of(args)
    run = trained_run(args.run, runs_dir)
    launch = existing_run(run, runs_dir, ["attach", *argv], "")
    return launch_app(replace(launch, theme=theme_of(args), role=_role_of(args), attaches=True))


def trained_run(named: str, runs_dir: Path) -> Path:
    """Find a run that is in training.

    Raises:
        InputError: There is none of that name.
    """
    run = find_run(named, runs_dir)
    if not is_locked(run):
        raise InputError(nothing_trains(run))
    return run


def _role_of(args: argparse.Namespace) -> str:
    return "watch" if args.watch else "take" if args.take else "control"


def _attach_elsewhere(host: Host, run: str, args: argparse.Namespace) -> int:
    """Connect first, as ssh may have questions, and then open the app."""
    check_terminal(f"{PROGRAM} tell {quoted_path(args.run)} status")
    from engine.session.elsewhere import Elsewhere

    elsewhere = Elsewhere(host, run, _role_of(args))
    try:
        config = config_from_dict(elsewhere.config)
        launch = Launch(config, runs_dir_of(args), run=elsewhere.folder, elsewhere=elsewhere)
        launch = replace(launch, attaches=True)
        return launch_app(replace(launch, theme=theme_of(args)))
    finally:
        elsewhere.close()
