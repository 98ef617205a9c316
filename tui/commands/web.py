"""``gpt-tui web``: a run in training, in a web browser of this machine."""

from __future__ import annotations

import errno
import socket
import sys

from data.errors import InputError
from data.paths import quoted_path
from engine.program import PROGRAM, install_command
from engine.remote.host import parse_address
from tui import EXIT_DONE
from tui.commands.attach import trained_run
from tui.commands.elsewhere import only_run
from tui.commands.options import Parser, add_theme_option, runs_dir_of, theme_of

PORT = 8000


def main(argv: list[str]) -> int:
    """Serve the app; each page is attached to the run, so that closing it ends nothing."""
    parser = Parser(
        "gpt-tui web",
        "Show a run in training in a web browser of this machine. Closing the page ends nothing.",
    )
    parser.add_argument(
        "run", metavar="RUN", nargs="?", help="name or path of a run; without one, what is trained"
    )
    parser.add_argument(
        "--port", type=int, default=PORT, metavar="N", help="where to listen (%(default)s)"
    )
    parser.add_argument("--watch", action="store_true", help="only watch; change nothing")
    add_theme_option(parser)
    args = parser.parse_args(argv)
    if args.run and (there := parse_address(args.run)):
        host, name = there
        raise InputError(
            f"the page is served where the run is: ssh -L {args.port}:127.0.0.1:{args.port} {host} "
            f"{PROGRAM} web {quoted_path(name)} --port {args.port}"
        )
    run = trained_run(args.run or only_run(), runs_dir_of(args))
    _check_free(args.port)
    try:
        from tui.browser.server import BrowserServer
    except ImportError:
        raise InputError(
            f"the page needs textual-serve: {install_command('web')} installs it"
        ) from None
    command = [sys.executable, "-m", "tui", "attach", str(run)]
    command += ["--watch"] if args.watch else []
    command += ["--theme", theme] if (theme := theme_of(args)) else []
    BrowserServer(command, args.port, run.name).serve()
    return EXIT_DONE


def _check_free(port: int) -> None:
    """Check that one can listen at a port.

    Raises:
        InputError: Another program does, or it is no port for everyone.
    """
    try:
        with socket.create_server(("127.0.0.1", port)):
            return
    except (OSError, OverflowError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        why = "another program listens there" if taken else "it cannot be listened at"
        raise InputError(f"port {port}: {why}: give another one with --port") from None
