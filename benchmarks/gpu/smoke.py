"""Stage: every preset through the program itself: trained, saved at its end, taken up again.

Small models run side by side. The two largest, which take minutes and tens of gigabytes, follow
one another, and each run is deleted once it is done.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks import programs
from engine.config.presets import preset_config
from tui.cli import exit_code
from tui.commands.options import Parser
from tui.terminal.stdout import put
from tui.text.tables import format_json

STEPS, MORE_STEPS = 4, 8  # a step is captured in the second
LANES = 5
LARGE = ("gpt2-large", "gpt2-xl")
QUICK = programs.settings(
    eval__interval=STEPS,
    eval__batches=1,
    sample__max_tokens=20,
    checkpoint__interval=0,
    checkpoint__history_mb=0,
)
FEW_SEQUENCES = programs.settings(train__batch_size=2, train__grad_accum_steps=2)
LAST_WORDS = 300

_printing = threading.Lock()  # a line is written in pieces


def run(argv: list[str]) -> int:
    """Try presets; print a line for each that was trained, and one for each that was resumed."""
    args = _parser().parse_args(argv)
    options = [*(["--data", args.data] if args.data else [])]
    options += [word for pair in args.set for word in ("--set", pair)]
    with (
        tempfile.TemporaryDirectory(prefix="gpt-tui-smoke-") as folder,
        ThreadPoolExecutor() as pool,
    ):
        work = partial(_try_all, runs_dir=Path(folder), options=options)
        tried = list(pool.map(work, lanes(args.presets)))
    return 0 if all(tried) else 1


def _parser() -> argparse.ArgumentParser:
    parser = Parser("python -m benchmarks.gpu.smoke", "train, save and resume presets")
    parser.add_argument("presets", nargs="+", metavar="PRESET")
    parser.add_argument("--data", metavar="SPEC", help="text to train on")
    parser.add_argument("--set", action="append", default=[], metavar="section.name=value")
    return parser


def lanes(presets: list[str]) -> list[list[str]]:
    """Who follows whom: the large ones alone in a lane, the others dealt out."""
    small = [name for name in presets if name not in LARGE]
    dealt = [[name for name in presets if name in LARGE], *(small[i::LANES] for i in range(LANES))]
    return [lane for lane in dealt if lane]


def _try_all(presets: list[str], runs_dir: Path, options: list[str]) -> bool:
    tried = [_try(preset, runs_dir, options) for preset in presets]
    return all(tried)


def _try(preset: str, runs_dir: Path, options: list[str]) -> bool:
    few = FEW_SEQUENCES if preset_config(preset).train.grad_accum_steps > 1 else []
    new = ["--preset", preset, *QUICK, *few, *options]
    command = programs.train_command(runs_dir, preset, [*new, *_until(STEPS)])
    done = _train(preset, "trained", command, STEPS)
    if done:
        again = [*programs.PROGRAM, "train", "--resume", str(runs_dir / preset)]
        done = _train(preset, "resumed", [*again, *_until(MORE_STEPS)], MORE_STEPS)
    shutil.rmtree(runs_dir / preset, ignore_errors=True)
    return done


def _until(steps: int) -> list[str]:
    return [*programs.settings(train__max_steps=steps), "--json"]


def _train(preset: str, phase: str, command: list[str], steps: int) -> bool:
    """Run the program; print what came of it."""
    begin = time.perf_counter()
    done = subprocess.run(
        command, env=programs.environment(), capture_output=True, text=True, check=False
    )
    right = done.returncode == 0 and json.loads(done.stdout.splitlines()[-1])["steps"] == steps
    facts = {"preset": preset, "phase": phase, "ok": right}
    said = {} if right else {"exit_code": done.returncode, "said": done.stderr[-LAST_WORDS:]}
    with _printing:
        put(format_json({**facts, "seconds": round(time.perf_counter() - begin, 1), **said}))
    return right


if __name__ == "__main__":
    sys.exit(exit_code(lambda: run(sys.argv[1:])))
