"""Stage: milliseconds of a training step, in each way that there is to compute it.

Each way runs in a process of its own: none finds what another has loaded, and one that fails does
not end the others.
"""

from __future__ import annotations

import sys

from benchmarks.harness import BenchmarkParser, asked_config
from benchmarks.programs import BenchmarkError
from benchmarks.workers import ask
from data.errors import InputError
from engine.config.setting import Value
from tui.cli import exit_code
from tui.terminal.stdout import put
from tui.text.tables import format_json

ROUNDS = 3


def _way(cuda_graph: bool, kernels: str, compile: bool) -> dict[str, Value]:
    keys = "system.cuda_graph", "system.kernels", "system.compile"
    return dict(zip(keys, (cuda_graph, kernels, compile), strict=True))


WAYS = {  # what takes a compiler comes last, for it may take all the time there is
    "eager": _way(False, "torch", False),
    "CUDA graph, our kernels": _way(True, "native", False),
    "CUDA graph, PyTorch's kernels": _way(True, "torch", False),
    "compiled": _way(False, "torch", True),
    "CUDA graph, compiled": _way(True, "torch", True),
}


def run(argv: list[str]) -> int:
    """Print a line for each way."""
    args = _parser().parse_args(argv)
    config = asked_config(args)
    failed = False
    for way in args.way or WAYS:
        what = {"preset": args.preset, "way": way}
        request = {
            "config": config.replace(WAYS[way]).to_dict(),
            "steps": args.steps,
            "rounds": ROUNDS,
        }
        try:
            facts = ask("steps", request)
        except (BenchmarkError, InputError) as error:
            facts, failed = {"error": str(error)}, True
        put(format_json({**what, **facts}))
    return int(failed)


def _parser() -> BenchmarkParser:
    parser = BenchmarkParser(
        "steps", "milliseconds of a step, in each way to compute it", "nanogpt"
    )
    parser.add_settings()
    parser.add_count("--steps", 30, f"steps timed together, {ROUNDS} times")
    parser.add_argument(
        "--way",
        action="append",
        choices=list(WAYS),
        metavar="WAY",
        help=f"one of: {'; '.join(WAYS)} (default: all of them)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(exit_code(lambda: run(sys.argv[1:])))
