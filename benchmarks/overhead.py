"""``benchmarks overhead``: training in the app, cockpit live, over the same without a screen.

Both do the very same work: the same settings, threads, evaluations and samples, over the same
steps, each time in a fresh process. The run's own journal says when each evaluation was done; the
window of a pair reaches from the end of the first evaluation to that of the third, so that it holds
two whole rounds of training, evaluating and sampling, and no start. Wall time counts, so that a
trainer that waits for the interpreter while the screen is painted is found out. What the app writes
to the terminal meanwhile is counted; after the window, while it goes on training, a key is pressed
now and then, and the time until its effect is read.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import harness, programs
from benchmarks.harness import BenchmarkParser, Report
from benchmarks.programs import BenchmarkError
from benchmarks.pty_app import PtyApp
from benchmarks.report import Row, Spread, abba, bootstrap_interval
from benchmarks.startup import shows_whole_screen

RATIO_GOAL, SCREEN_GOAL = 0.97, 0.04
BYTES_GOALS = ((160, 20_000), (0, 12_000))  # per second, from so many columns on
KEY_GOAL = 0.05  # seconds, 95 of 100
KEYS_PRESSED = 12  # in each app
KEY, ITS_EFFECT = "m", "smoothed"  # the legend tells of the smoothed loss again
REST_SECONDS = 0.6  # between two keys
ROUNDS = 2  # evaluations in a window
START_SECONDS = 60.0
CALIBRATION_STEPS = 40
LOOK_SECONDS = 0.25


@dataclass(frozen=True)
class Window:
    """What one process did between two moments."""

    steps: int
    seconds: float
    screen_share: float | None = None  # of a core, by the thread that draws
    bytes_per_second: float | None = None  # to the terminal
    keys: tuple[float, ...] = ()  # seconds from a key to its effect

    @property
    def speed(self) -> float:
        """Steps per second of wall time."""
        return self.steps / self.seconds


def parser() -> BenchmarkParser:
    """Declare the options."""
    made = BenchmarkParser("overhead", "training in the app over training without a screen")
    add_window_options(made, 12, "a run in the app and one without a screen")
    made.add_size("from 160 columns on it shows all charts")
    return made


def add_window_options(made: BenchmarkParser, pairs: int, of: str) -> None:
    """Add the options of windows of training that are compared in pairs."""
    made.add_count("--pairs", pairs, f"pairs of {of}")
    made.add_argument(
        "--seconds",
        type=float,
        default=10.0,
        metavar="S",
        help="length of a window (default: %(default)s)",
    )
    made.add_count("--threads", None, "CPU threads (default: measured)")


def measure(args: argparse.Namespace) -> Report:
    """Measure interleaved pairs of the app and of headless training."""
    options = harness.new_run_options(args)
    with harness.runs_folder(args) as runs_dir:
        plan = calibrate(runs_dir, options, args.seconds, args.threads)
        arm = partial(app_window, args.size)
        pairs = measure_pairs(runs_dir, [*options, *plan.options], plan, args.pairs, arm)
        machine = programs.machine(runs_dir / "headless-1")
    return _summary(pairs, plan, machine, args.size)


# -- the plan ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What every process of the benchmark is told."""

    interval: int  # steps between evaluations
    step_seconds: float
    options: tuple[str, ...]


def calibrate(runs_dir: Path, options: list[str], seconds: float, threads: int | None) -> Plan:
    """Find out how many steps fill a window here, and settle what is ``auto``."""
    programs.note("finding out how fast it is here")
    some = programs.settings(eval__interval=CALIBRATION_STEPS, train__max_steps=10**6)
    some += programs.settings(system__threads=threads) if threads else []
    command = programs.train_command(runs_dir, "calibration", [*options, *some])
    run = runs_dir / "calibration"
    with programs.headless(command) as process:
        _wait_for_evaluations(run, 2, lambda: process.poll() is None, START_SECONDS)
    step_seconds = programs.typical_step_seconds(run)
    resolved = programs.facts(run)["runtime"]["resolved"]
    interval = max(1, round(seconds / ROUNDS / step_seconds))
    settled = programs.settings(
        eval__interval=interval,
        train__max_steps=10**6,
        optim__decay_steps=10**6,
        **{f"system__{name}": resolved[name] for name in ("device", "precision", "threads")},
        system__micro_batch_size=resolved["micro_batch_size"],
    )
    return Plan(interval, step_seconds, tuple(settled))


