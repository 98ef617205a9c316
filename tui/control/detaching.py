"""Train in a process of its own, which goes on when the terminal is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from data.errors import InputError
from data.reading import open_regular
from engine.program import program
from engine.runs.folder import LOG_FILE, typed_name
from tui.terminal.stdout import put, say


def train_detached(arguments: list[str]) -> None:
    """Start ``gpt-tui train`` with some arguments in a session of its own.

    What it says until the run is open is shown here, and afterwards goes to the run's log.

    Raises:
        InputError: It refused.
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
            run = Path(opened["run"])
            name, command = typed_name(run), program()
            put(
                f"run {run.name} is trained by process {process.pid}, in the background\n"
                f"  attach   {command} attach {name}\n"
                f"  stop     {command} stop {name}\n"
                f"  log      {command} logs {name} --follow"
            )
            return
        done = process.wait() == 0  # a run that is finished already
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
    problem = "" if done else lines.pop() if lines else "it ended without a word"
    for line in lines:
        say(line)
    if problem:
        raise InputError(problem.removeprefix("gpt-tui: "))


def say_in(log: Path) -> None:
    """Write all that is said from now on into a run's log."""
    appending = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    file = open_regular(log, appending)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)


def tell_ready(run: Path, descriptor: int) -> None:
    """Tell the process that waits that the run is open; from now on all is said in its log."""
    say_in(run / LOG_FILE)
    with open(descriptor, "w", encoding="utf-8") as answer:
        json.dump({"run": str(run)}, answer)
