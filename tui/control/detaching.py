"""Train in a process of its own, which goes on when the terminal is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from data.errors import InputError
from data.reading import open_regular
from engine.program import program
from engine.runs.folder import LOG_FILE, typed_name
from tui.terminal.stdout import put, say


@dataclass(frozen=True)
class Background:
    """A training in a process of its own.

    Attributes:
        process: That trains the run: of several the first, as messages and ``ps`` name it.
        starter: That has started it: this one's child.
        run: None if it has ended before one was open.
        said: Lines until then.
        problem: Why it ended; empty if there was nothing to train.
    """

    process: int
    starter: int
    run: Path | None
    said: tuple[str, ...] = ()
    problem: str = ""


def train_detached(arguments: list[str]) -> None:
    """Start ``gpt-tui train`` in the background, and print how to come back to it.

    Raises:
        InputError: It refused.
    """
    started = start_in_background(arguments)
    for line in started.said:
        say(line)
    if started.problem:
        raise InputError(started.problem)
    if started.run:
        name, command = typed_name(started.run), program()
        several = started.process != started.starter
        others = f" and others, started by process {started.starter}" if several else ""
        put(
            f"run {started.run.name} is trained by process {started.process}{others}, in the "
            f"background\n"
            f"  attach   {command} attach {name}\n"
            f"  stop     {command} stop {name}\n"
            f"  log      {command} logs {name} --follow"
        )


def start_in_background(arguments: list[str]) -> Background:
    """Start ``gpt-tui train`` with some arguments in a session of its own.

    What it says until the run is open is kept, and afterwards goes to the run's log.
    """
    receiver, sender = os.pipe()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "tui", "train", *arguments, f"--ready-fd={sender}"],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            pass_fds=[sender],
            start_new_session=True,
        )
        os.close(sender)
        with open(receiver, encoding="utf-8") as answer:
            told = answer.read()  # until the run is open, or the process has ended
        if told:
            opened = json.loads(told)
            return Background(opened["process"], process.pid, Path(opened["run"]))
        done = process.wait() == 0  # a run that is finished already
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
    problem = "" if done else lines.pop() if lines else "it ended without a word"
    return Background(
        process.pid, process.pid, None, tuple(lines), problem.removeprefix("gpt-tui: ")
    )


def say_in(log: Path) -> None:
    """Write all that is said from now on into a run's log."""
    appending = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    file = open_regular(log, appending)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)


def tell_ready(run: Path, descriptor: int, process: int | None = None) -> None:
    """Tell the process that waits that the run is open; from now on all is said in its log.

    Args:
        process: That trains it; None for this one.
    """
    say_in(run / LOG_FILE)
    with open(descriptor, "w", encoding="utf-8") as answer:
        json.dump({"run": str(run), "process": process or os.getpid()}, answer)
