"""Starts this program as a person would, and reads what its runs left behind."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from data.errors import InputError
from engine.runs.database import RunDatabase
from engine.runs.folder import DATABASE_FILE

PROGRAM = (sys.executable, "-m", "tui")
END_SECONDS = 60.0
SHORTEST_STEP = 1e-6  # seconds


class BenchmarkError(RuntimeError):
    """What was to be measured did not come about."""


def settings(**values: object) -> list[str]:
    """``--set`` options; a double underscore stands for the dot."""
    pairs = [f"{key.replace('__', '.')}={value}" for key, value in values.items()]
    return [word for pair in pairs for word in ("--set", pair)]


def environment(**more: str) -> dict[str, str]:
    """A person's environment: compiled modules are kept, and nothing is traced."""
    dropped = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "GPT_TUI_RUNS")
    return {key: value for key, value in os.environ.items() if key not in dropped} | more


def app_environment(runs_dir: Path, name: str) -> dict[str, str]:
    """The same for the app, with the default preferences: a person's own are left as they are."""
    return environment(GPT_TUI_PREFERENCES=str(runs_dir / f".{name}-preferences.toml"))


def note(text: str) -> None:
    """Say on standard error how far we are."""
    print(text, file=sys.stderr, flush=True)


# -- programs ------------------------------------------------------------------------------------


def train_command(runs_dir: Path, name: str, options: Sequence[str]) -> list[str]:
    """Training without a screen."""
    return [*PROGRAM, "train", "--runs-dir", str(runs_dir), "--name", name, *options]


def app_command(runs_dir: Path, name: str, options: Sequence[str]) -> list[str]:
    """The app."""
    return [*PROGRAM, "--runs-dir", str(runs_dir), "--name", name, *options]


@contextmanager
def headless(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that is ended in good order, whatever happens."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=said, env=environment(), text=True
        )
        try:
            yield process
        except BenchmarkError as error:
            said.seek(0)
            raise BenchmarkError(f"{error}; its last words: {said.read()[-300:].strip()}") from None
        finally:
            end(process)


def end(process: subprocess.Popen[str]) -> int:
    """Ask a process to end and wait until it has."""
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def listen(
    command: Sequence[str], folder: Path, variables: dict[str, str]
) -> list[tuple[float, str]]:
    """Run a program to its end in a folder; returns its lines, each with when it came.

    Raises:
        BenchmarkError: It failed; the error tells its last words.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        process = subprocess.Popen(
            command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=said, text=True
        )
        try:
            assert process.stdout
            lines = [(time.perf_counter(), line) for line in process.stdout]
            code = process.wait()
        except BaseException:
            end(process)
            raise
        if code:
            said.seek(0)
            words = said.read()[-500:].strip()
            raise BenchmarkError(f"{' '.join(command[:2])} in {folder} failed: {words}")
    return lines


def wait_until(
    done: Callable[[], bool],
    alive: Callable[[], bool],
    seconds: float,
    what: str,
    every: float = 0.25,
    rest: Callable[[float], None] | None = None,
) -> None:
    """Look now and then whether something has happened.

    Args:
        done: Whether it has.
        alive: Whether it still can.
        seconds: How long to wait at most.
        what: To say if it does not.
        every: Seconds between two looks.
        rest: How to spend them; None sleeps.

    Raises:
        BenchmarkError: The program ended without it, or it took too long.
    """
    deadline = time.monotonic() + seconds
    while not done():
        if not alive() or time.monotonic() > deadline:
            raise BenchmarkError(f"{what} did not come about")
        (rest or time.sleep)(every)
    alive()


# -- runs ----------------------------------------------------------------------------------------


@contextmanager
def _database(run: Path) -> Iterator[RunDatabase]:
    database = RunDatabase(run / DATABASE_FILE, read_only=True)
    try:
        yield database
    finally:
        database.close()


def moments(run: Path, kind: str) -> list[tuple[int, float]]:
    """When a kind of thing happened: (step, time of day in seconds), the oldest first."""
    if not (run / DATABASE_FILE).exists():
        return []
    try:
        with _database(run) as database:
            return [(entry["step"], entry["created"]) for entry in database.journal(kind)]
    except (InputError, sqlite3.OperationalError):  # it is being made this very moment
        return []


def facts(run: Path) -> dict[str, Any]:
    """What is recorded of a run: corpus, runtime, hardware, versions and more."""
    with _database(run) as database:
        return {**database.meta()}


def step_seconds(run: Path) -> list[float]:
    """Seconds of pure training of each step but the first."""
    with _database(run) as database:
        _, seconds = database.metric(0, "train_seconds")
    return [float(after - before) for before, after in pairwise(seconds)]


def typical_step_seconds(run: Path) -> float:
    """The median, above 0: the losses of a GPU's steps may be read, and timed, many at once."""
    seconds = step_seconds(run)
    return statistics.median(seconds) or statistics.fmean(seconds) or SHORTEST_STEP


def first_step_seconds(run: Path) -> float:
    """Seconds of pure training until the first step was done."""
    with _database(run) as database:
        return float(database.metric(0, "train_seconds")[1][0])


def machine(run: Path) -> dict[str, Any]:
    """What a figure depends on besides the program."""
    return machine_of(facts(run))


def machine_of(known: dict[str, Any]) -> dict[str, Any]:
    """The same from ``facts``, wherever they come from."""
    hardware = known["hardware"]
    return {
        "cpu": hardware["cpu"],
        **({"gpu": hardware["gpu"]} if "gpu" in hardware else {}),
        "cores": hardware["cores"],
        "system": platform.system(),
        "torch": known["versions"]["torch"],
        "threads": known["runtime"]["resolved"]["threads"],
        "corpus": known["corpus"]["name"],
        "load": round(os.getloadavg()[1], 2),  # of the last five minutes; our own share is about 1
    }