# -- the pairs -----------------------------------------------------------------------------------


def measure_pairs(
    runs_dir: Path,
    options: list[str],
    plan: Plan,
    pairs: int,
    app: Callable[[Path, int, list[str], float], Window],
) -> list[tuple[Window, Window]]:
    """The pairs, each (headless, app)."""
    arms = (_headless, app)
    expected = (ROUNDS + 1) * plan.interval * plan.step_seconds
    measured = []
    for number, order in enumerate(abba(pairs), 1):
        windows: dict[int, Window] = {}
        for arm in order:
            windows[arm] = arms[arm](runs_dir, number, options, expected)
        measured.append((windows[0], windows[1]))
        ratio = windows[1].speed / windows[0].speed
        programs.note(
            f"pair {number} of {pairs}: headless {windows[0].speed:.2f} steps/s, "
            f"app {windows[1].speed:.2f} steps/s, ratio {ratio:.3f}"
        )
    return measured


def _headless(runs_dir: Path, number: int, options: list[str], expected: float) -> Window:
    run = runs_dir / f"headless-{number}"
    command = programs.train_command(runs_dir, run.name, options)
    with programs.headless(command) as process:
        _wait_for_evaluations(
            run, ROUNDS + 1, lambda: process.poll() is None, 5 * expected + START_SECONDS
        )
    return _window(run, ROUNDS)


def app_window(
    size: tuple[int, int],
    runs_dir: Path,
    number: int,
    options: list[str],
    expected: float,
    begin: Callable[[PtyApp], None] | None = None,
    press: Callable[[PtyApp], tuple[float, ...]] | None = None,
) -> Window:
    """Train in the app for a window.

    Args:
        begin: What to do once training was begun; None leaves the cockpit in front.
        press: Presses keys after the window, and returns the seconds to their effects; None takes
            one of the cockpit.
    """
    run = runs_dir / f"app-{number}"
    samples: list[tuple[float, float]] = []
    written: list[tuple[float, float]] = []
    command = programs.app_command(runs_dir, run.name, options)
    with PtyApp(command, programs.app_environment(runs_dir, run.name), size) as app:
        app.read_until(shows_whole_screen, START_SECONDS)
        app.send(" ")
        if begin:
            begin(app)

        def look() -> bool:
            if (sample := app.screen_sample()) is not None:
                samples.append(sample)
            written.append((time.time(), app.read_bytes))
            return app.alive

        _wait_for_evaluations(run, ROUNDS + 1, look, 5 * expected + START_SECONDS, app.rest)
        look()
        keys = (press or press_keys)(app)
    window = _window(run, ROUNDS, samples)
    moments = programs.moments(run, "evaluated")
    first, last = moments[0][1], moments[ROUNDS][1]
    with suppress(BenchmarkError):
        rate = (at(written, last) - at(written, first)) / (last - first)
        window = replace(window, bytes_per_second=rate)
    return replace(window, keys=keys)


def press_keys(app: PtyApp) -> tuple[float, ...]:
    """Return the seconds from some keys to their effect on the screen, while it trains."""
    seconds = []
    for _ in range(KEYS_PRESSED):
        app.send(KEY)
        app.read_until(lambda text: ITS_EFFECT not in text, START_SECONDS)
        app.rest(REST_SECONDS)
        pressed = time.time()
        app.send(KEY)
        seconds.append(app.read_until(lambda text: ITS_EFFECT in text, START_SECONDS) - pressed)
        app.rest(REST_SECONDS)
    return tuple(seconds)


def _wait_for_evaluations(
    run: Path,
    count: int,
    alive: Callable[[], bool],
    seconds: float,
    rest: Callable[[float], None] | None = None,
) -> None:
    def enough() -> bool:
        return len(programs.moments(run, "evaluated")) >= count

    what = f"evaluation {count} of the run {run.name}"
    programs.wait_until(enough, alive, seconds, what, LOOK_SECONDS, rest)


