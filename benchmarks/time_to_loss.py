"""``benchmarks time-to-loss``: seconds until a model is as good as nanoGPT's at its end.

A peer trains its recipe to the end; the loss of its last weights over the whole validation split is
the target for ours, and its seconds are those of its own iterations. All losses are measured by one
ruler: windows of ``block_size`` side by side, in fp32. On all sides training counts, compiling
included, and three things do not: starting up (imports, text, choosing precision, building),
evaluating, and writing checkpoints.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass
from typing import Any

from benchmarks import harness, programs
from benchmarks.harness import BenchmarkParser, Report
from benchmarks.loss_race import OurRun, PeerRun, Plan, Results, run_all
from benchmarks.peers import (
    COMPILED,
    NANOGPT,
    Peer,
    gpt2_shape,
    load_text,
    parse_peers,
    peer_precision,
)
from benchmarks.report import Row, Spread, parameters_row
from data.errors import InputError
from engine.config.changes import with_one_end
from engine.config.presets import preset_config
from engine.config.schema import Config, tokens_per_step
from tui.text.tables import format_threads

PRESET, PEER_PRESET = "fast", "nanogpt-cpu"
KNOWN_LOSS = 1.898  # nanoGPT's own weights after the 2000 steps of its recipe for a CPU
CORPUS = "tinyshakespeare"  # … on this text
PLANNED_STEPS = 180  # enough for ``fast`` to get below it, see docs/experiments.md
RATIO_GOAL, SAME_TOKENS_GOAL = 10.0, 1.57


def parser() -> BenchmarkParser:
    """Declare the options."""
    made = BenchmarkParser(
        "time-to-loss", "seconds of training to nanoGPT's final loss", preset=PRESET
    )
    made.add_settings()
    made.add_peers()
    made.add_count("--steps", PLANNED_STEPS, "planned steps of ours, at the end of the schedule")
    made.add_count("--every", 10, "steps between two measurements of our loss")
    made.add_count("--seeds", 3, "seeds of ours")
    made.add_count("--rounds", 1, "rounds, each of all peers and all seeds", "R")
    made.add_argument(
        "--target",
        type=float,
        metavar="LOSS",
        help=f"loss to reach if there is no peer (default: {KNOWN_LOSS})",
    )
    made.add_argument(
        "--peer-preset",
        default=PEER_PRESET,
        metavar="P",
        help="shape and recipe of the peers (default: %(default)s)",
    )
    made.add_argument(
        "--peer-best",
        action="store_true",
        help="take nanoGPT's best weights by its own estimate, and the time to them, not its last",
    )
    made.add_argument(
        "--same-tokens",
        action="store_true",
        help="also train ours on as many tokens as the peers' recipe takes",
    )
    return made


def measure(args: argparse.Namespace) -> Report:
    """Train ours and the peers, and compare the times to a loss."""
    plan = _plan(args)
    with harness.runs_folder(args) as folder:
        folder.mkdir(parents=True, exist_ok=True)
        results = run_all(plan, folder, args.same_tokens)
    return _summary(plan, results, args.target)


def _plan(args: argparse.Namespace) -> Plan:
    """Everything that can be wrong is found here."""
    from engine.training.runtime import resolve_device

    peers = parse_peers(args.peer)
    if peers and args.target is not None:
        raise InputError("--target cannot go with --peer, whose own loss is the target")
    config, peer_config = harness.asked_config(args), preset_config(args.peer_preset)
    config = config.replace(with_one_end({"train.max_steps": args.steps}))
    peer_config = peer_config.replace({"data.corpus": config.data.corpus})
    if peers:
        _check_comparable(config, peer_config)
    text = load_text(config)
    return Plan(
        config,
        peer_config,
        text,
        peers,
        [config.train.seed + number for number in range(args.seeds)],
        args.rounds,
        args.every,
        args.peer_best,
        resolve_device(config.system.device, programs.note),
    )


def _check_comparable(config: Config, peer_config: Config) -> None:
    """Refuse peers that are no GPT-2, and losses that cannot be set side by side.

    Raises:
        InputError: They are refused.
    """
    gpt2_shape(peer_config.model)
    ours, theirs = config.model.block_size, peer_config.model.block_size
    if ours != theirs:
        raise InputError(
            f"{config.preset} sees {ours} tokens at once and {peer_config.preset} {theirs}, so "
            f"their losses cannot be compared: choose another --peer-preset, or "
            f"--set model.block_size={theirs}"
        )


# -- the result ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reached:
    """When ours came down to a loss: one crossing a run, or None where it did not."""

    target: float
    crossings: list[list[tuple[int, float, float] | None]]  # a list a round

    @classmethod
    def of(cls, rounds: list[list[OurRun]], target: float) -> Reached:
        """Look it up."""
        return cls(target, [[one.crossing(target) for one in runs] for runs in rounds])

    @property
    def by_all(self) -> bool:
        """Whether every run did."""
        return all(None not in runs for runs in self.crossings)

    def column(self, index: int) -> list[float]:
        """Steps (0) or seconds (1) of the runs that did."""
        return [one[index] for runs in self.crossings for one in runs if one]

    def ratios(self, seconds: list[float]) -> list[float]:
        """A peer's seconds over the median of ours, a round each; for ``by_all``."""
        medians = [statistics.median(one[1] for one in runs if one) for runs in self.crossings]
        return [theirs / ours for theirs, ours in zip(seconds, medians, strict=True)]

    def to_dict(self, tokens: int) -> dict[str, Any]:
        """As JSON has it; the spreads are null unless every run got there.

        Args:
            tokens: In a step.
        """
        steps = Spread.of(self.column(0)).to_dict() if self.by_all else None
        return {
            "loss": round(self.target, 5),
            "reached_by_all": self.by_all,
            "seconds": Spread.of(self.column(1)).to_dict(3) if self.by_all else None,
            "steps": steps,
            "tokens": round(steps["median"] * tokens) if steps else None,
            "seconds_per_run": [
                [one and round(one[1], 3) for one in runs] for runs in self.crossings
            ],
        }

    def row(self, name: str, tokens: int) -> Row:
        """As the table has it."""
        figure = f"ours to {self.target:.4f}{name}"
        if not self.by_all:
            got = len(self.column(0))
            return Row(figure, "", f"{got} of {sum(map(len, self.crossings))} runs got there")
        steps = Spread.of(self.column(0))
        return Row(
            figure,
            "",
            f"{Spread.of(self.column(1)).described('s')}, step {steps.low:,.0f} to "
            f"{steps.high:,.0f}, {steps.median * tokens:,.0f} tokens",
        )


