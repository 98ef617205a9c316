"""The states of a run: part of the protocol, by itself, as lists of runs need no more of it."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    IDLE = "idle"  # no run is open
    PREPARING = "preparing"
    RUNNING = "training"
    PAUSED = "paused"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


UNCLOSED = (State.PREPARING, State.RUNNING, State.PAUSED)  # recorded by a program at work
INTERRUPTED, DAMAGED = "interrupted", "damaged"  # what else the files of a run can tell
PRUNED_KEY = "outdone"  # what ``Status.pruned`` is called in files and in JSON
