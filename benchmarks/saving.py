"""``benchmarks saving``: what saving, recording and measuring the layers cost training.

Windows of a few steps with a checkpoint at their beginning alternate with windows without one, in
one process; the checkpoint is written by its helper thread meanwhile. What a window with one takes
longer is what a checkpoint costs, and is set against the steps from one checkpoint to the next.
Then the layers are measured after each of some steps; what that takes is set against the steps from
one measurement to the next. The size of a long record is that of one written for it.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import harness, programs
from benchmarks.harness import BenchmarkParser, Report
from benchmarks.report import Row, Spread, abba, bootstrap_interval
from engine.config.schema import CheckpointConfig, Config, EvalConfig
from engine.runs.database import RunDatabase

if TYPE_CHECKING:
    from engine.session.session import Session

SAVING_GOAL, RECORDING_GOAL, HISTORY_GOAL = 0.02, 0.01, 150e6
HEALTH_GOAL = 0.01
METRICS = 10
NUMBERS = range(METRICS)
FLUSHED_STEPS = 997  # at a time; not a divisor of a block


@dataclass
class Stopwatch:
    """Seconds spent in a function."""

    seconds: float = 0.0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        def timed(*arguments: Any, **named: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds += time.perf_counter() - started

        return timed


@dataclass(frozen=True)
class Measured:
    """What the windows took."""

    parameters: int
    with_checkpoint: list[float]  # seconds
    without: list[float]
    steps: int  # of a window
    recording: float  # share of all that time
    stall: float  # seconds that training stands still for a checkpoint, in the mean
    health: list[float]  # seconds that measuring and recording the layers takes, each time

    @property
    def extra(self) -> list[float]:
        """Seconds that a checkpoint costs, pair by pair."""
        return [one - other for one, other in zip(self.with_checkpoint, self.without, strict=True)]

    @property
    def step_seconds(self) -> float:
        """Of a step that nothing disturbs."""
        return statistics.median(self.without) / self.steps


def parser() -> BenchmarkParser:
    """Declare the options."""
    made = BenchmarkParser("saving", "what saving and recording cost training")
    made.add_settings()
    made.add_count("--pairs", 6, "pairs of windows, one with a checkpoint and one without")
    made.add_count("--steps", 8, "steps of a window")
    made.add_count("--history", 1_000_000, "steps of the record whose size is measured", "STEPS")
    return made


def measure(args: argparse.Namespace) -> Report:
    """Measure saving and recording, and the size of a long record."""
    interval = CheckpointConfig().interval
    every = EvalConfig().health_interval
    with harness.runs_folder(args) as runs_dir:
        measured = _measure(_quiet(harness.asked_config(args)), runs_dir, args.pairs, args.steps)
        size = _history_bytes(runs_dir / "history.db", args.history)
    return _summary(measured, interval, every, args.history, size)


def _quiet(config: Config) -> Config:
    """Nothing but training: no evaluation, and no checkpoint that was not asked for."""
    endless = {"train.max_steps": 10**6, "train.max_epochs": 0}
    quiet = dict.fromkeys(("eval.interval", "eval.health_interval", "checkpoint.interval"), 0)
    return config.replace({**quiet, **endless})


def _measure(config: Config, runs_dir: Path, pairs: int, steps: int) -> Measured:
    programs.note("loading the model")
    session = _open(config, runs_dir)
    try:
        return _race(session, pairs, steps)
    finally:
        session.close(save=False)


def _race(session: Session, pairs: int, steps: int) -> Measured:
    recording, stall = Stopwatch(), Stopwatch()
    for name in ("record", "flush", "journal"):
        setattr(session.recorder, name, recording.around(getattr(session.recorder, name)))
    session.run_state.snapshot = stall.around(session.run_state.snapshot)  # type: ignore[method-assign]
    for save in (False, True):  # the first steps are slow
        _window(session, steps, save)
    recording.seconds = stall.seconds = 0.0
    taken: tuple[list[float], list[float]] = ([], [])
    for number, order in enumerate(abba(pairs), 1):
        programs.note(f"pair {number} of {pairs}")
        for arm in order:
            taken[arm].append(_window(session, steps, save=bool(arm)))
    share = recording.seconds / (sum(taken[0]) + sum(taken[1]))
    parameters = session.trainer.model.parameter_count()
    health = _health_seconds(session, recording, steps)
    return Measured(parameters, taken[1], taken[0], steps, share, stall.seconds / pairs, health)


def _health_seconds(session: Session, recording: Stopwatch, steps: int) -> list[float]:
    """Seconds that measuring the layers takes, and recording what was measured, step by step."""
    from engine.protocol import Adjust

    programs.note("measuring the layers")
    phases, taken = session.run_state.phases, []
    session._monitor.record_if_due = lambda: None  # type: ignore[method-assign]  # takes the clock
    recording.seconds = 0.0
    _window(session, steps, save=False)
    otherwise = recording.seconds / steps  # of the figures that each step has
    session.handle(Adjust({"eval.health_interval": 1}))
    _window(session, 1, save=False)  # the first time is slow
    for _ in range(steps):
        recording.seconds = 0.0
        phases.take()
        _window(session, 1, save=False)
        taken.append(phases.take()["health"] + max(recording.seconds - otherwise, 0.0))
    return taken


def _open(config: Config, runs_dir: Path) -> Session:
    from data.download import Watcher
    from engine.metrics import MetricStore
    from engine.runs.open import new_run
    from engine.session.session import Session

    watcher = Watcher(lambda message: None, lambda: False)
    files = new_run(config, runs_dir, "saving", "python -m benchmarks saving", watcher)
    session = Session(files, MetricStore(), lambda event: None, lambda message: None)
    session.open(running=True)
    return session


def _window(session: Session, steps: int, save: bool) -> float:
    """Seconds for some steps, and for a checkpoint if there is one to be on the disk."""
    from engine.protocol import Save

    while session.sampler.active:
        session.advance()
    end, started = session.trainer.step + steps, time.perf_counter()
    saved = session.status.saved_step
    if save:
        session.handle(Save())
    while session.trainer.step < end:
        session.advance()
    seconds = time.perf_counter() - started
    if save and (session.saving.busy or session.status.saved_step == saved):
        raise programs.BenchmarkError("the window ended before the checkpoint: raise --steps")
    return seconds


def _history_bytes(path: Path, steps: int) -> int:
    """The size of a record of so many steps, written a flush at a time."""
    programs.note(f"writing a record of {steps:,} steps")
    database = RunDatabase(path)
    for first in range(1, steps + 1, FLUSHED_STEPS):
        some = range(first, min(first + FLUSHED_STEPS, steps + 1))
        rows = ((f"metric {m}", step, math.sin(step * (m + 1))) for step in some for m in NUMBERS)
        database.add_metrics(0, rows)
    database.close()
    return path.stat().st_size


def _summary(measured: Measured, interval: int, every: int, history: int, size: int) -> Report:
    health = Spread.of(measured.health)
    health_share = health.median / (every * measured.step_seconds)
    extra = Spread.of(measured.extra)
    between = interval * measured.step_seconds
    share = extra.median / between
    low, high = (value / between for value in bootstrap_interval(measured.extra))
    rows = [
        Row(
            f"saving every {interval} steps",
            f"at most {SAVING_GOAL:.0%}",
            f"{share:.2%} of training ({low:.2%} to {high:.2%})",
            share <= SAVING_GOAL,
        ),
        Row("  a checkpoint costs", "", extra.described("s")),
        Row("  of that, training stands still", "", f"{measured.stall * 1000:.0f} ms"),
        Row("  a step", "", f"{measured.step_seconds * 1000:.0f} ms"),
        Row(
            "recording metrics",
            f"at most {RECORDING_GOAL:.0%}",
            f"{measured.recording:.2%} of training",
            measured.recording <= RECORDING_GOAL,
        ),
        Row(
            f"measuring the layers every {every} steps",
            f"at most {HEALTH_GOAL:.0%}",
            f"{health_share:.2%} of training",
            health_share <= HEALTH_GOAL,
        ),
        Row("  each time", "", health.described("s")),
        Row(
            f"a record of {history:,} steps",
            f"below {HISTORY_GOAL / 1e6:.0f} MB",
            f"{size / 1e6:.1f} MB, {METRICS} metrics",
            size < HISTORY_GOAL,
        ),
    ]
    result = {
        "parameters": measured.parameters,
        "step_seconds": measured.step_seconds,
        "checkpoint_seconds": extra.to_dict(),
        "stall_seconds": measured.stall,
        "saving_share": share,
        "saving_share_interval": [low, high],
        "recording_share": measured.recording,
        "health_share": health_share,
        "health_seconds": health.to_dict(),
        "history_steps": history,
        "history_bytes": size,
    }
    return rows, result