def _summary(plan: Plan, results: Results, asked: float | None) -> Report:
    tokens, first = tokens_per_step(plan.config), results.ours[0][0].facts
    rows: list[Row] = []
    peers = []
    for number, peer in enumerate(plan.peers):
        runs = [one[number] for one in results.peers]
        more, told = _beside(plan, results.ours, peer, runs, first["parameters"])
        rows += more
        peers.append(told)
    own = None
    if not peers:
        own = Reached.of(results.ours, KNOWN_LOSS if asked is None else asked)
        rows.append(own.row("" if asked else ", nanoGPT's on tinyshakespeare", tokens))
    again, same_tokens = _same_tokens(plan, results.same_tokens)
    rows += [*again, *_on_what(plan, results)]
    reached = [row.reached for row in rows if row.reached is not None]
    result = {
        "bench": "time-to-loss",
        "preset": plan.config.preset,
        "peer_preset": plan.peer_config.preset,
        "target": own.to_dict(tokens) if own else peers[0]["target"],
        "ours": {
            "parameters": first["parameters"],
            "planned_steps": results.ours[0][0].points[-1][0],
            "tokens_per_step": tokens,
            "every": plan.every,
            "seeds": plan.seeds,
            "precision": first["runtime"]["resolved"]["precision"],
            "threads": first["runtime"]["resolved"]["threads"],
            "device": plan.device,
            "val_loss": _losses(results.ours).to_dict(5),
            "not_counted": _not_counted(results),
            "runs": [_run_facts(one) for runs in results.ours for one in runs],
        },
        "peers": peers,
        "ratio": peers[0]["ratio"]["median"] if peers and peers[0]["ratio"] else None,
        "same_tokens": same_tokens,
        "goals": {"ratio": RATIO_GOAL, "same_tokens": SAME_TOKENS_GOAL},
        "reached": all(reached) if reached else None,
        "machine": programs.machine_of(first),
    }
    return rows, result


