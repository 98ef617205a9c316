"""``python -m benchmarks``: measure this program's figures on this machine.

One file a benchmark; ``benchmarks/harness.py`` runs them.
"""

from __future__ import annotations

from typing import NamedTuple

from data.errors import InputError, suggest
from tui import EXIT_DONE
from tui.terminal.stdout import put


class Benchmark(NamedTuple):
    """Where a benchmark lives, and what it measures."""

    module: str
    help: str


BENCHMARKS = {
    "startup": Benchmark("benchmarks.startup", "to the first painted screen, and to training"),
    "screens": Benchmark("benchmarks.screens", "bytes to the terminal when a screen opens"),
    "overhead": Benchmark("benchmarks.overhead", "training in the app over training without it"),
    "throughput": Benchmark(
        "benchmarks.throughput", "tokens/s of training, and the machine's share"
    ),
    "time-to-loss": Benchmark("benchmarks.time_to_loss", "seconds of training to nanoGPT's loss"),
    "attach": Benchmark("benchmarks.attach", "a run in another process: attaching, cost, kills"),
    "processes": Benchmark("benchmarks.processes", "1, 2, 4 … processes that train one run"),
    "scale": Benchmark("benchmarks.scale", "a model of training on 8 to 4,096 GPUs"),
    "saving": Benchmark("benchmarks.saving", "what saving and recording cost training"),
    "sampling": Benchmark("benchmarks.sampling", "tokens/s of text, one and many side by side"),
    "runs": Benchmark("benchmarks.runs", "opening 1,000 runs, and a run of 1,000,000 steps"),
    "chart": Benchmark("benchmarks.chart", "redraws of a chart of two series of a million values"),
    "inside": Benchmark("benchmarks.inside", "the screen of a model's inside while it trains"),
    "tokens": Benchmark("benchmarks.tokens", "MB/s of making the tokens of a large text"),
    "nanogpt-cpu": Benchmark("benchmarks.nanogpt_cpu", "loss and speed of nanoGPT's CPU recipe"),
}


def main(argv: list[str]) -> int:
    """Run the benchmark that is named; all of them if none is."""
    from benchmarks.harness import run, terminable

    if argv and argv[0] in ("-h", "--help"):
        put(_help())
        return EXIT_DONE
    named = bool(argv) and not argv[0].startswith("-")
    if named and argv[0] not in BENCHMARKS:
        raise InputError(_unknown(argv[0]))
    names, options = ([argv[0]], argv[1:]) if named else (list(BENCHMARKS), argv)
    with terminable():
        return max(run(one, BENCHMARKS[one].module, options) for one in names)


def _help() -> str:
    width = max(map(len, BENCHMARKS)) + 2
    return "\n".join(
        (
            "usage: python -m benchmarks [NAME] [--json] [options]",
            "",
            "Measure this program; without a NAME all of it.",
            "",
            *(f"  {name:<{width}}{one.help}" for name, one in BENCHMARKS.items()),
            "",
            "python -m benchmarks NAME --help lists the options of one.",
        )
    )


def _unknown(name: str) -> str:
    return f"there is no benchmark {name!r}: {suggest(name, BENCHMARKS)}"
