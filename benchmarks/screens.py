"""``benchmarks screens``: what the terminal is sent when a screen opens, and when it is left.

The app trains in a pseudo-terminal and is paused, so that what is sent belongs to the screen.
Over ssh this is what one waits for.
"""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks import harness, programs
from benchmarks.harness import BenchmarkParser, Report
from benchmarks.programs import BenchmarkError
from benchmarks.pty_app import PtyApp
from benchmarks.report import Row
from benchmarks.startup import shows_a_step, shows_whole_screen

GOAL = 40e3  # bytes
SMALLEST = 1_000  # bytes of a screen: fewer, and none has opened
PATIENCE = 60.0
OPENING_SECONDS = 2.0
PAUSE, ESCAPE = " ", "\x1b"
SCREENS = {
    "help": "?",
    "inside": "i",
    "runs": "r",
    "timeline": "t",
    "queue": "Q",
    "lecture": "L",
    "data": "D",
    "preferences": "O",
    "presets": "N",
    "command palette": "\x10",
    "lr finder": "T",
}


def parser() -> BenchmarkParser:
    """Declare the options."""
    made = BenchmarkParser("screens", "what the terminal is sent when a screen opens")
    made.add_size()
    return made


def measure(args: argparse.Namespace) -> Report:
    """Open each screen twice and go back; the second time is what counts."""
    options = harness.new_run_options(args)
    with harness.runs_folder(args) as runs_dir:
        command = programs.app_command(runs_dir, "screens", options)
        with PtyApp(command, programs.app_environment(runs_dir, "screens"), args.size) as app:
            app.read_until(shows_whole_screen, PATIENCE)
            app.send(PAUSE)
            app.read_until(shows_a_step, PATIENCE)
            app.send(PAUSE)
            app.read_until(lambda text: "paused" in text, PATIENCE)
            _sent(app)
            opened, left = {}, {}
            for name, key in SCREENS.items():
                for _ in range(2):
                    app.send(key)
                    opened[name] = _sent(app)
                    if opened[name] < SMALLEST:
                        raise BenchmarkError(f"no screen opened for {name}:\n{app.text}")
                    app.send(ESCAPE)
                    left[name] = _sent(app)
                programs.note(f"{name}: {opened[name] / 1e3:.1f} kB, back {left[name] / 1e3:.1f}")
        machine = programs.machine(runs_dir / "screens")
    columns, rows = args.size
    told = [
        Row(f"opening {name} at {columns}x{rows}", f"≤ {GOAL / 1e3:g} kB",
            f"{sent / 1e3:.1f} kB, back {left[name] / 1e3:.1f} kB", sent <= GOAL)
        for name, sent in opened.items()
    ]  # fmt: skip
    result: dict[str, Any] = {
        "bench": "screens",
        "size": list(args.size),
        "opened_bytes": opened,
        "left_bytes": left,
        "goal_bytes": GOAL,
        "machine": machine,
        "reached": max(opened.values()) <= GOAL,
    }
    return told, result


def _sent(app: PtyApp) -> int:
    """Return the bytes that are sent in the time in which a screen opens."""
    before = app.read_bytes
    app.rest(OPENING_SECONDS)
    return app.read_bytes - before
