"""Find out which process of a run hangs: each one counts, and process 0 looks whether it does."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from engine.distributed.environment import LEADER

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

BEAT_SECONDS = 1.0
SILENT_BEATS = 30  # of the one that looks: when the whole machine sleeps, nobody is silent


class Heartbeat:
    """Counts for this process; that of process 0 watches the others.

    A process that hangs (stopped, or a deadlock that holds Python's lock) is killed if it is on
    this machine: who waits for it then fails at once, instead of after hours.

    Args:
        store: Shared by all processes.
    """

    def __init__(self, store: Store, rank: int, size: int) -> None:
        self._store, self._rank, self._size = store, rank, size
        self.lost = ""  # in words, once another is known to be lost
        store.set(f"where/{rank}", f"{socket.gethostname()} {os.getpid()}")
        # the thread ends when nobody else holds this
        of = weakref.ref(self)
        threading.Thread(target=_beat, args=(of,), name="heartbeat", daemon=True).start()

    def beat(self, number: int, seen: dict[int, tuple[bytes, int]]) -> None:
        """Count once; in process 0, look at the counts of the others.

        Args:
            seen: The last count of each, and since how many beats it is the same.
        """
        self._store.set(f"beat/{self._rank}", str(number))
        if self._rank != LEADER:
            return
        for other in range(1, self._size):
            if not self._store.check([f"beat/{other}"]):
                continue  # it has not begun
            count = self._store.get(f"beat/{other}")
            last, silent = seen.get(other, (b"", 0))
            silent = silent + 1 if count == last else 0
            seen[other] = count, silent
            if silent == SILENT_BEATS:
                self._end(other)

    def _end(self, other: int) -> None:
        host, _, process = self._store.get(f"where/{other}").decode().partition(" ")
        seconds = SILENT_BEATS * BEAT_SECONDS
        self.lost = (
            f"process {other} of {self._size} ({host}, process {process}) has not answered for "
            f"{seconds:.0f} seconds"
        )
        if host == socket.gethostname():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(int(process), signal.SIGKILL)


def _beat(of: weakref.ref[Heartbeat]) -> None:
    number, seen = 0, dict[int, tuple[bytes, int]]()
    while True:
        time.sleep(BEAT_SECONDS)
        heartbeat = of()
        if heartbeat is None:
            return
        number += 1
        try:
            heartbeat.beat(number, seen)
        except RuntimeError:
            return  # process 0, which has the store, is gone
        del heartbeat
