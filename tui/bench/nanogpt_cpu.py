"""``bench nanogpt-cpu``: how well and how fast the preset trains, also against nanoGPT itself.

The race is run headless over steps of the same shape on the same text with the same number of
threads. Ours is wall time between two moments of the run's journal, with all that is written down
meanwhile; nanoGPT's is what it prints for each of its iterations.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import re
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import InputError
from tui.bench import programs
from tui.bench.programs import BenchmarkError
from tui.bench.report import Row, Spread, abba, tell

PRESET = "nanogpt-cpu"
LOSS_GOAL, PEER_LOSS = 1.91, 1.898
WARM_UP_STEPS = 10
TIME_PATTERN = re.compile(r"^iter \d+: loss .*?, time ([\d.]+)ms", re.MULTILINE)
NEVER = 10**6


@dataclass(frozen=True)
class Race:
    """Steps per second of both, a pair a round, and typical milliseconds of a step."""

    ours: list[float]
    peer: list[float]
    our_ms: float
    peer_ms: float
    threads: int


def run(argv: list[str]) -> int:
    """Train the preset to its end; race nanoGPT."""
    args = _parser().parse_args(argv)
    peer = peer_folder(args.peer) if args.peer else None
    if args.skip_quality and not peer:
        raise InputError("--skip-quality leaves only the race: name its --peer nanogpt=PATH")
    options = programs.new_run_options(args)
    quality = race = None
    with programs.runs_folder(args) as runs_dir:
        if not args.skip_quality:
            quality = _quality(runs_dir, options)
        if peer:
            race = _race(runs_dir, options, peer, args)
        machine = programs.machine(runs_dir / ("quality" if quality else "race-1"))
    rows, result = _summary(quality, race, machine)
    tell(rows, result, args.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = programs.parser("nanogpt-cpu", "loss and speed of nanoGPT's recipe for a CPU")
    parser.set_defaults(preset=PRESET)
    parser.add_argument(
        "--peer", metavar="nanogpt=PATH", help="race a checkout of karpathy/nanoGPT"
    )
    parser.add_argument(
        "--steps", type=programs.count, default=300, metavar="N", help="of a race (%(default)s)"
    )
    parser.add_argument(
        "--rounds", type=programs.count, default=5, metavar="R", help="of the race (%(default)s)"
    )
    parser.add_argument(
        "--threads", type=programs.count, metavar="N", help="of the race (the number of cores)"
    )
    parser.add_argument("--skip-quality", action="store_true", help="run only the race")
    return parser


def peer_folder(peer: str) -> Path:
    """The checkout that ``nanogpt=PATH`` names.

    Raises:
        InputError: There is none.
    """
    name, equals, path = peer.partition("=")
    if name != "nanogpt" or not equals:
        raise InputError(f"--peer takes nanogpt=PATH, not {peer!r}")
    folder = Path(path).expanduser().absolute()
    if not all((folder / file).is_file() for file in ("train.py", "model.py", "configurator.py")):
        raise InputError(
            f"{folder} is no checkout of nanoGPT (there is no train.py with its model.py): "
            f"git clone https://github.com/karpathy/nanoGPT, and give that folder"
        )
    return folder


# -- quality -------------------------------------------------------------------------------------


def _quality(runs_dir: Path, options: list[str]) -> dict[str, Any]:
    """Train to the end; returns what ``train --json`` says."""
    programs.note("training to the end")
    command = programs.train_command(runs_dir, "quality", [*options, "--json"])
    done = subprocess.run(
        command, env=programs.environment(), stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise BenchmarkError(f"training ended with exit code {done.returncode}")
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


# -- the race ------------------------------------------------------------------------------------


def _race(runs_dir: Path, options: list[str], peer: Path, args: argparse.Namespace) -> Race:
    threads = args.threads or _cores()
    speeds: tuple[list[float], list[float]] = ([], [])
    milliseconds: tuple[list[float], list[float]] = ([], [])
    with tempfile.TemporaryDirectory(prefix="gpt-tui-peer-") as folder:
        shape = _prepare_peer(Path(folder), args)
        for number, order in enumerate(abba(args.rounds), 1):
            for arm in order:
                if arm == 0:
                    speed, each = _our_speed(runs_dir, number, options, args.steps, threads)
                else:
                    speed, each = _peer_speed(peer, Path(folder), shape, args.steps, threads)
                speeds[arm].append(speed)
                milliseconds[arm].append(each)
            programs.note(
                f"round {number} of {args.rounds}: "
                f"ours {speeds[0][-1]:.2f} steps/s, nanoGPT {speeds[1][-1]:.2f} steps/s"
            )
    our_ms, peer_ms = (statistics.median(arm) for arm in milliseconds)
    return Race(*speeds, our_ms, peer_ms, threads)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _our_speed(
    runs_dir: Path, number: int, options: list[str], steps: int, threads: int
) -> tuple[float, float]:
    """Steps per second of wall time after the warm-up, and the median milliseconds of a step."""
    run = runs_dir / f"race-{number}"
    some = programs.settings(
        eval__interval=max(steps, WARM_UP_STEPS),
        eval__batches=1,
        sample__max_tokens=1,
        checkpoint__interval=0,
        train__max_steps=NEVER,
        optim__decay_steps=steps,
        system__threads=threads,
        system__device="cpu",
    )
    command = programs.train_command(runs_dir, run.name, [*options, *some])
    with programs.headless(command) as process:
        programs.wait_until(
            lambda: len(programs.moments(run, "evaluated")) >= 2,
            lambda: process.poll() is None,
            60 + 10 * steps,
            f"the end of the race {number}",
        )
    (step0, begin), (step1, end) = programs.moments(run, "evaluated")[:2]
    each = programs.step_seconds(run)[WARM_UP_STEPS:]
    return (step1 - step0) / (end - begin), 1000 * statistics.median(each)


def _prepare_peer(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Write the text as nanoGPT wants it; returns what it is told of the model."""
    import numpy as np

    from data.batches import split_tokens
    from data.corpus import load_corpus
    from data.tokenizers import CharTokenizer
    from engine.presets import preset_config

    config = preset_config(args.preset)
    corpus = load_corpus(args.data or config.data.corpus, report=programs.note)
    tokenizer = CharTokenizer.train(corpus.text)
    split = split_tokens(tokenizer.encode(corpus.text))
    split.train.astype(np.uint16).tofile(folder / "train.bin")
    split.val.astype(np.uint16).tofile(folder / "val.bin")
    characters = sorted(set(corpus.text))
    meta = {
        "vocab_size": tokenizer.vocab_size,
        "itos": dict(enumerate(characters)),
        "stoi": {character: number for number, character in enumerate(characters)},
    }
    (folder / "meta.pkl").write_bytes(pickle.dumps(meta))  # the format is nanoGPT's
    model, optim = config.model, config.optim
    return {
        "n_layer": model.n_layer,
        "n_head": model.n_head,
        "n_embd": model.n_embd,
        "block_size": model.block_size,
        "dropout": model.dropout,
        "bias": model.bias,
        "batch_size": config.train.batch_size,
        "gradient_accumulation_steps": config.train.grad_accum_steps,
        "learning_rate": optim.learning_rate,
        "min_lr": optim.min_lr,
        "warmup_iters": optim.warmup_steps,
        "weight_decay": optim.weight_decay,
        "beta1": optim.beta1,
        "beta2": optim.beta2,
        "grad_clip": optim.grad_clip,
    }


