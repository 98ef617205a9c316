"""Ours trained to a loss, and peers trained to their end, interleaved: what is run and how."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import programs
from benchmarks.nanogpt import recipe_flags, run_nanogpt
from benchmarks.peers import COMPILED, HF, Peer, Text, peer_precision, write_nanogpt_data
from benchmarks.workers import ask
from engine.config.schema import Config, tokens_per_step, total_steps

FRESH = "TORCHINDUCTOR_CACHE_DIR"  # an empty one makes compiling cost what it costs


@dataclass(frozen=True)
class OurRun:
    """A run of ours: its loss over the whole split, now and then."""

    seed: int
    facts: dict[str, Any]  # see the worker

    @property
    def points(self) -> list[tuple[int, float, float]]:
        """(step, seconds of training, loss), in their order."""
        return [(int(step), seconds, loss) for step, seconds, loss in self.facts["points"]]

    @property
    def loss(self) -> float:
        """At the end."""
        return self.points[-1][2]

    def crossing(self, target: float) -> tuple[int, float, float] | None:
        """The first point at or below a loss; None if there is none."""
        return next((point for point in self.points if point[2] <= target), None)


@dataclass(frozen=True)
class PeerRun:
    """A run of a peer to its end, or to its best weights."""

    seconds: float
    loss: float
    steps: int
    parameters: int


@dataclass(frozen=True)
class Plan:
    """What is to be run."""

    config: Config
    peer_config: Config
    text: Text
    peers: list[Peer]
    seeds: list[int]
    rounds: int
    every: int
    peer_best: bool  # nanoGPT's best weights by its own estimate, instead of its last
    device: str

    @property
    def peer_steps(self) -> int:
        """Of the peers' recipe."""
        return total_steps(self.peer_config, len(self.text.split.train))

    @property
    def peer_tokens(self) -> int:
        """That its steps see."""
        return self.peer_steps * tokens_per_step(self.peer_config)


@dataclass(frozen=True)
class Results:
    """What was run: a list a round, and one run a seed for as many tokens as the peers see."""

    ours: list[list[OurRun]]
    peers: list[list[PeerRun]]
    same_tokens: list[OurRun]


def run_all(plan: Plan, folder: Path, same_tokens: bool) -> Results:
    """Run everything.

    Args:
        plan: What.
        folder: Takes nanoGPT's data and checkpoints.
        same_tokens: Whether to train ours once more on as many tokens as the peers' recipe takes.

    Raises:
        InputError: The settings cannot be trained here.
        BenchmarkError: A program failed.
    """
    data = folder / "nanogpt-data"
    write_nanogpt_data(data, plan.text)
    ours: list[list[OurRun]] = []
    theirs: list[list[PeerRun]] = []
    for number in range(plan.rounds):
        seeds: dict[int, OurRun] = {}
        peers: dict[str, PeerRun] = {}
        for one in interleaved(plan.seeds, plan.peers, backwards=number % 2 == 1):
            if isinstance(one, Peer):
                peers[one.name] = _run_peer(plan, one, data)
            else:
                seeds[one] = _run_ours(plan.config, one, plan.every)
        ours.append([seeds[seed] for seed in plan.seeds])
        theirs.append([peers[peer.name] for peer in plan.peers])
    again = [_run_ours(same_tokens_config(plan), seed, 0) for seed in plan.seeds if same_tokens]
    return Results(ours, theirs, again)


def interleaved(
    seeds: Sequence[int], peers: Sequence[Peer], backwards: bool = False
) -> list[int | Peer]:
    """The order of a round: peers evenly among seeds, so that a drift favours neither."""
    places: list[tuple[float, int | Peer]] = []
    places += [((at + 0.5) / len(seeds), one) for at, one in enumerate(seeds)]
    places += [((at + 0.5) / len(peers), one) for at, one in enumerate(peers)]
    order = [one for _, one in sorted(places, key=lambda place: place[0])]
    return order[::-1] if backwards else order


def _run_ours(config: Config, seed: int, every: int) -> OurRun:
    request = {"config": config.replace({"train.seed": seed}).to_dict(), "every": every}
    with tempfile.TemporaryDirectory(prefix="gpt-tui-compiled-") as fresh:
        run = OurRun(seed, ask("our_loss", request, GPT_TUI_KERNELS=fresh, **{FRESH: fresh}))
    for warning in run.facts["warnings"]:
        programs.note(warning)
    step, seconds, loss = run.points[-1]
    programs.note(f"ours, seed {seed}: loss {loss:.4f} after {step} steps, {seconds:.2f} s")
    return run


def same_tokens_config(plan: Plan) -> Config:
    """Ours, planned for as many tokens as the peers' recipe takes."""
    steps = max(1, round(plan.peer_tokens / tokens_per_step(plan.config)))
    return plan.config.replace({"train.max_steps": steps})


def _run_peer(plan: Plan, peer: Peer, data: Path) -> PeerRun:
    run = _run_hf(plan) if peer.name == HF else _run_nanogpt(plan, peer, data)
    programs.note(
        f"{peer.described}: loss {run.loss:.4f} after {run.steps} steps, {run.seconds:.2f} s"
    )
    return run


def _run_hf(plan: Plan) -> PeerRun:
    threads = plan.config.system.threads
    request = {
        "config": plan.peer_config.to_dict(),
        "steps": plan.peer_steps,
        "warm_up": 0,
        "device": plan.device,
        "precision": peer_precision(plan.device),
        "threads": threads,
        "evaluate": True,
    }
    done = ask("hf", request, OMP_NUM_THREADS=str(threads))
    return PeerRun(done["seconds"], done["val_loss"], plan.peer_steps, done["parameters"])


def _run_nanogpt(plan: Plan, peer: Peer, data: Path) -> PeerRun:
    steps, threads = plan.peer_steps, plan.config.system.threads
    checkpoint = data / "out" / "ckpt.pt"
    checkpoint.unlink(missing_ok=True)
    recipe = plan.peer_config
    interval = recipe.eval.interval
    flags = recipe_flags(recipe) | {
        "max_iters": steps,
        "lr_decay_iters": recipe.optim.decay_steps or steps,
        # as shipped: evaluating draws random numbers, so other intervals mean other batches
        "eval_interval": interval if interval and steps % interval == 0 else steps,
        "eval_iters": recipe.eval.batches,
        "always_save_checkpoint": not plan.peer_best,
    }
    with tempfile.TemporaryDirectory(prefix="gpt-tui-compiled-") as fresh:
        log = run_nanogpt(
            peer,
            data,
            flags,
            device=plan.device,
            precision=peer_precision(plan.device),
            threads=threads,
            environment={FRESH: fresh} if peer.name == COMPILED else {},
        )
    request = {
        "checkout": str(peer.folder),
        "checkpoint": str(checkpoint),
        "val": str(data / "val.bin"),
        "device": plan.device,
        "threads": threads,
    }
    seen = ask("nanogpt_loss", request)
    seconds = log.training_seconds(seen["updates"])
    return PeerRun(seconds, seen["val_loss"], seen["updates"], seen["parameters"])
