"""``benchmarks inside``: the screen of a model's inside, while the model trains.

The app trains in a pseudo-terminal; ``i`` opens the screen and keys move its cursor. Training with
the screen open is compared with training without any, as in ``benchmarks overhead``.
"""

from __future__ import annotations

import argparse
import math
import re
import statistics
import time
from dataclasses import asdict
from functools import partial
from typing import Any

from benchmarks import harness, programs
from benchmarks.harness import BenchmarkParser, Report
from benchmarks.overhead import add_window_options, app_window, calibrate, measure_pairs
from benchmarks.pty_app import COLUMNS, ROWS, PtyApp
from benchmarks.report import Row, Spread, bootstrap_interval
from benchmarks.startup import shows_a_step
from benchmarks.workers import ask

OPEN_GOAL = 0.3  # seconds to the first picture, of a small model
KEY_GOAL = 0.05  # seconds, 95 of 100
DRAW_GOAL = 15.0  # milliseconds
RATIO_GOAL = 0.97
MEMORY_GOAL = 300e6  # bytes
OPENINGS, KEYS = 5, 30
REST_SECONDS = 0.3
PATIENCE = 60.0
INSIDE, LOOKS_AT, ESCAPE, LEFT, RIGHT = "i", "looks at", "\x1b", "\x1b[D", "\x1b[C"
AT_TOKEN = re.compile(r"token \d+ ")
LAYERS, HEADS, T = 4, 4, 64  # of the attention that is drawn


def parser() -> BenchmarkParser:
    """Declare the options."""
    made = BenchmarkParser("inside", "the screen of a model's inside while it trains")
    add_window_options(made, 4, "a run with the screen open and one without a screen")
    made.add_argument(
        "--gpt2", action="store_true", help="also the memory for GPT-2's 124 M weights, T 1024"
    )
    return made


def measure(args: argparse.Namespace) -> Report:
    """Measure opening, keys, drawing, the pace of training and, if it is wanted, memory."""
    options = harness.new_run_options(args)
    first: list[float] = []
    again: list[float] = []
    with harness.runs_folder(args) as runs_dir:
        plan = calibrate(runs_dir, options, args.seconds, args.threads)
        arm = partial(
            app_window,
            (COLUMNS, ROWS),
            begin=partial(_open, first),
            press=partial(_press_keys, again),
        )
        pairs = measure_pairs(runs_dir, [*options, *plan.options], plan, args.pairs, arm)
        machine = programs.machine(runs_dir / "headless-1")
    drawn = Spread.of(_draw_times())
    ratios = [app.speed / headless.speed for headless, app in pairs]
    low, high = bootstrap_interval(ratios)
    ratio, keys = statistics.median(ratios), sorted(one for _, app in pairs for one in app.keys)
    p95, most = keys[math.ceil(0.95 * len(keys)) - 1], max(first)
    rows = [
        Row("to the first picture", f"≤ {OPEN_GOAL:g} s",
            f"{most:.2f} s the first time, {statistics.median(again):.2f} s later",
            most <= OPEN_GOAL),
        Row("from a key to its effect", f"95 % ≤ {1000 * KEY_GOAL:g} ms",
            f"{1000 * p95:.0f} ms (half ≤ {1000 * statistics.median(keys):.0f} ms, "
            f"{len(keys)} keys)", p95 <= KEY_GOAL),
        Row(f"redraw of attention at {COLUMNS}x{ROWS}", f"≤ {DRAW_GOAL:g} ms",
            drawn.described("ms", 1), drawn.median <= DRAW_GOAL),
        Row("training beside the screen over headless", f"≥ {RATIO_GOAL}",
            f"{ratio:.3f} (95 % interval {low:.3f} to {high:.3f}, {len(pairs)} pairs)",
            ratio >= RATIO_GOAL),
    ]  # fmt: skip
    result: dict[str, Any] = {
        "bench": "inside",
        "open_first": [round(one, 3) for one in first],
        "open_again": [round(one, 3) for one in again],
        "key_p95": round(p95, 4),
        "draw_ms": drawn.to_dict(),
        "ratio": round(ratio, 4),
        "ratio_interval": [round(low, 4), round(high, 4)],
        "pairs": [{"headless": asdict(headless), "app": asdict(app)} for headless, app in pairs],
        "machine": machine,
    }
    if args.gpt2:
        memory = ask("inside_memory", {"threads": args.threads or harness.cores()})
        most_bytes = max(memory.values())
        told = ", ".join(f"{view} {size / 1e6:.0f}" for view, size in memory.items())
        goal, told = f"≤ {MEMORY_GOAL / 1e6:g} MB", f"{most_bytes / 1e6:.0f} MB ({told})"
        rows.append(Row("extra memory, GPT-2, T 1024", goal, told, most_bytes <= MEMORY_GOAL))
        result["memory"] = memory
    result["reached"] = all(row.reached is not False for row in rows)
    return rows, result


def _open(opened: list[float], app: PtyApp) -> None:
    """Open the screen once it trains; add the seconds to the first picture."""
    app.read_until(lambda text: shows_a_step(text) and LOOKS_AT not in text, PATIENCE)
    pressed = time.time()
    app.send(INSIDE)
    opened.append(app.read_until(lambda text: LOOKS_AT in text, PATIENCE) - pressed)


def _press_keys(again: list[float], app: PtyApp) -> tuple[float, ...]:
    """Move the cursor, and open the screen some times more.

    Returns:
        The seconds from each key that moves the cursor to the row that names its token.
    """
    seconds = []
    for number in range(KEYS):
        app.rest(REST_SECONDS)
        before = AT_TOKEN.findall(app.text)
        pressed = time.time()
        app.send(RIGHT if number % 2 else LEFT)
        moved = app.read_until(partial(_is_elsewhere, before), PATIENCE)
        seconds.append(moved - pressed)
    for _ in range(OPENINGS):
        app.send(ESCAPE)
        _open(again, app)
        app.rest(REST_SECONDS)
    return tuple(seconds)


def _is_elsewhere(before: list[str], text: str) -> bool:
    """Return whether the screen names another token than before."""
    return AT_TOKEN.findall(text) != before


def _draw_times() -> list[float]:
    """Return milliseconds of processor time of drawing attention, as the cursor moves."""
    import numpy as np

    from tui.inside.attention import PLACES, Heads, draw_attention
    from tui.inside.words import WORDS

    weights = np.tril(np.random.default_rng(0).random((LAYERS, HEADS, T, T), np.float32))
    maps = weights / weights.sum(-1, keepdims=True)
    names = [[("previous token", 0.93)] * HEADS] * LAYERS
    scores = dict.fromkeys(PLACES, weights[:, :, -1, 0])
    times = []
    for number in range(60):
        at = number % T
        heads = Heads(
            maps=maps,
            pattern=maps[1, 2],
            names=names,
            tokens="abcdefg " * (T // 8),
            layer=1,
            head=2,
            query=at,
            key=at // 2,
            scores=scores,
            guide=WORDS["attention"].reading,
        )
        begin = time.process_time()
        draw_attention(heads, COLUMNS, ROWS - 6, "pixels", enlarged=False)
        times.append((time.process_time() - begin) * 1000)
    return times[10:]
