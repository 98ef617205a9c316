"""Runs a stage within its time limit and keeps each line of JSON that it prints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tui.text.tables import format_json

Facts = dict[str, Any]
Row = tuple[str, str]  # a figure, and what was measured

ROOT = Path(__file__).parents[2]
MARK = "GPT_TUI_GPU_STAGE"  # in the environment of all that a stage starts
GRACE_SECONDS = 8.0  # for a stage to end by itself what it has started
LAST_WORDS = 400  # characters


@dataclass(frozen=True)
class Stage:
    """A program to run.

    Attributes:
        name: As results and log call it.
        seconds: Its time limit.
        command: Prints lines of JSON on standard output.
        rows: What the table says of those lines.
        skip: Why it cannot be run; empty if it can.
    """

    name: str
    seconds: float
    command: tuple[str, ...]
    rows: Callable[[list[Facts]], list[Row]]
    skip: str = ""


@dataclass
class Outcome:
    """What came of a stage.

    Attributes:
        stage: Which.
        lines: What it printed as JSON.
        seconds: It took.
        failure: How it failed; empty if it went well, or was left out.
        last_words: What it said before it failed.
    """

    stage: Stage
    lines: list[Facts] = field(default_factory=list)
    seconds: float = 0.0
    failure: str = ""
    last_words: str = ""

    def ended(self) -> Facts:
        """The last line of a stage's results."""
        said = {"last_words": self.last_words} if self.failure else {}
        return {"ok": not self.failure, "failure": self.failure, "seconds": self.seconds, **said}


class Results:
    """The files of an output folder, written line by line: a machine may be taken away any time.

    Args:
        folder: Made if it is not there; what is in it already is kept.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.log_file = folder, folder / "log.txt"

    def add(self, stage: str, facts: Facts) -> None:
        """Append a line of JSON."""
        with (self.folder / "results.jsonl").open("a", encoding="utf-8") as results:
            results.write(format_json({"stage": stage, **facts}) + "\n")

    def log(self, text: str) -> None:
        """Append to the log, which also takes what stages print on standard error."""
        with self.log_file.open("a", encoding="utf-8") as log:
            log.write(text)

    def add_table(self, text: str) -> None:
        """Append a table."""
        with (self.folder / "table.txt").open("a", encoding="utf-8") as tables:
            tables.write(text + "\n")


def run_stage(outcome: Outcome, results: Results, environment: Mapping[str, str]) -> None:
    """Run a stage to its end or to its time limit; nothing that it started is left running.

    Args:
        outcome: Of the stage to run; filled in as it goes.
        results: Take the same.
        environment: Of the stage.

    Raises:
        KeyboardInterrupt: We are to end; the stage has ended.
    """
    stage = outcome.stage
    if stage.skip:
        results.add(stage.name, {"skipped": stage.skip})
        return
    results.log(f"\n===== {stage.name}: {' '.join(stage.command)}\n")
    begin, log_begin = time.monotonic(), results.log_file.stat().st_size
    outcome.failure = "interrupted"
    try:
        with TemporaryDirectory(dir=environment["TMPDIR"], ignore_cleanup_errors=True) as own:
            code = _run(outcome, results, {**environment, "TMPDIR": own})
        outcome.failure = f"exit code {code}" if code else ""
    except subprocess.TimeoutExpired:
        outcome.failure = f"not done after {stage.seconds:g} s"
    except OSError as error:
        outcome.failure = str(error)
    finally:
        outcome.seconds = round(time.monotonic() - begin, 1)
        if outcome.failure:
            said = _last_words(results.log_file, log_begin)
            outcome.last_words = said or format_json(outcome.lines[-1:])
        results.add(stage.name, outcome.ended())


def _run(outcome: Outcome, results: Results, environment: Mapping[str, str]) -> int:
    """Returns the exit code.

    Raises:
        TimeoutExpired: It took too long, and was ended.
    """
    mark = uuid.uuid4().hex
    with results.log_file.open("ab") as log:
        process = subprocess.Popen(
            outcome.stage.command,
            cwd=ROOT,
            env={**environment, MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    reader = threading.Thread(target=_keep_lines, args=(process, outcome, results), daemon=True)
    reader.start()
    try:
        return process.wait(outcome.stage.seconds)
    finally:
        _end(process, mark)
        reader.join(GRACE_SECONDS)


def _keep_lines(process: subprocess.Popen[str], outcome: Outcome, results: Results) -> None:
    """Keep what is JSON, at once; log the rest."""
    for line in process.stdout or ():
        try:
            facts = json.loads(line)
        except ValueError:
            facts = None
        if isinstance(facts, dict):
            outcome.lines.append(facts)
            results.add(outcome.stage.name, facts)
        else:
            results.log(line)


def _end(process: subprocess.Popen[str], mark: str) -> None:
    """Ask the stage to end its own, then kill what is left of it, in whatever session that is."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for pid in _marked(mark):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _marked(mark: str) -> list[int]:
    """Processes with the mark in their environment; none where the system does not tell."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def _last_words(log: Path, begin: int) -> str:
    with log.open("rb") as said:
        said.seek(begin)
        return said.read().decode(errors="replace").strip()[-LAST_WORDS:]


def stage_environment(work: Path, corpus: Path | None) -> dict[str, str]:
    """No network, and every cache in a folder of our own, so that each call begins alike.

    Args:
        work: That folder.
        corpus: A copy of tinyshakespeare; None takes what the person's cache has.
    """
    environment = {"HOME": str(work), **os.environ} | {
        "GPT_TUI_OFFLINE": "1",
        "TMPDIR": str(work),
        "TORCHINDUCTOR_CACHE_DIR": str(work / "inductor"),
        "TRITON_CACHE_DIR": str(work / "triton"),
        "PYTHONUNBUFFERED": "1",  # what a stage has printed is kept when it is killed
        "PYTHONPATH": os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT)))),
    }
    if corpus:
        cache = work / "cache"
        cache.mkdir()
        (cache / "tinyshakespeare.txt").write_bytes(corpus.read_bytes())
        environment["GPT_TUI_CACHE"] = str(cache)
    return environment
