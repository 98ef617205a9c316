"""``benchmarks processes``: one run trained by 1, 2, 4 … processes with the same threads in all."""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from benchmarks import harness, programs
from benchmarks.harness import BenchmarkParser, Report
from benchmarks.report import Row, Spread
from engine.config.schema import tokens_per_step
from engine.runs.database import reading

GOAL = 0.9  # of the tokens/s of one process, with two


def parser() -> BenchmarkParser:
    """Declare the options."""
    made = BenchmarkParser("processes", "tokens/s of 1, 2 … processes with the same threads in all")
    made.add_settings()
    made.add_count("--most", 2, "processes; half of them, and so on down to 1, are measured too")
    made.add_count("--steps", 200, "steps of each run")
    made.add_count("--rounds", 3, "rounds, each of all of them", "R")
    return made


def measure(args: argparse.Namespace) -> Report:
    """Train in turn with each number of processes."""
    config = harness.asked_config(args)
    threads, options = config.system.threads, harness.new_run_options(args)
    counts = [1]
    while counts[-1] * 2 <= args.most:
        counts.append(counts[-1] * 2)
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    sums: dict[int, float] = {}
    with harness.runs_folder(args) as runs_dir:
        for number in range(args.rounds):
            for count in counts if number % 2 else counts[::-1]:
                name = f"processes-{count}-{number}"
                run = _train(runs_dir, name, options, count, threads, args.steps)
                seconds[count].append(programs.typical_step_seconds(run))
                sums[count] = _reduction_seconds(run)
                programs.note(f"{count} processes: {1e3 * seconds[count][-1]:.2f} ms a step")
        machine = programs.machine(run)
    return _summary(seconds, sums, tokens_per_step(config), machine)


def _train(
    runs_dir: Path, name: str, options: list[str], count: int, threads: int, steps: int
) -> Path:
    quiet = {f"{section}.interval": 0 for section in ("eval", "checkpoint")}
    values = {"train.max_steps": steps, "system.threads": max(1, threads // count), **quiet}
    words = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    command = programs.train_command(runs_dir, name, [*options, *words, "--procs", str(count)])
    with programs.headless(command) as process:
        if process.wait():
            raise programs.BenchmarkError(f"training with {count} processes failed")
    return runs_dir / name


def _reduction_seconds(run: Path) -> float:
    """Seconds of a step in which gradients are added up over processes; 0 with one."""
    with reading(run) as database:
        _, seconds = database.metric(0, "time_reduction")
    return statistics.median(map(float, seconds)) if len(seconds) else 0.0


def _summary(
    seconds: dict[int, list[float]], sums: dict[int, float], tokens: int, machine: dict[str, Any]
) -> Report:
    rows, result = [], {}
    for count, times in seconds.items():
        speed = Spread.of([tokens / one for one in times])
        ratio = statistics.median(one / other for one, other in zip(seconds[1], times, strict=True))
        goal = f"≥ {GOAL:g}x" if count == 2 else ""
        told = f"{ratio:.2f}x; {speed.described('tokens/s', 0)}"
        if count > 1:
            told += f"; {1e3 * sums[count]:.2f} ms of a step to add up gradients"
        reached = ratio >= GOAL if count == 2 else None
        rows.append(Row(f"{count} process{'es' * (count > 1)}", goal, told, reached))
        result[str(count)] = {
            "tokens_per_second": speed.to_dict(1),
            "over_one": round(ratio, 4),
            "reduction_ms": round(1e3 * sums[count], 3),
        }
    return rows, {"processes": result, **machine}
