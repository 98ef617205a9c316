"""Training against the clock: ours, nanoGPT's and transformers', interleaved.

Ours is the whole program without a screen, its clock the run's journal: from the end of the first
evaluation to the end of the second, so that everything a run does meanwhile counts, writing
included. The peers' clocks are their own, and their evaluations do not count.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import programs
from benchmarks.nanogpt import recipe_flags, run_nanogpt
from benchmarks.peers import HF, Peer, Text, write_nanogpt_data
from benchmarks.report import abba
from benchmarks.workers import ask
from engine.config.schema import Config
from engine.runs.summary import read_summary

WARM_UP_STEPS = 10
START_SECONDS, SLOWEST_STEP_SECONDS = 120, 60  # more means that something is wrong
MANY = 10**6


@dataclass(frozen=True)
class Setup:
    """What all who race have in common.

    Attributes:
        config: What is trained; a peer takes its GPT-2 shape, batch and AdamW recipe.
        options: The same in words, for ``gpt-tui train``.
        text: What is trained on.
        steps: How many are timed; ours are at least as many as the warm-up's.
        device: cpu, cuda or mps.
        threads: For a CPU, ours and theirs.
        peer_precision: What peers cast to.
    """

    config: Config
    options: list[str]
    text: Text
    steps: int
    device: str
    threads: int
    peer_precision: str


@dataclass(frozen=True)
class Timed:
    """So many steps in so many seconds."""

    steps: int
    seconds: float
    step_ms: float  # the median of single steps where there are such, else the mean
    parameters: int  # without position embeddings; 0 where it is not known
    precision: str

    @property
    def speed(self) -> float:
        """Steps per second."""
        return self.steps / self.seconds


def race(setup: Setup, peers: Sequence[Peer], runs_dir: Path, rounds: int) -> Iterator[list[Timed]]:
    """Run all in turn, every other round backwards; yields each round's times.

    Args:
        course: What they have in common.
        peers: Who races against us; nobody will do.
        runs_dir: Where our runs ``race-1``, ``race-2`` … go.
        rounds: How often each runs.

    Yields:
        Ours, then the peers' in their order.

    Raises:
        BenchmarkError: One of them failed.
    """
    names = ["ours", *(peer.described for peer in peers)]
    with tempfile.TemporaryDirectory(prefix="gpt-tui-peer-") as folder:
        data = Path(folder)
        write_nanogpt_data(data, setup.text)
        for number, order in enumerate(abba(rounds, len(names)), 1):
            timed: dict[int, Timed] = {}
            for arm in order:
                if arm == 0:
                    timed[arm] = time_ours(setup, runs_dir, f"race-{number}")
                else:
                    timed[arm] = time_peer(setup, peers[arm - 1], data)
            speeds = (f"{name} {timed[arm].speed:.2f}" for arm, name in enumerate(names))
            programs.note(f"round {number} of {rounds}, steps/s: {', '.join(speeds)}")
            yield [timed[arm] for arm in sorted(timed)]


def time_ours(setup: Setup, runs_dir: Path, name: str) -> Timed:
    """Train a new run through a warm-up as long as what is timed after it.

    Raises:
        BenchmarkError: It did not get there.
    """
    run = runs_dir / name
    steps = max(setup.steps, WARM_UP_STEPS)
    some = programs.settings(
        eval__interval=steps,
        eval__batches=1,
        sample__max_tokens=1,
        checkpoint__interval=0,
        train__max_steps=MANY,
        optim__decay_steps=2 * steps,
        system__threads=setup.threads,
        system__device=setup.device,
    )
    command = programs.train_command(runs_dir, name, [*setup.options, *some])
    with programs.headless(command) as process:
        programs.wait_until(
            lambda: len(programs.moments(run, "evaluated")) >= 2,
            lambda: process.poll() is None,
            START_SECONDS + SLOWEST_STEP_SECONDS * 2 * steps,
            f"the end of {name}",
        )
    (step0, begin), (step1, end) = programs.moments(run, "evaluated")[:2]
    each = (end - begin) / (step1 - step0)
    if setup.device == "cpu":  # elsewhere steps are queued, and have no times of their own
        each = statistics.median(programs.step_seconds(run)[WARM_UP_STEPS:])
    summary = read_summary(run)
    return Timed(
        step1 - step0,
        end - begin,
        1000 * each,
        summary.parameters or 0,
        summary.precision or "",
    )


def time_peer(setup: Setup, peer: Peer, data: Path) -> Timed:
    """Let a peer train through 10 steps, then time some.

    Raises:
        BenchmarkError: It failed.
    """
    if peer.name == HF:
        return _time_hf(setup)
    model, total = setup.config.model, WARM_UP_STEPS + setup.steps
    log = run_nanogpt(
        peer,
        data,
        recipe_flags(setup.config) | {"max_iters": total, "lr_decay_iters": total},
        device=setup.device,
        precision=setup.peer_precision,
        threads=setup.threads,
    )
    steps, seconds = log.after(WARM_UP_STEPS)
    parameters = log.parameters and log.parameters - model.block_size * model.n_embd
    each = statistics.median(one.each for one in log.stretches() if one.first >= WARM_UP_STEPS)
    return Timed(steps, seconds, 1000 * each, parameters, setup.peer_precision)


def _time_hf(setup: Setup) -> Timed:
    request = {
        "config": setup.config.to_dict(),
        "steps": WARM_UP_STEPS + setup.steps,
        "warm_up": WARM_UP_STEPS,
        "device": setup.device,
        "precision": setup.peer_precision,
        "threads": setup.threads,
        "evaluate": False,
    }
    done = ask("hf", request, OMP_NUM_THREADS=str(setup.threads))
    each = 1000 * done["seconds"] / setup.steps
    return Timed(setup.steps, done["seconds"], each, done["parameters"], setup.peer_precision)
