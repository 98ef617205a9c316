"""Another machine, as the user's own ssh reaches it: its name, and the command to run there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from data.errors import InputError
from engine.program import PROGRAM, VERSION

ADDRESS = re.compile(r"(\[[^\]/]+\]|[^:/\[\]]+):(.*)", re.DOTALL)  # HOST:RUN, as scp has it
# what the user's own options and configuration do not say: ssh takes the first of each
USUAL = ["-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]
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

    @property
    def typed(self) -> str:
        """The options with which commands of this program reach it, as they are typed."""
        options = f" --ssh={shlex.quote(shlex.join(self.options))}" if self.options else ""
        own = "" if self.program == PROGRAM else f" --program {shlex.quote(self.program)}"
        return options + own

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


def why_failed(host: Host, code: int, said: Sequence[str], shown: bool = False) -> str:
    """Return why ssh has ended, and what to do.

    Args:
        shown: What it said last is on the screen already.
    """
    name, last = host.name, said[-1].strip() if said else ""
    ssh = shlex.join(["ssh", *host.options, name])
    because = f" ({last})" if last and not shown else ""
    if code == NO_PROGRAM:
        return (
            f"there is no {host.program} on {name}{because}: install it there, or say where it is, "
            f"as in --program '~/venv/bin/{PROGRAM}'"
        )
    if code == SSH_FAILED:
        return f"ssh does not reach {name}{because}: see what '{ssh} true' says"
    if "--stdio" in last:
        return f"the {PROGRAM} on {name} is too old: install version {VERSION} there"
    if code:
        return (
            f"{host.program} on {name} has ended{because}: see what '{ssh} {host.program} "
            f"--version' says"
        )
    return f"the connection to {name} was lost{because}"


def asks(why: str) -> bool:
    """Return whether ssh wanted to ask something that it could not."""
    return any(word in why for word in ("Permission denied", "Host key verification failed"))
