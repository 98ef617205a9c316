"""Which run a command is for: the only one in training, or one elsewhere, through ssh."""

from __future__ import annotations

import argparse
import shlex
import subprocess
from pathlib import Path

from data.errors import InputError
from engine.program import PROGRAM, program
from engine.remote.host import NO_PROGRAM, SSH_FAILED, Host, check_host, parse_address, why_failed
from engine.runs.folder import typed_name
from tui import EXIT_FAILED
from tui.commands.options import RunParser
from tui.terminal.stdout import complain

RUN_HELP = "name or path of the run, or HOST:RUN on a machine that ssh reaches"
RUN_OR_ONLY_HELP = f"{RUN_HELP}; without one, what is trained here"


def only_run() -> str:
    """Return the run that is in training on this machine.

    Raises:
        InputError: There is none, or there are several.
    """
    from engine.remote.client import found_engines  # not for the first paint

    runs = [Path(one.opened.path) for one in found_engines()]
    if len(runs) == 1:
        return str(runs[0])
    if not runs:
        raise InputError(
            f"no run is in training: {program()} train --detach starts one in the background"
        )
    names = ", ".join(typed_name(run) for run in runs)
    raise InputError(f"name one of the runs in training: {names}")


def add_ssh_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ssh", metavar="OPTIONS", default="", help='of ssh, as in --ssh "-J gate"'
    )
    parser.add_argument(
        "--program",
        metavar="COMMAND",
        default=PROGRAM,
        help=f"the command for {PROGRAM} on the other machine",
    )


def host_of(name: str, args: argparse.Namespace) -> Host:
    """Return the machine of that name, with the options that were given.

    Raises:
        InputError: The name, or the options, cannot be used.
    """
    check_host(name)
    try:
        return Host(name, tuple(shlex.split(args.ssh)), args.program)
    except ValueError as error:
        raise InputError(f"--ssh {args.ssh!r} has an open quote ({error}): close it") from None


def without_ssh_options(argv: list[str]) -> list[str]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_ssh_options(parser)
    return parser.parse_known_args(argv)[1]


def carry_out_there(host: Host, words: list[str]) -> int:
    """Run a command of this program on another machine; return its exit code.

    Raises:
        InputError: ssh is not installed.
    """
    try:
        code = subprocess.call(host.ssh(*words))
    except OSError as error:
        raise InputError(f"ssh cannot be started ({error.strerror}): install OpenSSH") from None
    if code in (NO_PROGRAM, SSH_FAILED):
        complain(why_failed(host, code, []))
    return EXIT_FAILED if code in (NO_PROGRAM, SSH_FAILED) else code


class AnywhereParser(RunParser):
    """A parser of a command for one run, here or elsewhere.

    Args:
        command: Its name.
        or_only: Whether RUN may be left out while one run is in training on this machine.
    """

    def __init__(self, command: str, description: str, or_only: bool = False) -> None:
        super().__init__(f"{PROGRAM} {command}", description)
        self._command = command
        run = self._actions[-2]
        run.help = RUN_HELP
        if or_only:
            run.nargs, run.required, run.help = "?", False, RUN_OR_ONLY_HELP
        add_ssh_options(self)

    def parse_anywhere(self, argv: list[str]) -> tuple[argparse.Namespace, Path] | int:
        """Parse the arguments and find the run's folder; return the exit code if it is elsewhere.

        Raises:
            InputError: The arguments are wrong, or there is no such run.
        """
        args = self.parse_args(argv)
        if args.run is None:
            return args, Path(only_run())
        there = parse_address(args.run)
        if not there:
            return self.parse_run(argv)
        words = without_ssh_options(argv)
        words[words.index(args.run)] = there[1]
        return carry_out_there(host_of(there[0], args), [self._command, *words])
