"""The command line: finds the command, imports its module and returns the exit code.

Nothing heavy is imported here, so that ``--version`` and ``--help`` are printed at once.
"""

from __future__ import annotations

import errno
import importlib
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from data.errors import InputError, shortage_of_files
from data.paths import absolute, describe_os_error
from tui import EXIT_BAD_INPUT, EXIT_DONE, EXIT_FAILED, EXIT_SIGNAL
from tui.commands import COMMANDS, FORMER_NAMES
from tui.terminal.signals import ending_signals, handle
from tui.terminal.stdout import OutputLost, complain, make_streams_usable, put, say, silence

# what reading and writing an open file raise, without its name
FAILURES_OF_DISKS = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        argv: The arguments after the program's name; None takes the process's own.

    Returns:
        0 done, 2 bad input, 130 stopped by a signal, 1 anything else.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    code = exit_code(lambda: _carry_out(arguments))
    if argv is None and code == EXIT_SIGNAL:
        handle(ending_signals(), signal.SIG_IGN)  # one more would change the code at exit
    return code


def exit_code(work: Callable[[], int]) -> int:
    """Call a command; print its errors, and return the exit code."""
    make_streams_usable()
    try:
        code = work()
        put("", end="")  # flush the buffer now, to notice a write error
        return code
    except InputError as error:
        for problem in error.problems:
            complain(problem)
        return EXIT_BAD_INPUT
    except OutputLost as lost:
        complain(str(lost))
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_SIGNAL
    except BrokenPipeError:  # the reader has closed the pipe, as in `gpt-tui runs | head`
        silence(sys.stdout)
        return EXIT_DONE
    except Exception as error:
        # no permission on the way to a file, a name too long, a full disk
        told = shortage_of_files(error)
        if isinstance(error, OSError) and (error.filename or error.errno in FAILURES_OF_DISKS):
            told = describe_os_error(error)
        if not told:
            raise
        complain(told)
        return EXIT_BAD_INPUT
    finally:
        say("", end="")  # what is left in the buffer would fail at exit, with a code of its own


def _carry_out(arguments: list[str]) -> int:
    absolute(Path())  # where there is no current folder any more, libraries end the process
    name = FORMER_NAMES.get(arguments[0], arguments[0]) if arguments else ""
    if name not in ("--version", "--help", "preferences"):
        from tui.control.preferences import use_folders

        problems = use_folders()
        if name in COMMANDS:  # the app tells them on its screen
            for problem in problems:
                complain(problem)
    if name in COMMANDS:
        return _main_of(COMMANDS[name].module)(arguments[1:])
    return _main_of("tui.commands.app")(arguments)


def _main_of(module: str) -> Callable[[list[str]], int]:
    main_of_module: Callable[[list[str]], int] = importlib.import_module(module).main
    return main_of_module
