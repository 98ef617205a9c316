"""An engine on another machine, through the user's own ssh.

``ssh HOST gpt-tui attach RUN --stdio`` passes lines between its standard streams and the engine's
socket (``engine.remote.relay``): no port is opened, and who may do it is ssh's affair. All that ssh
can do, jump hosts and questions on the terminal too, works as the user has it.
"""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from data.errors import InputError
from engine.program import PROGRAM, VERSION
from engine.remote.client import Connection, Dismissed
from engine.remote.relay import BEGINNING

ADDRESS = re.compile(r"(\[[^\]/]+\]|[^:/\[\]]+):(.*)", re.DOTALL)  # HOST:RUN, as scp has it
# what the user's own options and configuration do not say: ssh takes the first of each
USUAL = ["-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]
EXIT_SECONDS = 2.0  # for ssh to say why it ends
MOST_NOISE = 1000  # lines that a shell on the other machine says first
NO_PROGRAM, SSH_FAILED = 127, 255  # exit codes


@dataclass(frozen=True)
class Host:
    """Another machine.

    Attributes:
        name: As ssh takes it.
        options: Of ssh.
        program: The command for this program there, as its shell takes it.
    """

    name: str
    options: tuple[str, ...] = ()
    program: str = PROGRAM

    def ssh(self, *words: str, batch: bool = False) -> list[str]:
        """Return the command that runs this program there.

        Args:
            batch: Ask nothing.
        """
        said = " ".join([self.program, *map(shlex.quote, words)])
        silent = ["-o", "BatchMode=yes"] if batch else []
        return ["ssh", "-T", *silent, *self.options, *USUAL, "--", self.name, said]


def parse_address(typed: str) -> tuple[str, str] | None:
    """Return host and run of ``HOST:RUN``; None if it names no host.

    Raises:
        InputError: The host or the run is missing.
    """
    if not (found := ADDRESS.fullmatch(typed)):
        return None
    host, run = found[1].strip("[]"), found[2]
    check_host(host)
    if not run:
        raise InputError(f"{typed!r} names no run: {PROGRAM} ps --host {host} lists what trains")
    return host, run


def check_host(host: str) -> None:
    """Check that ssh will take a word for the name of a machine.

    Raises:
        InputError: It is none.
    """
    if not host or host.startswith("-") or not host.isprintable() or " " in host:
        raise InputError(f"{host!r} is no name of a machine: give one that ssh knows, as in me@box")


class SshConnection(Connection):
    """A connection through ssh.

    Args:
        batch: Ask nothing: the app has the terminal.

    Raises:
        Unreachable: ssh is not installed.
    """

    def __init__(
        self,
        host: Host,
        run: str,
        role: str,
        wake: Callable[[], None] = lambda: None,
        batch: bool = False,
        token: str = "",
    ) -> None:
        self._host = host
        ours, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                host.ssh("attach", run, "--stdio", batch=batch),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
                start_new_session=batch,  # without a terminal that it could ask on
            )
        except OSError as error:
            ours.close()
            raise Dismissed(f"ssh cannot be started ({error.strerror}): install OpenSSH") from None
        finally:
            theirs.close()
        self._said: deque[str] = deque(maxlen=20)
        self.echoes = not batch  # shows what ssh says; not once the app has the terminal
        self._errors = threading.Thread(target=self._hear_errors, name="ssh", daemon=True)
        self._errors.start()
        super().__init__(ours, role, wake, token)

    def close(self) -> None:
        super().close()
        with suppress(OSError):
            self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(EXIT_SECONDS)

    def _fail(self, error: OSError) -> None:
        """ssh has ended already; ``lost`` will say why."""

    def _hear_errors(self) -> None:
        assert self._process.stderr
        with self._process.stderr as lines:
            for line in lines:
                told = "".join(c for c in line.decode(errors="replace").rstrip() if c.isprintable())
                if told:
                    self._said.append(told)
                    if self.echoes:
                        print(told, file=sys.stderr, flush=True)

    def _skip_noise(self, lines: BinaryIO) -> None:
        for _ in range(MOST_NOISE):
            line = lines.readline(MOST_NOISE)
            if not line or line.rstrip() == BEGINNING:
                return

    def _why_ended(self) -> str:
        try:
            code = self._process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            return f"the connection to {self._host.name} was lost"
        self._errors.join(EXIT_SECONDS)
        return why_failed(self._host, code, list(self._said))


def why_failed(host: Host, code: int, said: Sequence[str]) -> str:
    """Return why ssh has ended, and what to do."""
    name, last = host.name, said[-1].strip() if said else ""
    because = f" ({last})" if last else ""
    if code == NO_PROGRAM:
        return (
            f"there is no {host.program} on {name}{because}: install it there, or say where it is, "
            f"as in --program '~/venv/bin/{PROGRAM}'"
        )
    if code == SSH_FAILED:
        return f"ssh does not reach {name}{because}: see what 'ssh {name} true' says"
    if "--stdio" in last:
        return f"the {PROGRAM} on {name} is too old: install version {VERSION} there"
    if code:
        return (
            f"{host.program} on {name} has ended{because}: see what 'ssh {name} {host.program} "
            f"--version' says"
        )
    return f"the connection to {name} was lost{because}"


def asks(why: str) -> bool:
    """Return whether ssh wanted to ask something that it could not."""
    return any(word in why for word in ("Permission denied", "Host key verification failed"))
