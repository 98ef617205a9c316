"""``benchmarks nanogpt-cpu``: how well and how fast the preset trains, also against nanoGPT itself.

The race is run headless over steps of the same shape on the same text with the same number of
threads. Ours is wall time between two moments of the run's journal, with all that is written down
meanwhile; nanoGPT's is what it prints for each of its iterations.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import harness, programs
from benchmarks.harness import BenchmarkParser, Report
from benchmarks.peers import NANOGPT, Peer, gpt2_shape, load_text, parse_peer
from benchmarks.programs import BenchmarkError
from benchmarks.race import Setup, race
from benchmarks.report import Row, Spread
from data.errors import InputError
from engine.config.presets import preset_config

PRESET = "nanogpt-cpu"
LOSS_GOAL, PEER_LOSS = 1.91, 1.898


@dataclass(frozen=True)
class Race:
    """Steps per second of both, a pair a round, and typical milliseconds of a step."""

    ours: list[float]
    peer: list[float]
    our_ms: float
    peer_ms: float
    threads: int


def parser() -> BenchmarkParser:
    """Declare the options."""
    made = BenchmarkParser("nanogpt-cpu", "loss and speed of nanoGPT's recipe for a CPU", PRESET)
    made.add_argument(
        "--peer", metavar="nanogpt=PATH", help="also time a checkout of karpathy/nanoGPT"
    )
    made.add_count("--steps", 300, "timed steps")
    made.add_count("--rounds", 5, "rounds, each of both programs", "R")
    made.add_count("--threads", None, "threads of both (default: the number of cores)")
    made.add_argument("--skip-quality", action="store_true", help="only compare the speeds")
    return made


def measure(args: argparse.Namespace) -> Report:
    """Train the preset to its end, and compare its speed with nanoGPT's."""
    peer = parse_peer(args.peer, [NANOGPT]) if args.peer else None
    if args.skip_quality and not peer:
        raise InputError("--skip-quality leaves only the race: name its --peer nanogpt=PATH")
    options = harness.new_run_options(args)
    quality = race = None
    with harness.runs_folder(args) as runs_dir:
        if not args.skip_quality:
            quality = _quality(runs_dir, options)
        if peer:
            race = _race(runs_dir, options, peer, args)
        machine = programs.machine(runs_dir / ("quality" if quality else "race-1"))
    return _summary(quality, race, machine)


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


def _race(runs_dir: Path, options: list[str], peer: Peer, args: argparse.Namespace) -> Race:
    config = preset_config(args.preset)
    if args.data:
        config = config.replace({"data.corpus": args.data})
    gpt2_shape(config.model)  # refuses what nanoGPT cannot train
    threads = args.threads or harness.cores()
    setup = Setup(config, options, load_text(config), args.steps, "cpu", threads, "fp32")
    ours, theirs = zip(*race(setup, [peer], runs_dir, args.rounds), strict=True)
    our_ms, peer_ms = (statistics.median(one.step_ms for one in arm) for arm in (ours, theirs))
    our_speeds, peer_speeds = ([one.speed for one in arm] for arm in (ours, theirs))
    return Race(our_speeds, peer_speeds, our_ms, peer_ms, threads)


# -- the result ----------------------------------------------------------------------------------


def _summary(quality: dict[str, Any] | None, race: Race | None, machine: dict[str, Any]) -> Report:
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
        Row("ours over nanoGPT", "≥ 1", ratio.described("times"), ratio.median >= 1),
        Row("ours", "", f"{ours.described('steps/s')}, {race.our_ms:.1f} ms a step, {threads}"),
        Row("nanoGPT", "", f"{peer.described('steps/s')}, {race.peer_ms:.1f} ms a step, {threads}"),
    ]
    result |= {
        "ours": round(ours.median, 3),
        "peer": round(peer.median, 3),
        "ratio": round(ratio.median, 4),
        "ratios": [round(one, 4) for one in ratios],
        "step_ms": {"ours": round(race.our_ms, 2), "peer": round(race.peer_ms, 2)},
        "race_threads": race.threads,
    }