def _peer_speed(
    peer: Path, data: Path, shape: dict[str, Any], steps: int, threads: int
) -> tuple[float, float]:
    """nanoGPT's steps per second after the warm-up, and its median milliseconds of a step."""
    told = {
        **shape,
        "dataset": str(data),  # an absolute path, so that its own data folder plays no part
        "out_dir": str(data / "out"),
        "device": "cpu",
        "compile": False,
        "eval_iters": 1,
        "eval_interval": NEVER,
        "always_save_checkpoint": False,
        "log_interval": 1,
        "max_iters": WARM_UP_STEPS + steps,
        "lr_decay_iters": WARM_UP_STEPS + steps,
    }
    command = [sys.executable, "train.py", *(f"--{key}={value}" for key, value in told.items())]
    environment = programs.environment(OMP_NUM_THREADS=str(threads), PYTHONDONTWRITEBYTECODE="1")
    done = subprocess.run(
        command, cwd=peer, env=environment, capture_output=True, text=True, check=False
    )
    times = iteration_times(done.stdout)[WARM_UP_STEPS:]
    if done.returncode or not times:
        raise BenchmarkError(f"nanoGPT did not run: {done.stderr[-500:].strip()}")
    return 1000 * len(times) / sum(times), statistics.median(times)


def iteration_times(log: str) -> list[float]:
    """The milliseconds of each iteration in what nanoGPT's ``train.py`` prints."""
    return [float(time) for time in TIME_PATTERN.findall(log)]


