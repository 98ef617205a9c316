"""An engine on another machine, through the user's own ssh.

``ssh HOST gpt-tui attach RUN --stdio`` passes lines between its standard streams and the engine's
socket (``engine.remote.relay``): no port is opened, and who may do it is ssh's affair. All that ssh
can do, jump hosts and questions on the terminal too, works as the user has it.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

from engine.remote.client import Connection, Dismissed
from engine.remote.host import Host, why_failed
from engine.remote.relay import BEGINNING

EXIT_SECONDS = 2.0  # for ssh to say why it ends
MOST_NOISE = 1000  # lines that a shell on the other machine says first


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
        self._shown = False  # what it said last, by this
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
                    self._shown = self.echoes
                    if self._shown:
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
        return why_failed(self._host, code, list(self._said), self._shown)
