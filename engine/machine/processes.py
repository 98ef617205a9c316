"""End the programs that a library starts, such as a compiler, when they hang."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from engine.machine import limits

POLL_SECONDS = 0.2
KILL_SECONDS = 0.05  # between two looks for processes that still run


class TookTooLong(Exception):
    """The time limit has expired."""


@contextmanager
def ending_with(report: Callable[[str], None], doing: str, seconds: float) -> Iterator[None]:
    """Report progress while a block runs that waits for programs it starts.

    When the time is over, or ``report`` raises, all processes that were started meanwhile are
    killed, so that the block fails, and the reason is raised instead.

    Args:
        report: Called several times a second, in another thread.
        doing: What to report.
        seconds: The time limit.

    Raises:
        TookTooLong: The time limit has expired.
    """
    before, started = _descendants(), time.monotonic()
    done = threading.Event()
    reasons: list[BaseException] = []

    def watch() -> None:
        while not done.wait(POLL_SECONDS):
            elapsed = time.monotonic() - started
            try:
                report(f"{doing}: {elapsed:.0f} s")
                if elapsed > seconds:
                    raise TookTooLong(f"it took more than {seconds:g} seconds")
            except BaseException as reason:  # raised again below, in the thread that waits
                reasons.append(reason)
                while not done.wait(KILL_SECONDS):
                    _kill(_descendants() - before)
                return

    watcher = threading.Thread(target=watch, name="compiler-watcher", daemon=True)
    watcher.start()
    try:
        yield
    except Exception:
        if not reasons:
            raise
    except BaseException:  # Ctrl-C
        _kill(_descendants() - before)
        raise
    finally:
        done.set()
        watcher.join()
    if reasons:
        raise reasons[0]


def _kill(processes: set[int]) -> None:
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)


def _descendants() -> set[int]:
    """Return the ids of all processes that this one has started, directly or not."""
    children: dict[int, list[int]] = {}
    for process, parent in _parents():
        children.setdefault(parent, []).append(process)
    found: set[int] = set()
    ahead = [os.getpid()]
    while ahead:
        new = set(children.get(ahead.pop(), ())) - found
        found |= new
        ahead += new
    return found


def _parents() -> Iterator[tuple[int, int]]:
    """Yield the id of every process with that of its parent."""
    if not (limits.PROC / "self/stat").exists():  # as on macOS
        listing = ["ps", "-A", "-o", "pid=,ppid="]
        with suppress(OSError):
            done = subprocess.run(listing, capture_output=True, text=True, check=False)
            for line in done.stdout.splitlines():
                process, parent = line.split()
                yield int(process), int(parent)
        return
    for path in limits.PROC.glob("[0-9]*/stat"):
        with suppress(OSError):  # it may end meanwhile
            # the name in the second field may hold blanks and brackets
            after_name = path.read_bytes().rpartition(b")")[2].split()
            yield int(path.parent.name), int(after_name[1])
