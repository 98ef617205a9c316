"""What ``torchrun`` tells each of the processes that it starts; without PyTorch."""

from __future__ import annotations

import os

LEADER = 0


def started_processes() -> int:
    """Return how many processes ``torchrun`` has started, on all machines together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_processes() -> int:
    """Return how many of them are on this machine, and share its cores."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def is_follower() -> bool:
    """Return whether another process leads the run."""
    return started_processes() > 1 and int(os.environ.get("RANK", "0")) != LEADER
