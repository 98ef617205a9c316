"""A program that trains and, as ``kill -9`` would, ends before some line of some of its files."""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

import engine.session.recorder
import engine.session.session
from engine.protocol import (
    Adjust,
    Command,
    Evaluated,
    Event,
    Failed,
    Refused,
    Resume,
    Rewind,
    Rewound,
    RunOpened,
    Sample,
    Save,
)
from engine.session.worker import EngineLoop


@dataclass(frozen=True)
class Doom:
    """When the program dies.

    Attributes:
        files: How the names of the files end whose lines count; none: it waits to be killed.
        line: The one, counted as they are run, before which it ends.
        from_start: Whether to count while the run is opened, too.
        rewinds: Whether it goes back in time, and counts from there.
        learning_rate: What it changes this to on its way.
    """

    files: tuple[str, ...] = ()
    line: int = 1
    from_start: bool = False
    rewinds: bool = False
    learning_rate: float = 1e-3


class Victim:
    """The program, as far as it gets."""

    def __init__(self, doom: Doom, channel: Connection) -> None:
        self._doom, self._channel = doom, channel
        self._lines_left = doom.line
        self._evaluations = 0
        self._loop = EngineLoop(self._hear)

    def run(self, command: Command) -> None:
        """Carry out a command and train on, to the end that is set."""
        if self._doom.from_start:
            self._arm()
        self._loop.send(command)
        self._loop.run()

    def _hear(self, event: Event) -> None:
        match event:
            case RunOpened():
                self._channel.send(("opened", event.step))
                if not self._doom.rewinds:
                    self._arm()
            case Failed() | Refused():
                self._channel.send(("failed", event.message))
                self._loop.end()
            case Evaluated():
                self._evaluations += 1
                self._live(event.step)
            case Rewound():
                self._loop.send(Resume())

    def _live(self, step: int) -> None:
        """Do what a person may do meanwhile."""
        if self._evaluations == 1:
            self._loop.send(Adjust({"optim.learning_rate": self._doom.learning_rate}))
            self._loop.send(Sample({"max_tokens": 5}))
        elif self._doom.rewinds:
            self._arm()
            self._loop.send(Rewind(max(0, step - 17)))
        else:
            self._loop.send(Save())

    def _arm(self) -> None:
        if self._doom.files:
            threading.settrace(self._trace)  # for the thread that writes checkpoints
            sys.settrace(self._trace)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "call":
            return self._trace if frame.f_code.co_filename.endswith(self._doom.files) else None
        if event == "line":
            self._lines_left -= 1
            if self._lines_left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return self._trace


def live(command: Command, doom: Doom, channel: Connection) -> None:
    """The main function of such a program."""
    engine.session.recorder.FLUSH_SECONDS = 0.01
    Victim(doom, channel).run(command)
