"""``benchmarks throughput``: tokens a second of training, and how much of the machine they use.

The arithmetic of a token is counted in closed form (``engine.config.model_size``: six operations a
matrix weight and attention over the whole context, as in PaLM, appendix B) and set against the
fastest large matrix product of this very machine, in the same precision, on as many threads, and
measured in the same minutes. That share is called MFU, model FLOPs utilisation. How far a small
model can get at all is told by the matrix products of its step, each timed alone.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import harness, programs
from benchmarks.harness import BenchmarkParser, Report
from benchmarks.peers import (
    COMPILED,
    NANOGPT,
    Peer,
    gpt2_shape,
    load_text,
    parse_peers,
    peer_precision,
)
from benchmarks.race import Setup, Timed, race
from benchmarks.report import Row, Spread, parameters_row
from benchmarks.workers import ask
from engine.config.presets import preset_config
from engine.config.schema import Config, tokens_per_step

GOALS = {  # times a peer's tokens/s: (preset, device, peer) -> ratio
    ("nanogpt-cpu", "cpu", NANOGPT): 1.6,
    ("nanogpt-cpu", "cpu", COMPILED): 1.2,
    ("nanogpt", "cpu", NANOGPT): 2.5,
    ("nanogpt", "cuda", COMPILED): 1.3,
    ("gpt2", "cuda", COMPILED): 1.3,
}
PEAK_SECONDS = 0.5  # for each size of matrices, each round
PRODUCT_SECONDS = 0.1  # for each product of a step, each round


@dataclass
class Limits:
    """The most that this machine was seen to do in one precision.

    Attributes:
        flops_per_second: Of large matrix products.
        products_seconds: What the matrix products of one step of ours take alone.
        products_flops: In them.
    """

    flops_per_second: float = 0.0
    products_seconds: float = float("inf")
    products_flops: float = 0.0

    def rows(self, precision: str, ours: Arm) -> list[Row]:
        """As the table has them."""
        reached = self.products_flops / self.products_seconds
        alone = f"{self.products_seconds * 1e3:.1f} ms a step alone, {reached / 1e9:,.0f} GFLOP/s"
        if precision == ours.precision:
            alone += f"; {self.products_seconds * 1e3 / ours.step_ms.median:.0%} of ours"
        peak = f"{self.flops_per_second / 1e9:,.0f} GFLOP/s"
        return [
            Row(f"peak of matmuls in {precision}", "", peak),
            Row(f"matrix products in {precision}", "", alone),
        ]


@dataclass(frozen=True)
class Arm:
    """One of those who raced, in figures."""

    name: str
    tokens_per_second: Spread
    step_ms: Spread
    parameters: int
    precision: str
    flops_per_token: float
    peak: float  # FLOP/s of this machine's matmuls in that precision

    @property
    def flops_per_second(self) -> float:
        """What the median speed comes to."""
        return self.tokens_per_second.median * self.flops_per_token

    @property
    def mfu(self) -> float:
        """Its share of the peak."""
        return self.flops_per_second / self.peak

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "tokens_per_second": self.tokens_per_second.to_dict(1),
            "step_ms": self.step_ms.to_dict(3),
            "parameters": self.parameters,
            "precision": self.precision,
            "flops_per_token": self.flops_per_token,
            "flops_per_second": round(self.flops_per_second),
            "mfu": round(self.mfu, 4),
        }

    def row(self, tokens: int) -> Row:
        """As the table has it.

        Args:
            tokens: In a step.
        """
        speed = self.tokens_per_second
        steps = f"{speed.median / tokens:,.2f} steps/s, {self.step_ms.median:.1f} ms a step"
        used = f"{self.flops_per_second / 1e9:,.1f} GFLOP/s, {self.mfu:.0%} of the peak"
        return Row(
            self.name, "", f"{speed.described('tokens/s', 0)}, {steps}, {self.precision}, {used}"
        )


def parser() -> BenchmarkParser:
    """Declare the options."""
    made = BenchmarkParser("throughput", "tokens/s of training, and the share of the peak FLOP/s")
    made.add_settings()
    made.add_peers()
    made.add_count("--steps", 100, "steps of a round, after a warm-up")
    made.add_count("--rounds", 5, "rounds, each of all programs", "R")
    return made


def measure(args: argparse.Namespace) -> Report:
    """Measure training at the shape of a preset, and that of peers if there are any."""
    peers = parse_peers(args.peer)
    config = harness.asked_config(args)
    if peers:
        gpt2_shape(config.model)  # rejects shapes that peers cannot have
    setup = _setup(args, config)
    rounds, limits = [], defaultdict[str, Limits](Limits)
    with harness.runs_folder(args) as runs_dir:
        for timed in race(setup, peers, runs_dir, args.rounds):
            rounds.append(timed)
            _measure_limits(setup, {one.precision for one in timed}, limits)
        machine = programs.machine(runs_dir / "race-1")
    arms = _arms(setup, peers, rounds, limits)
    rows, result = _summary(setup, peers, arms, rounds, limits)
    return rows, {**result, "machine": machine}


def _setup(args: argparse.Namespace, config: Config) -> Setup:
    from engine.training.runtime import resolve_device

    device = resolve_device(config.system.device, programs.note)
    return Setup(
        config,
        harness.new_run_options(args),
        load_text(config),
        args.steps,
        device,
        config.system.threads,
        peer_precision(device),
    )


def _measure_limits(setup: Setup, precisions: set[str], limits: dict[str, Limits]) -> None:
    """Keep the most that was ever seen of each precision: a limit is what is possible."""
    for precision in sorted(precisions):
        on = {"device": setup.device, "precision": precision, "threads": setup.threads}
        threads = {"OMP_NUM_THREADS": str(setup.threads)}
        peak = ask("matmul_peak", on | {"seconds": PEAK_SECONDS}, **threads)
        request = {
            "config": setup.config.to_dict(),
            "vocab_size": setup.text.tokenizer.vocab_size,
            "seconds": PRODUCT_SECONDS,
        }
        products = ask("products", on | request, **threads)
        limit = limits[precision]
        limit.flops_per_second = max(limit.flops_per_second, peak["flops_per_second"])
        limit.products_seconds = min(limit.products_seconds, products["seconds"])
        limit.products_flops = products["flops"]


# -- the result ----------------------------------------------------------------------------------


def _arms(
    setup: Setup, peers: Sequence[Peer], rounds: list[list[Timed]], limits: dict[str, Limits]
) -> list[Arm]:
    """Ours first."""
    from engine.config.model_size import flops_per_token  # loads torch

    model, vocab_size = setup.config.model, setup.text.tokenizer.vocab_size
    tokens = tokens_per_step(setup.config)
    arms = []
    for number, times in enumerate(zip(*rounds, strict=True)):
        shape = gpt2_shape(model) if number else model
        arms.append(
            Arm(
                peers[number - 1].described if number else "ours",
                Spread.of([tokens * one.speed for one in times]),
                Spread.of([one.step_ms for one in times]),
                times[0].parameters,
                times[0].precision,
                flops_per_token(shape, vocab_size),
                limits[times[0].precision].flops_per_second,
            )
        )
    return arms


def _summary(
    setup: Setup,
    peers: Sequence[Peer],
    arms: list[Arm],
    rounds: list[list[Timed]],
    limits: dict[str, Limits],
) -> Report:
    tokens, (ours, *others) = tokens_per_step(setup.config), arms
    rows: list[Row] = []
    told: list[dict[str, Any]] = []
    goals: dict[str, float] = {}
    for number, (peer, arm) in enumerate(zip(peers, others, strict=True), 1):
        ratios = [timed[0].speed / timed[number].speed for timed in rounds]
        ratio, goal = Spread.of(ratios), _goal(setup, peer, ours)
        reached = None if goal is None else ratio.median >= goal
        wanted = "" if goal is None else f"≥ {goal:g}"
        rows.append(Row(f"ours over {arm.name}", wanted, ratio.described("times"), reached))
        told.append({"name": peer.name, "ratio": ratio.to_dict(), "ratios": ratios, "goal": goal,
                     "reached": reached, **arm.to_dict()})  # fmt: skip
        goals |= {} if goal is None else {peer.name: goal}
    rows += [arm.row(tokens) for arm in arms]
    rows += [parameters_row(ours.parameters, arm.name, arm.parameters) for arm in others]
    rows += [row for name, limit in limits.items() for row in limit.rows(name, ours)]
    result = {
        "bench": "throughput",
        "preset": setup.config.preset,
        "shape": _shape(setup.config),
        "device": setup.device,
        "threads": setup.threads,
        "rounds": len(rounds),
        "ours": ours.to_dict(),
        "peers": told,
        "ratio": told[0]["ratio"]["median"] if told else None,
        "matmul_peak": {name: round(one.flops_per_second) for name, one in limits.items()},
        "products_seconds": {name: one.products_seconds for name, one in limits.items()},
        "goals": goals,
        "reached": all(one["reached"] for one in told if one["goal"]) if goals else None,
    }
    return rows, result


def _goal(setup: Setup, peer: Peer, ours: Arm) -> float | None:
    """The wish for a preset, if it is trained as it is: in fp32 against fp32 where it says so."""
    config = setup.config
    asked = preset_config(config.preset)
    same_recipe = (config.model, config.optim) == (asked.model, asked.optim)
    if not same_recipe or asked.system.precision not in ("auto", ours.precision):
        return None
    return GOALS.get((config.preset, setup.device, peer.name))


def _shape(config: Config) -> dict[str, Any]:
    model, train = config.model, config.train
    return {
        "n_layer": model.n_layer,
        "n_head": model.n_head,
        "n_embd": model.n_embd,
        "block_size": model.block_size,
        "dropout": model.dropout,
        "batch_size": train.batch_size,
        "grad_accum_steps": train.grad_accum_steps,
        "tokens_per_step": tokens_per_step(config),
    }
