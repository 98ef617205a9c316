"""``benchmarks runs``: opening the runs screen on many runs, and a run with many steps.

The run folders are written for the occasion, without any training. The screen is the real one, in
an app without a terminal, with PyTorch loaded beforehand, as it is when a person comes to press r.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np

from benchmarks import programs
from benchmarks.harness import BenchmarkParser, Report
from benchmarks.report import Row, Spread
from engine.config.presets import preset_config
from engine.config.schema import Config
from engine.metrics import MetricStore
from engine.runs.catalogue import disk_use
from engine.runs.database import RunDatabase
from engine.runs.folder import DATABASE_FILE, create_run
from engine.runs.summary import read_summary
from engine.session.recorder import Recorder
from tui.text.numbers import format_unit

if TYPE_CHECKING:
    from tui.app import GptTuiApp
    from tui.screens.runs import RunsScreen

OPEN_GOAL, PAGE_GOAL, SIZE_GOAL = 1.0, 0.1, 150e6  # seconds, seconds, bytes
KEY_GOAL = 0.05  # seconds
FILTER = "lr>1e-4 best<9 name:run"
METRICS = ("train_loss", "val_loss", "learning_rate", "grad_norm", "tokens_per_second",
           "step_seconds", "weight_norm", "update_ratio", "memory", "flops")  # fmt: skip
PAGES, REPEATS = 20, 3
SIZE = (120, 40)


def parser() -> BenchmarkParser:
    """Declare the options."""
    made = BenchmarkParser("runs", "seconds to open many runs, and a run of many steps", None)
    made.add_count("--runs", 1000, "number of runs")
    made.add_count("--steps", 1_000_000, "steps of the long run")
    return made


def measure(args: argparse.Namespace) -> Report:
    """Write the runs, and measure opening them."""
    import engine.session.session  # noqa: F401 - the app loads it behind the first paint

    with tempfile.TemporaryDirectory(prefix="gpt-tui-bench-") as folder:
        programs.note(f"writing {args.runs:,} runs")
        runs_dir = _write_runs(Path(folder, "many"), args.runs)
        with patch.dict(os.environ, programs.app_environment(runs_dir, "runs"), clear=True):
            opened, pages, keys, letters = asyncio.run(_time_screen(runs_dir, args.runs))
        listed = Spread.of([_list_seconds(runs_dir) for _ in range(REPEATS)])
        programs.note(f"writing a run of {args.steps:,} steps")
        long_run = _write_long_run(Path(folder, "long"), args.steps)
        size = disk_use(long_run)
        row = _spread(lambda: read_summary(long_run))
        curves = _spread(lambda: _open_curves(long_run, args.steps))
    rows = [
        Row(f"r to a table of {args.runs:,} runs", f"≤ {OPEN_GOAL:g} s", opened.described("s"),
            opened.median <= OPEN_GOAL),
        Row("a page down in it", f"≤ {PAGE_GOAL:g} s", pages.described("s", 3),
            pages.median <= PAGE_GOAL),
        Row("a key while they are read", f"≤ {KEY_GOAL:g} s", keys.described("s", 3),
            keys.median <= KEY_GOAL),
        Row("a letter more in the filter", f"≤ {KEY_GOAL:g} s", letters.described("s", 3),
            letters.median <= KEY_GOAL),
        Row(f"gpt-tui runs of {args.runs:,} runs, of a processor", f"≤ {OPEN_GOAL:g} s",
            listed.described("s"), listed.median <= OPEN_GOAL),
        Row(f"a run of {args.steps:,} steps: its row", f"≤ {OPEN_GOAL:g} s",
            row.described("s", 4), row.median <= OPEN_GOAL),
        Row(f"… its {len(METRICS)} curves", f"≤ {OPEN_GOAL:g} s", curves.described("s"),
            curves.median <= OPEN_GOAL),
        Row("… on the disk, without checkpoints", f"≤ {SIZE_GOAL / 1e6:g} MB",
            format_unit(size, "B"), size <= SIZE_GOAL),
    ]  # fmt: skip
    result = {
        "bench": "runs",
        "runs": args.runs,
        "steps": args.steps,
        "metrics": len(METRICS),
        "open_seconds": opened.to_dict(),
        "page_seconds": pages.to_dict(),
        "key_seconds": keys.to_dict(),
        "letter_seconds": letters.to_dict(),
        "list_cpu_seconds": listed.to_dict(),
        "row_seconds": row.to_dict(6),
        "curves_seconds": curves.to_dict(),
        "bytes": size,
        "goals": {
            "open_seconds": OPEN_GOAL,
            "page_seconds": PAGE_GOAL,
            "key_seconds": KEY_GOAL,
            "bytes": SIZE_GOAL,
        },
        "reached": all(one.reached for one in rows),
    }
    return rows, result


# -- many runs -----------------------------------------------------------------------------------


def _write_runs(runs_dir: Path, count: int) -> Path:
    """As many runs as wished, each with files of its own."""
    first = create_run(_config(), runs_dir, "run-0")
    with closing(RunDatabase(first / DATABASE_FILE)) as database:
        _describe(database, 1000)
        database.fold()
    for number in range(1, count):
        shutil.copytree(first, runs_dir / f"run-{number}")
    return runs_dir


async def _time_screen(runs_dir: Path, count: int) -> tuple[Spread, ...]:
    """Seconds until the table is painted; for each page down; a key, and a letter of a filter."""
    from tui.app import GptTuiApp
    from tui.control.run import Launch

    app = GptTuiApp(Launch(_config(), runs_dir))
    opened: list[float] = []
    pages: list[float] = []
    keys: list[float] = []
    letters: list[float] = []
    try:
        async with app.run_test(size=SIZE):
            for _ in range(REPEATS):
                programs.note(f"opening {count:,} runs")
                screen, seconds = await _open(app, count)
                opened.append(seconds)
                pages += [await _page_down(screen) for _ in range(PAGES)]
                keys += await _keys_while_reading(screen)
                letters += [await _filter(screen, FILTER[:end]) for end in range(len(FILTER) + 1)]
                screen.dismiss()
                await asyncio.sleep(0.1)
    finally:
        app.control.end(10)
    return tuple(map(Spread.of, (opened, pages, keys, letters)))


def _list_seconds(runs_dir: Path) -> float:
    """Seconds of a processor that the command takes, which other programs lengthen least."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [*programs.PROGRAM, "runs", "--runs-dir", str(runs_dir)]
    subprocess.run(command, env=programs.environment(), stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


async def _open(app: GptTuiApp, count: int) -> tuple[RunsScreen, float]:
    from tui.control.runs_view import RunsView
    from tui.screens.runs import RunsScreen

    started = time.perf_counter()
    screen = RunsScreen(app.control, RunsView(app.control.launch.runs_dir))
    await app.push_screen(screen)
    while len(screen.table.runs) < count:
        await asyncio.sleep(0.002)
    await _painted(screen)
    return screen, time.perf_counter() - started


async def _page_down(screen: RunsScreen) -> float:
    started = time.perf_counter()
    screen.table.action_page_down()
    await _painted(screen)
    return time.perf_counter() - started


async def _keys_while_reading(screen: RunsScreen) -> list[float]:
    """Move the cursor up and down while a thread reads all runs anew."""
    screen.view._catalogue = None
    reading = screen.read()
    seconds: list[float] = []
    while not reading.is_finished:
        started = time.perf_counter()
        move = (
            screen.table.action_cursor_down if len(seconds) % 2 else screen.table.action_cursor_up
        )
        move()
        await _painted(screen)
        seconds.append(time.perf_counter() - started)
    return seconds


async def _filter(screen: RunsScreen, text: str) -> float:
    started = time.perf_counter()
    screen.filter_while_typing(text)
    await _painted(screen)
    return time.perf_counter() - started


async def _painted(screen: RunsScreen) -> None:
    done = asyncio.Event()
    screen.call_after_refresh(done.set)
    await done.wait()


# -- many steps ----------------------------------------------------------------------------------


def _write_long_run(runs_dir: Path, count: int) -> Path:
    path = create_run(_config(), runs_dir, "long")
    steps = np.arange(1, count + 1, dtype=np.int64)
    noise = np.random.default_rng(1).normal(size=count)
    with closing(RunDatabase(path / DATABASE_FILE)) as database:
        for metric in METRICS:
            database.import_metric(metric, steps, 1.5 + 3 / np.sqrt(steps) + noise / 20)
        _describe(database, count)
        database.fold()
    os.sync()  # what is still to be written is not to be waited for by the reading
    return path


def _open_curves(path: Path, steps: int) -> None:
    """What opening a run in the cockpit reads."""
    with closing(RunDatabase(path / DATABASE_FILE)) as database:
        store = MetricStore()
        Recorder(database, store).load(steps)
        assert store.column(METRICS[0]).last_step == steps


def _describe(database: RunDatabase, steps: int) -> None:
    """What the row of a run is made of."""
    summary = {
        "state": "finished",
        "preset": "tiny",
        "corpus": "tinyshakespeare",
        "parameters": 99_800,
        "step": steps,
        "total_steps": steps,
        "tokens": 384 * steps,
        "train_seconds": 0.01 * steps,
        "best_val_loss": 1.9,
        "best_step": steps,
        "sparkline": [round(1.8 + 2.4 * 0.9**place, 4) for place in range(64)],
    }
    database.set_meta(created=time.time(), command_line="benchmarks", summary=summary)


def _config() -> Config:
    return preset_config("tiny")


def _spread(act: Callable[[], object]) -> Spread:
    seconds: list[float] = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - started)
    return Spread.of(seconds)
