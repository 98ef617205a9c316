"""``python -m benchmarks.gpu PART``: run a part's stages, then print one table.

``benchmarks/gpu.sh`` is the way to call it on a machine without a network.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.gpu.runner import Outcome, Results, Stage, run_stage, stage_environment
from benchmarks.gpu.stages import Plan, machine, parts
from benchmarks.gpu.table import table_of
from benchmarks.harness import terminable
from benchmarks.peers import nanogpt_folder
from benchmarks.programs import note
from data.errors import InputError
from tui import EXIT_DONE, EXIT_FAILED, EXIT_SIGNAL
from tui.cli import exit_code
from tui.commands.options import Parser
from tui.terminal.stdout import print_last

ALL = "all"
NANOGPTS_TEXT = "data/shakespeare_char/input.txt"  # there once its prepare.py has run


def run(argv: list[str]) -> int:
    """Run the parts that are named."""
    args = _parser().parse_args(argv)
    nanogpt = nanogpt_folder(args.nanogpt) if args.nanogpt else None
    corpus = _corpus(args.corpus, nanogpt)
    plan = Plan(nanogpt, args.dry)
    listed = parts(plan)
    stages = [stage for part in listed if args.part in (part, ALL) for stage in listed[part]]
    outcomes: list[Outcome] = []
    results = Results(args.out.absolute())
    interrupted = False
    try:
        with terminable(), tempfile.TemporaryDirectory(prefix="gpt-tui-gpu-") as work:
            _run_all([machine(plan), *stages], results, Path(work), corpus, outcomes)
    except KeyboardInterrupt:
        interrupted = True
    told = table_of(outcomes)
    results.add_table(told)
    print_last(told)
    if interrupted:
        return EXIT_SIGNAL
    return EXIT_FAILED if any(one.failure for one in outcomes) else EXIT_DONE


def _parser() -> argparse.ArgumentParser:
    parser = Parser("benchmarks/gpu.sh", "measure this program on a CUDA GPU")
    told = os.environ.get
    parser.add_argument(
        "part",
        choices=(*parts(Plan(None, dry=True)), ALL),
        help="each of a, b and c takes less than ten minutes",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=told("OUT") or "gpu-results",
        help="takes results.jsonl, table.txt and log.txt ($OUT, else %(default)s)",
    )
    parser.add_argument(
        "--nanogpt",
        metavar="DIR",
        default=told("NANOGPT"),
        help="a checkout of karpathy/nanoGPT to race ($NANOGPT)",
    )
    parser.add_argument(
        "--corpus",
        metavar="FILE",
        default=told("CORPUS"),
        help="tinyshakespeare, where it is not in the cache ($CORPUS)",
    )
    parser.add_argument(
        "--wheels", metavar="DIR", help="packages to install where some are missing ($WHEELS)"
    )
    parser.add_argument(
        "--dry",
        action="store_true",
        default=told("DRY", "") not in ("", "0"),
        help="try it all at a tiny size, on a CPU ($DRY)",
    )
    return parser  # fmt: skip


def _corpus(asked: str | None, nanogpt: Path | None) -> Path | None:
    """The text to put into the cache; None leaves the person's cache as it is.

    Raises:
        InputError: The file that was named is not there.
    """
    if asked:
        file = Path(asked).expanduser().absolute()
        if not file.is_file():
            raise InputError(f"{file} does not exist: name a copy of tinyshakespeare, or none")
        return file
    there = nanogpt / NANOGPTS_TEXT if nanogpt else None
    return there if there and there.is_file() else None


def _run_all(
    stages: list[Stage],
    results: Results,
    work: Path,
    corpus: Path | None,
    outcomes: list[Outcome],
) -> None:
    """Run one after the other; without a machine to measure, none."""
    environment = stage_environment(work, corpus)
    for number, stage in enumerate(stages):
        note(f"{stage.name} ({number} of {len(stages) - 1}, at most {stage.seconds:g} s)")
        outcome = Outcome(stage)
        outcomes.append(outcome)
        run_stage(outcome, results, environment)
        if outcome.failure:
            note(f"{stage.name}: {outcome.failure}: {outcome.last_words}")
        if number == 0 and outcome.failure:
            return


if __name__ == "__main__":
    sys.exit(exit_code(lambda: run(sys.argv[1:])))