def _beside(
    plan: Plan, ours: list[list[OurRun]], peer: Peer, runs: list[PeerRun], parameters: int
) -> Report:
    """Ours and one peer, whose own loss is what ours are to reach."""
    losses, seconds = Spread.of([r.loss for r in runs]), Spread.of([r.seconds for r in runs])
    reached, tokens = Reached.of(ours, losses.median), tokens_per_step(plan.config)
    ratio = Spread.of(reached.ratios([r.seconds for r in runs])) if reached.by_all else None
    has_goal = peer.name == (COMPILED if plan.device == "cuda" else NANOGPT)
    got_there = ratio is not None and ratio.median >= RATIO_GOAL
    rows = [
        Row(f"{peer.described} over ours", f"≥ {RATIO_GOAL:g}" if has_goal else "",
            ratio.described("times") if ratio else "ours did not all get there",
            got_there if has_goal else None),
        Row(f"{peer.described} to its {losses.median:.4f}", "",
            f"{seconds.described('s')}, step {runs[0].steps:,}, {_tokens(plan, runs[0]):,} tokens"),
        reached.row("", tokens),
        parameters_row(parameters, peer.described, runs[0].parameters),
    ]  # fmt: skip
    return rows, {
        "name": peer.name,
        "seconds": seconds.to_dict(3),
        "val_loss": losses.to_dict(5),
        "steps": runs[0].steps,
        "tokens": _tokens(plan, runs[0]),
        "parameters": runs[0].parameters,
        "precision": peer_precision(plan.device),
        "parameters_apart": round(parameters / runs[0].parameters - 1, 4),
        "target": reached.to_dict(tokens),
        "ratio": ratio.to_dict() if ratio else None,
    }


def _tokens(plan: Plan, run: PeerRun) -> int:
    return run.steps * tokens_per_step(plan.peer_config)


def _same_tokens(plan: Plan, runs: list[OurRun]) -> tuple[list[Row], dict[str, Any] | None]:
    """Ours after as many tokens as the peers' recipe takes."""
    if not runs:
        return [], None
    losses = Spread.of([one.loss for one in runs])
    seconds = Spread.of([one.points[-1][1] for one in runs])
    usual = plan.peer_config.preset == PEER_PRESET and plan.text.corpus.name == CORPUS
    row = Row(
        f"ours after {plan.peer_tokens:,} tokens",
        f"≤ {SAME_TOKENS_GOAL}" if usual else "",
        f"loss {losses.described('nats', 4)} in {seconds.described('s', 1)}",
        losses.median <= SAME_TOKENS_GOAL if usual else None,
    )
    return [row], {
        "tokens": plan.peer_tokens,
        "steps": runs[0].points[-1][0],
        "val_loss": losses.to_dict(5),
        "seconds": seconds.to_dict(3),
        "runs": [_run_facts(one) for one in runs],
    }


def _on_what(plan: Plan, results: Results) -> list[Row]:
    """At the planned end, and what the figures stand on."""
    steps, _, _ = results.ours[0][0].points[-1]
    runtime = results.ours[0][0].facts["runtime"]["resolved"]
    left_out = _not_counted(results)
    return [
        Row(f"ours at the planned end, step {steps:,}", "",
            f"loss {_losses(results.ours).described('nats', 4)}"),
        Row("ours were trained in", "", f"{runtime['precision']} on {plan.device}, "
            f"{format_threads(runtime['threads'])}, as many as the peers"),
        Row("not counted of ours, a run", "", f"{left_out['start_seconds']:.1f} s to start, "
            f"{left_out['evaluation_seconds']:.1f} s to evaluate"),
    ]  # fmt: skip


def _losses(rounds: list[list[OurRun]]) -> Spread:
    return Spread.of([one.loss for runs in rounds for one in runs])


def _not_counted(results: Results) -> dict[str, float]:
    """Medians over the runs."""
    facts = [one.facts for runs in results.ours for one in runs]
    return {
        name: round(statistics.median(one[name] for one in facts), 2)
        for name in ("start_seconds", "evaluation_seconds")
    }


def _run_facts(run: OurRun) -> dict[str, Any]:
    points = [[step, round(seconds, 3), round(loss, 5)] for step, seconds, loss in run.points]
    return {"seed": run.seed, "points": points}
