"""A process that hangs is found, named and ended."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from torch._C._distributed_c10d import HashStore

from engine.distributed import heartbeat
from engine.distributed.heartbeat import SILENT_BEATS, Heartbeat


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.fixture
def first(monkeypatch: pytest.MonkeyPatch) -> Heartbeat:
    """That of process 0, which beats when it is told to."""
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 1e6)
    return Heartbeat(HashStore(), 0, 3)


def place(first: Heartbeat, rank: int, host: str, process: int) -> None:
    first._store.set(f"where/{rank}", f"{host} {process}")
    first._store.set(f"beat/{rank}", "1")


def test_one_that_does_not_count_for_30_beats_is_named_and_killed(
    first: Heartbeat, process: subprocess.Popen[bytes]
) -> None:
    place(first, 1, socket.gethostname(), process.pid)
    place(first, 2, "elsewhere", 7)
    seen: dict[int, tuple[bytes, int]] = {}
    for number in range(SILENT_BEATS):
        first._store.set("beat/2", str(number))
        first.beat(number, seen)
        assert not first.lost and process.poll() is None
    first._store.set("beat/2", "again")
    first.beat(SILENT_BEATS, seen)
    assert process.wait(10) < 0
    assert f"process 1 of 3 ({socket.gethostname()}, process {process.pid})" in first.lost


def test_one_on_another_machine_is_named(first: Heartbeat) -> None:
    place(first, 1, "elsewhere", 1)
    seen: dict[int, tuple[bytes, int]] = {}
    for number in range(SILENT_BEATS + 1):
        first.beat(number, seen)
    assert "process 1 of 3 (elsewhere, process 1)" in first.lost


def test_one_that_has_not_begun_to_count_is_waited_for(first: Heartbeat) -> None:
    for number in range(2 * SILENT_BEATS):
        first.beat(number, {})
    assert not first.lost