def _window(run: Path, rounds: int, samples: list[tuple[float, float]] | None = None) -> Window:
    moments = programs.moments(run, "evaluated")[: rounds + 2]
    (first_step, begin), (last_step, end) = moments[0], moments[rounds]
    share = None
    if samples:
        with suppress(BenchmarkError):
            share = (at(samples, end) - at(samples, begin)) / (end - begin)
    return Window(last_step - first_step, end - begin, share)


def at(samples: list[tuple[float, float]], moment: float) -> float:
    """A growing figure at some moment, on the straight line between two of its samples.

    Args:
        samples: (moment, figure), in the order of time.
        moment: Between the first and the last.

    Raises:
        BenchmarkError: It is not.
    """
    for (t0, y0), (t1, y1) in pairwise(samples):
        if t0 <= moment <= t1:
            return y0 + (y1 - y0) * (moment - t0) / (t1 - t0) if t1 > t0 else y1
    raise BenchmarkError("nothing was sampled around that moment")


# -- the result ----------------------------------------------------------------------------------


def _summary(
    pairs: list[tuple[Window, Window]],
    plan: Plan,
    machine: dict[str, Any],
    size: tuple[int, int],
) -> Report:
    ratios = [app.speed / headless.speed for headless, app in pairs]
    ratio = statistics.median(ratios)
    low, high = bootstrap_interval(ratios)
    ours = Spread.of([app.speed for _, app in pairs])
    peer = Spread.of([headless.speed for headless, _ in pairs])
    shares = [app.screen_share for _, app in pairs if app.screen_share is not None]
    share = statistics.median(shares) if shares else None
    rates = [app.bytes_per_second for _, app in pairs if app.bytes_per_second is not None]
    rate = statistics.median(rates) if rates else None
    bytes_goal = next(goal for columns, goal in BYTES_GOALS if size[0] >= columns)
    keys = sorted(one for _, app in pairs for one in app.keys)
    p95 = keys[math.ceil(0.95 * len(keys)) - 1] if keys else None
    rows = [
        Row("app over headless", f"≥ {RATIO_GOAL}",
            f"{ratio:.3f} (95 % interval {low:.3f} to {high:.3f}, {len(pairs)} pairs)",
            ratio >= RATIO_GOAL),
        Row("steps/s in the app", "", ours.described("steps/s")),
        Row("steps/s headless", "", peer.described("steps/s")),
        Row("the screen's thread", f"≤ {SCREEN_GOAL:.0%} of a core",
            "not measured on this system" if share is None
            else f"{share:.1%} ({min(shares):.1%} to {max(shares):.1%})",
            None if share is None else share <= SCREEN_GOAL),
        Row(f"bytes written, {size[0]}x{size[1]}", f"≤ {bytes_goal / 1000:g} kB/s",
            "not measured" if rate is None
            else f"{rate / 1000:.1f} kB/s ({min(rates) / 1000:.1f} to {max(rates) / 1000:.1f})",
            None if rate is None else rate <= bytes_goal),
        Row("from a key to its effect", f"95 % ≤ {1000 * KEY_GOAL:g} ms",
            "not measured" if p95 is None
            else f"{1000 * p95:.0f} ms (half ≤ {1000 * statistics.median(keys):.0f} ms, "
            f"{len(keys)} keys)",
            None if p95 is None else p95 <= KEY_GOAL),
    ]  # fmt: skip
    result = {
        "bench": "overhead",
        "ours": round(ours.median, 3),
        "peer": round(peer.median, 3),
        "ratio": round(ratio, 4),
        "ratio_interval": [round(low, 4), round(high, 4)],
        "screen_share": None if share is None else round(share, 4),
        "size": list(size),
        "bytes_per_second": None if rate is None else round(rate),
        "key_p95": None if p95 is None else round(p95, 4),
        "goals": {
            "ratio": RATIO_GOAL,
            "screen_share": SCREEN_GOAL,
            "bytes_per_second": bytes_goal,
            "key_p95": KEY_GOAL,
        },
        "reached": all(row.reached is not False for row in rows),
        "steps_per_window": ROUNDS * plan.interval,
        "pairs": [{"headless": asdict(headless), "app": asdict(app)} for headless, app in pairs],
        "machine": machine,
    }
    return rows, result
