"""``benchmarks startup``: from the command to the first painted screen, and from space to training.

The clock starts before the process does. Space is pressed as soon as the whole screen is there, so
that nothing is hidden in the time a person would look at it: loading PyTorch counts.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import harness, programs
from benchmarks.harness import BenchmarkParser, Report
from benchmarks.pty_app import PtyApp
from benchmarks.report import Row, Spread

PAINT_GOAL, TRAINING_GOAL = 0.5, 4.0
PATIENCE_SECONDS = 120.0
COCKPIT_WORDS = "to train the preset"  # of the welcome, with all there is but the footer
FOOTER_WORDS = "Quit"  # Textual fills it last

# Holds up the first import of torch until the screen was painted, or for five seconds.
WATCHED_START = """
import pathlib, runpy, sys, time
painted, told = pathlib.Path(sys.argv.pop(1)), pathlib.Path(sys.argv.pop(1))
def watch(event, details):
    if event == "import" and details[0] == "torch" and not told.exists():
        deadline = time.monotonic() + 5
        while not painted.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        told.write_text("after" if painted.exists() else "before")
sys.addaudithook(watch)
sys.argv[0] = "gpt-tui"
runpy.run_module("tui", run_name="__main__")
"""

# What Textual takes by itself, on this machine and at this moment.
EMPTY_APP = f"""
from textual.app import App
from textual.widgets import Static
class Empty(App[None]):
    def compose(self):
        yield Static({COCKPIT_WORDS!r})
Empty().run()
"""


@dataclass(frozen=True)
class Start:
    """One start of the app, in seconds."""

    paint: float  # until the cockpit is there, but for the footer
    whole: float  # until all of it is
    training: float  # from space to the end of the first step
    shown: float  # from space until the screen shows a step


def parser() -> BenchmarkParser:
    """Declare the options."""
    made = BenchmarkParser("startup", "seconds to the first painted screen, and to training")
    made.add_count("--runs", 5, "measured starts")
    made.add_argument(
        "--look",
        type=float,
        default=0.0,
        metavar="S",
        help="seconds between the first paint and pressing space (default: %(default)s)",
    )
    return made


def measure(args: argparse.Namespace) -> Report:
    """Start the app some times."""
    options = harness.new_run_options(args)
    with harness.runs_folder(args) as runs_dir:
        programs.note("warming up")
        _start(runs_dir, "startup-warm", options, args.look)
        starts, empty = [], []
        for number in range(1, args.runs + 1):
            empty.append(_start_empty(runs_dir))  # in between, as other programs come and go
            starts.append(_start(runs_dir, f"startup-{number}", options, args.look))
            programs.note(f"start {number}: {starts[-1]}")
        lazy = not _torch_before_paint(runs_dir, options)
        machine = programs.machine(runs_dir / "startup-1")
    rows, result = _summary(starts, empty, lazy, machine)
    return rows, result | {"look_seconds": args.look}


def _start(runs_dir: Path, name: str, options: list[str], look: float) -> Start:
    command = programs.app_command(runs_dir, name, options)
    with PtyApp(command, programs.app_environment(runs_dir, name)) as app:
        paint = whole = app.read_until(shows_cockpit, 30)
        if not shows_whole_screen(app.text):
            whole = app.read_until(shows_whole_screen, 30)
        app.rest(look)
        pressed = time.time()
        app.send(" ")
        shown = app.read_until(shows_a_step, PATIENCE_SECONDS)
    training = _first_step_at(runs_dir / name)
    return Start(paint - app.started, whole - app.started, training - pressed, shown - pressed)


def _start_empty(runs_dir: Path) -> float:
    """Return the seconds until a Textual app with nothing in it is painted."""
    command = [sys.executable, "-c", EMPTY_APP]
    with PtyApp(command, programs.app_environment(runs_dir, "empty")) as app:
        return app.read_until(shows_cockpit, 30) - app.started


def shows_cockpit(text: str) -> bool:
    """Whether the cockpit was painted: status, chart, samples and settings."""
    return COCKPIT_WORDS in text


def shows_whole_screen(text: str) -> bool:
    """Whether all of the cockpit was painted, the footer included."""
    return COCKPIT_WORDS in text and FOOTER_WORDS in text


def shows_a_step(text: str) -> bool:
    """Whether the status line says that at least one step is done."""
    return bool(re.search(r"step\s+[1-9][\d,]*/", text))


def _first_step_at(run: Path) -> float:
    """When the first step was done: training began right after the run was opened."""
    (_, opened), *_ = programs.moments(run, "started")
    return opened + programs.first_step_seconds(run)


def _torch_before_paint(runs_dir: Path, options: list[str]) -> bool:
    """Whether PyTorch is loaded before there is anything to see."""
    with tempfile.TemporaryDirectory() as folder:
        painted, told = Path(folder, "painted"), Path(folder, "told")
        name = "startup-watched"
        arguments = programs.app_command(runs_dir, name, options)[3:]
        command = [sys.executable, "-c", WATCHED_START, str(painted), str(told), *arguments]
        with PtyApp(command, programs.app_environment(runs_dir, name)) as app:
            app.read_until(shows_cockpit, 30)
            painted.touch()
            while not told.exists() and app.alive:
                app.read(0.05)
            return told.read_text() == "before"


def _summary(
    starts: list[Start], empty: list[float], lazy: bool, machine: dict[str, Any]
) -> Report:
    bare = Spread.of(empty)
    beyond = Spread.of([start.paint - one for start, one in zip(starts, empty, strict=True)])
    paint, whole, training, shown = (
        Spread.of([getattr(start, name) for start in starts])
        for name in ("paint", "whole", "training", "shown")
    )
    rows = [
        Row("first painted screen", f"≤ {PAINT_GOAL} s", paint.described("s"),
            paint.median <= PAINT_GOAL),
        Row("an empty Textual app's, in between", "", bare.described("s")),
        Row("… of ours beyond it", "", beyond.described("s")),
        Row("the first with its footer of keys", "", whole.described("s")),
        Row("space to the first step done", f"≤ {TRAINING_GOAL:g} s", training.described("s"),
            training.median <= TRAINING_GOAL),
        Row("space to a step on the screen", "", shown.described("s")),
        Row("PyTorch loaded before the paint", "no", "no" if lazy else "yes", lazy),
    ]  # fmt: skip
    result = {
        "bench": "startup",
        "first_paint_seconds": paint.to_dict(),
        "empty_app_seconds": bare.to_dict(),
        "beyond_empty_app_seconds": beyond.to_dict(),
        "whole_screen_seconds": whole.to_dict(),
        "training_seconds": training.to_dict(),
        "step_shown_seconds": shown.to_dict(),
        "torch_before_paint": not lazy,
        "goals": {"first_paint_seconds": PAINT_GOAL, "training_seconds": TRAINING_GOAL},
        "reached": paint.median <= PAINT_GOAL and training.median <= TRAINING_GOAL and lazy,
        "machine": machine,
    }
    return rows, result
