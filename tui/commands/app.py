"""``gpt-tui`` and ``gpt-tui RUN``: the app."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

import engine
from data.errors import InputError, nearest
from data.paths import absolute, quoted
from data.program import named
from tui.commands import COMMANDS
from tui.commands.options import (
    NEW_RUN_OPTIONS,
    Parser,
    add_new_run_options,
    add_theme_option,
    command_line,
    config_of,
    refuse_new_run_options,
    runs_dir_of,
    theme_of,
)

if TYPE_CHECKING:
    from tui.control.run import Launch

DESCRIPTION = "Train a small GPT in your terminal and watch it learn."
NO_SCREEN = ("", "dumb", "unknown")  # values of TERM for terminals that move no cursor
USAGE = "gpt-tui [options]\n       gpt-tui [open] RUN\n       gpt-tui COMMAND [options]"


def main(argv: list[str]) -> int:
    """Open the app: on a new run, or on the run that is named."""
    # What is imported and built at the start stays: to look through it for garbage takes a tenth of
    # the time to the first paint. The app enables it again once PyTorch is imported.
    gc.disable()
    try:
        return _open(argv)
    finally:
        gc.enable()


def _open(argv: list[str]) -> int:
    parser = _parser()
    args, unknown = parser.parse_known_args(argv)
    mistyped_option = unknown and argv[0].startswith("-")  # then RUN may be its value
    if args.run is not None and not mistyped_option:
        run = _find(args.run, runs_dir_of(args))  # first: a mistyped command has other options
    if unknown:
        parser.refuse(unknown)
    if args.run is None:
        return launch_app(_new_run(args, argv))
    refuse_new_run_options(args, (*NEW_RUN_OPTIONS, "set"), args.run)
    launch = existing_run(run, runs_dir_of(args), argv, args.data or "", args.val or "")
    return launch_app(replace(launch, theme=theme_of(args)))


def launch_app(launch: Launch) -> int:
    """Start the app.

    Raises:
        InputError: There is no terminal.
    """
    check_terminal(_without_app(launch))
    from tui.app import run_app

    return run_app(launch)


def check_terminal(instead: str) -> None:
    """Check that the app can be drawn.

    Args:
        instead: The command that does without.

    Raises:
        InputError: There is no terminal, or one that cannot show it.
    """
    if os.environ.get("TEXTUAL_DRIVER"):
        return  # it is drawn elsewhere, as in a browser
    if not has_terminal():
        raise InputError(f"the app needs a terminal, and there is none here: use '{instead}'")
    term = os.environ.get("TERM", "")
    if term in NO_SCREEN:
        raise InputError(
            f"the app cannot be drawn with TERM='{term}': use '{instead}', "
            "or name the terminal, as in TERM=xterm-256color"
        )


def existing_run(
    run: Path, runs_dir: Path, argv: list[str], data: str = "", val: str = ""
) -> Launch:
    """Return what opens an existing run.

    Args:
        data: Where its text is now; empty if it is where it was.
        val: The same of its validation text.
    """
    from engine.runs.folder import read_run_config
    from tui.control.run import Launch

    config = read_run_config(run)
    typed = command_line("gpt-tui", argv)
    return Launch(config, runs_dir, run=run, data=data, val=val, command_line=typed)


def _new_run(args: argparse.Namespace, argv: list[str]) -> Launch:
    from engine.config.presets import gpu_without_asking
    from tui.control.run import Launch

    return Launch(
        config_of(args, wait=False),
        runs_dir_of(args),
        args.name,
        command_line=command_line("gpt-tui", argv),
        theme=theme_of(args),
        surely=None if gpu_without_asking() else lambda: config_of(args),
    )


def _find(run: str, runs_dir: Path) -> Path:
    """Return the run's folder; if there is none, the word may be a mistyped command."""

    from engine.program import program
    from engine.runs.folder import find_run

    try:
        return find_run(run, runs_dir)
    except InputError:
        if run == "bench":
            raise InputError(
                "the benchmarks are no longer part of gpt-tui: in a checkout, run make bench, or "
                "make bench ARGS=NAME"
            ) from None
        if run in COMMANDS:
            raise InputError(f"a command comes first: {program()} {run} [options]") from None
        if os.path.exists(run) and absolute(runs_dir) not in absolute(Path(run)).parents:
            raise InputError(
                f"{named(run)} is no run: {program()} --data {quoted(run)} trains on it"
            ) from None
        near = nearest(run, COMMANDS, cutoff=0.7)
        if near:
            raise InputError(
                f"there is no command or run {run!r}: did you mean {program()} {near}?"
            ) from None
        raise


def has_terminal() -> bool:
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def _without_app(launch: Launch) -> str:
    """The command that trains the same without a screen."""
    from engine.program import program
    from engine.runs.folder import is_locked, typed_name

    if launch.run and is_locked(launch.run):
        return f"{program()} tell {typed_name(launch.run)} status"
    resumed = f" --resume {typed_name(launch.run)}" if launch.run else ""
    return f"{program()} train{resumed}"


def _parser() -> Parser:
    parser = Parser(
        "gpt-tui",
        DESCRIPTION,
        usage=USAGE,
        epilog="commands:\n" + "\n".join(f"  {name:<12}{c.help}" for name, c in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gpt-tui {engine.__version__}")
    parser.add_argument("run", nargs="?", metavar="RUN", help="name or path of a run to open")
    add_new_run_options(parser)
    add_theme_option(parser)
    return parser
