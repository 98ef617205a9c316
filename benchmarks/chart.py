"""``benchmarks chart``: redrawing charts of long curves, in processor time."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from benchmarks.harness import BenchmarkParser, Report
from benchmarks.report import Row, Spread

GOAL = 15.0  # milliseconds for each redraw of a chart of 120x30
SIZES = {"120x30": (120, 30), "30x6": (30, 6)}
ADDED = 10  # steps between two redraws, as while training


def parser() -> BenchmarkParser:
    """Declare the options."""
    made = BenchmarkParser("chart", "redraws of a chart with two long series", preset=None)
    made.add_count("--steps", 1_000_000, "values of each series")
    made.add_count("--redraws", 50, "redraws of each size")
    return made


def measure(args: argparse.Namespace) -> Report:
    """Measure redraws of charts to which steps are added, in milliseconds of processor time."""
    import numpy as np

    from engine.metrics import Column
    from tui.charts import raster
    from tui.charts.chart import Chart, Series, draw
    from tui.charts.window import Window

    random = np.random.default_rng(0)
    columns = [Column(), Column()]

    def add(first: int, last: int) -> None:
        steps = np.arange(first, last)
        for column in columns:
            fall = 2.6 * np.exp(-12.0 * steps / args.steps)
            column.extend(steps, 1.55 + fall + random.normal(0.0, 0.05, len(steps)))

    add(0, args.steps)
    rows, figures = [], {}
    taken = args.steps
    for name, (width, height) in SIZES.items():

        def redraw(last: int, width: int = width, height: int = height) -> None:
            series = [
                Series(columns[0], raster.TRAIN, raw=raster.RAW),
                Series(columns[1], raster.VAL),
            ]
            draw(Chart(series, Window(0, last)), width, height)

        redraw(taken)  # takes in all that there is
        times = []
        for _ in range(args.redraws):
            add(taken, taken + ADDED)
            taken += ADDED
            times.append(_milliseconds(redraw, taken))
        spread = Spread.of(times)
        figures[name] = spread.to_dict()
        goal, reached = (
            (f"≤ {GOAL:g} ms", spread.median <= GOAL) if name == "120x30" else ("", None)
        )
        rows.append(Row(f"redraw at {name}", goal, spread.described("ms", 1), reached))
    result: dict[str, Any] = {"bench": "chart", "steps": args.steps, "ms": figures, "goal": GOAL}
    return rows, result


def _milliseconds(do: Callable[[int], None], last: int) -> float:
    begin = time.process_time()
    do(last)
    return (time.process_time() - begin) * 1000
