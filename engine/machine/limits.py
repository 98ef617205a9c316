"""What this process may use, which is less than what the machine has: memory, cores, threads.

Limits come from control groups (of a container, a batch system or a service), from ``ulimit`` and
from CPU affinity.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC, CGROUP = Path("/proc"), Path("/sys/fs/cgroup")
THREADS_PER_CORE = 4  # more than that only wait for each other, and each takes memory


@dataclass(frozen=True)
class _Files:
    """The names of a controller's files in one version of control groups."""

    limit: str
    used: str
    cached: str  # in memory.stat


MEMORY_V2 = _Files("memory.max", "memory.current", "inactive_file")
MEMORY_V1 = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def memory_limit() -> float:
    """Return the bytes this process may hold; infinite if nothing limits it."""
    limits = [limit for limit, _ in _resource_limits()]
    for folder, files in _memory_groups():
        with suppress(OSError, ValueError):
            limits.append(float((folder / files.limit).read_text()))
    return min(limits, default=math.inf)


def memory_left() -> float:
    """Return the bytes this process may still allocate; infinite if nothing limits it."""
    left = [limit - used for limit, used in _resource_limits()]
    for folder, files in _memory_groups():
        with suppress(OSError, ValueError):
            limit = float((folder / files.limit).read_text())
            used = int((folder / files.used).read_text())
            cached = field_of(folder / "memory.stat", files.cached)  # freed when needed
            left.append(limit - used + cached)
    return max(0.0, min(left, default=math.inf))


def cores() -> int:
    """Return how many cores this process may use at once, at least 1."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        count = os.process_cpu_count() or 1
    elif hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    # a thread beyond the quota makes all of them stand still for a part of each period
    return max(1, int(min(count, _cpu_quota())))


def bounded_threads(threads: int) -> int:
    """Return a number of threads that this process can have without harm."""
    return max(1, min(threads, THREADS_PER_CORE * cores()))


def held_bytes() -> int:
    """Return the memory that this process holds.

    Raises:
        OSError: This system does not tell, as macOS.
        ValueError: What it tells is not understood.
    """
    _, pages, *_ = (PROC / "self/statm").read_text().split()
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def field_of(file: Path, name: str) -> int:
    """Read the number after a name in a file of /proc or /sys."""
    for line in file.read_text().splitlines():
        if line.startswith(name + " "):
            return int(line.split()[1])
    raise ValueError(f"{file} has no {name}")


def _cpu_quota() -> float:
    """Return the cores of CPU time per second that control groups allow; may be infinite."""
    quotas = [math.inf]
    for folder in (*_groups("", CGROUP), *_groups("", CGROUP / "unified")):
        with suppress(OSError, ValueError):
            quota, period = (folder / "cpu.max").read_text().split()
            quotas.append(float(quota) / float(period))  # float("max") is a ValueError
    for name in ("cpu", "cpu,cpuacct"):
        for folder in _groups("cpu", CGROUP / name):
            with suppress(OSError, ValueError):
                quota = (folder / "cpu.cfs_quota_us").read_text()
                if float(quota) > 0:  # -1 is none
                    period = (folder / "cpu.cfs_period_us").read_text()
                    quotas.append(float(quota) / float(period))
    return min(quotas)


def _memory_groups() -> Iterator[tuple[Path, _Files]]:
    """Yield the folders of the control groups that limit this process's memory."""
    for base in (CGROUP, CGROUP / "unified"):
        yield from ((folder, MEMORY_V2) for folder in _groups("", base))
    yield from ((folder, MEMORY_V1) for folder in _groups("memory", CGROUP / "memory"))


def _groups(controller: str, base: Path) -> Iterator[Path]:
    """Yield the folder of this process's group, and those of the groups around it.

    Args:
        controller: Of version 1; empty for version 2.
        base: Where the hierarchy is mounted; in a container this may be the group itself.
    """
    yield base
    with suppress(OSError):
        for line in (PROC / "self/cgroup").read_text().splitlines():
            controllers, _, path = line.partition(":")[2].partition(":")
            if controller in controllers.split(","):
                inner = base
                for part in Path(path).parts[1:]:
                    inner /= part
                    if not part.startswith(".."):
                        yield inner


def _resource_limits() -> Iterator[tuple[float, int]]:
    """Yield the limits of ``ulimit`` on memory, each with what this process uses of it."""
    try:
        import resource

        sizes = [int(one) for one in (PROC / "self/statm").read_text().split()]
    except (ImportError, OSError, ValueError):
        return
    page = os.sysconf("SC_PAGE_SIZE")
    for which, place in ((resource.RLIMIT_AS, 0), (resource.RLIMIT_DATA, 5)):
        limit = resource.getrlimit(which)[0]
        if limit != resource.RLIM_INFINITY and place < len(sizes):
            yield float(limit), sizes[place] * page
