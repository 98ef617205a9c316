"""What benchmarks do in processes of their own, so that each starts fresh and none slows another.

A worker is a module run with ``python -m``: a request comes in as JSON on standard input, and the
result goes out as JSON on standard output. Only here does this package touch tensors, and torch is
loaded when the work begins.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks import programs
from benchmarks.programs import BenchmarkError
from data.errors import InputError

Facts = dict[str, Any]


def ask(worker: str, request: Facts, **variables: str) -> Facts:
    """Have a worker do its work.

    Args:
        worker: Its module in this package.
        request: What it is told.
        variables: Of its environment, beside a person's own.

    Raises:
        InputError: What was asked for cannot be.
        BenchmarkError: The worker failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", f"{__name__}.{worker}"],
        input=json.dumps(request),
        env=programs.environment(**variables),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchmarkError(f"{worker} failed: {done.stderr[-500:].strip()}")
    result: Facts = json.loads(done.stdout)
    if "problems" in result:
        raise InputError(*result["problems"])
    return result


def answer(work: Callable[[Facts], Facts]) -> None:
    """Be a worker: read the request, do the work, write the result."""
    request, said = json.load(sys.stdin), sys.stdout
    sys.stdout = sys.stderr  # what a library may print is not the result
    try:
        result = work(request)
    except InputError as error:
        result = {"problems": error.problems}
    said.write(json.dumps(result))


def peak_bytes() -> int:
    """Return the largest size of this process so far, in bytes.

    On Linux ``ru_maxrss`` begins with that of the process that started this one.
    """
    with suppress(OSError):
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # on macOS these are bytes