# -- the result ----------------------------------------------------------------------------------


def _summary(
    quality: dict[str, Any] | None, race: Race | None, machine: dict[str, Any]
) -> tuple[list[Row], dict[str, Any]]:
    rows: list[Row] = []
    result: dict[str, Any] = {"bench": "nanogpt-cpu"}
    if quality:
        _tell_quality(quality, rows, result)
    if race:
        _tell_race(race, rows, result)
    return rows, {**result, "machine": machine}


def _tell_quality(quality: dict[str, Any], rows: list[Row], result: dict[str, Any]) -> None:
    loss, seconds = quality["val_loss"], quality["train_seconds"]
    stand_in = bool(quality["corpus_note"])  # another text: its loss says nothing of the goal
    reached = None if stand_in else loss <= LOSS_GOAL
    rows += [
        Row(
            "validation loss at the end",
            f"≤ {LOSS_GOAL} (nanoGPT {PEER_LOSS})",
            f"{loss:.4f} ({quality['val_measured']}, {quality['corpus']})",
            reached,
        ),
        Row("time to train", "", f"{seconds:.0f} s, {quality['steps'] / seconds:.1f} steps/s"),
    ]
    result |= {
        "val_loss": loss,
        "val_measured": quality["val_measured"],
        "best_val_loss": quality["best_val_loss"],
        "peer_val_loss": PEER_LOSS,
        "train_seconds": round(seconds, 2),
        "goals": {"val_loss": LOSS_GOAL},
        "reached": reached,
    }


def _tell_race(race: Race, rows: list[Row], result: dict[str, Any]) -> None:
    ratios = [ours / peer for ours, peer in zip(race.ours, race.peer, strict=True)]
    ratio, ours, peer = Spread.of(ratios), Spread.of(race.ours), Spread.of(race.peer)
    threads = f"{race.threads} thread{'s' if race.threads > 1 else ''}"
    rows += [
        Row("ours over nanoGPT", "≥ 1", ratio.in_words("times"), ratio.median >= 1),
        Row("ours", "", f"{ours.in_words('steps/s')}, {race.our_ms:.1f} ms a step, {threads}"),
        Row("nanoGPT", "", f"{peer.in_words('steps/s')}, {race.peer_ms:.1f} ms a step, {threads}"),
    ]
    result |= {
        "ours": round(ours.median, 3),
        "peer": round(peer.median, 3),
        "ratio": round(ratio.median, 4),
        "ratios": [round(one, 4) for one in ratios],
        "step_ms": {"ours": round(race.our_ms, 2), "peer": round(race.peer_ms, 2)},
        "race_threads": race.threads,
    }
