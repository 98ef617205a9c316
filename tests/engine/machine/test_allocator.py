"""Freed memory is kept: counted in page faults, in programs of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource, sys, threading
from engine.machine.memory import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()

import numpy as np

def work():
    for _ in range(60):  # some activations of 2 MB, kept till the end of the step
        kept = [np.ones(2**19, dtype=np.float32) for _ in range(6)]
        del kept

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults())
"""


def faults(how: str) -> int:
    command = [sys.executable, "-c", COUNT_FAULTS, how]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc only")
def test_memory_that_was_freed_is_used_again_without_asking_the_system() -> None:
    assert faults("keep") < faults("leave") / 4
