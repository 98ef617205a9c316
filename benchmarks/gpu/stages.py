"""What is measured, in which part, and for how long at most.

The limits of a part add up to less than ten minutes, for which such machines are often lent, and
those of all parts to less than 25.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu import table
from benchmarks.gpu.runner import Facts, Row, Stage
from benchmarks.peers import COMPILED
from benchmarks.programs import settings
from engine.config.presets import PRESETS

Rows = Callable[[list[Facts]], list[Row]]

BEST_LOSS = 1.468  # the best of nanoGPT's recipe for 10.7 M parameters, see docs/benchmarks.md
RECIPE = settings(model__dropout=0.1, model__attn_dropout=0.2)  # gets there in 300 steps
GPT2_BATCH = settings(train__batch_size=32, train__grad_accum_steps=1)
NO_NANOGPT = "there is no checkout of nanoGPT: name one with --nanogpt DIR"

TRIED = "throughput-nanogpt tries the same"
DRY_PRESETS = ("gpt2",)
DRY_TEXT = ("--data", "python-docs")
DRY = settings(
    system__device="cpu",
    system__precision="fp32",
    system__kernels="torch",
    system__threads=1,
    system__micro_batch_size=4,
    train__batch_size=4,
    train__grad_accum_steps=1,
    model__n_layer=1,
    model__n_head=2,
    model__n_embd=16,
    model__block_size=32,  # as in the preset ``tiny``, which stands in for nanoGPT's
)


@dataclass(frozen=True)
class Plan:
    """What the stages depend on.

    Attributes:
        nanogpt: A checkout of it; without one the stages beside it are left out.
        dry: Try everything at a tiny size and on a CPU.
    """

    nanogpt: Path | None
    dry: bool

    def config(self, preset: str, *changes: str, as_shipped: bool = False) -> list[str]:
        """Options for a preset with some changes; dry, for something tiny.

        Args:
            preset: Its name.
            changes: ``--set`` options.
            as_shipped: The benchmark takes no ``--set``.
        """
        if not self.dry:
            return ["--preset", preset, *changes]
        small = ["--threads", "1"] if as_shipped else [*changes, *DRY]
        return ["--preset", "tiny", *DRY_TEXT, *small]

    def sizes(self, earnest: str, dry: str) -> list[str]:
        """One of two groups of options."""
        return (dry if self.dry else earnest).split()


def machine(plan: Plan) -> Stage:
    """What all figures depend on; it fails where there is no GPU to measure."""
    return _module("machine", 60, table.machine, "machine", *plan.sizes("", "--dry"))


def parts(plan: Plan) -> dict[str, list[Stage]]:
    """The stages of each part, the most important first."""
    return {"a": _right_and_fast(plan), "b": _larger_and_beside(plan), "c": _to_a_loss(plan)}


def _right_and_fast(plan: Plan) -> list[Stage]:
    presets = DRY_PRESETS if plan.dry else tuple(PRESETS)
    small = [*DRY_TEXT, *DRY] if plan.dry else []
    return [
        _module("gpu-tests", 90, table.gpu_tests, "gpu_tests", *plan.sizes("", "--dry")),
        _module("smoke", 150, table.smoke, "smoke", *small, *presets),
        _steps(plan, 120, "nanogpt"),
        _steps(plan, 120, "fast-10m"),
    ]


def _larger_and_beside(plan: Plan) -> list[Stage]:
    windows = plan.sizes("--pairs 4 --steps 500", "--pairs 1 --steps 120")
    pairs = plan.sizes("--pairs 2 --seconds 5", "--pairs 1 --seconds 1")
    return [
        _steps(plan, 140, "gpt2", *GPT2_BATCH),
        _beside_nanogpt(plan, 110, "gpt2", 100, *GPT2_BATCH),
        _bench("sampling", 50, table.sampling, "sampling", *plan.config("nanogpt"),
               "--rounds", "1"),
        _bench("saving", 50, table.saving, "saving", *plan.config("nanogpt"), *windows,
               "--history", "1000"),
        _bench("overhead", 130, table.overhead, "overhead",
               *plan.config("nanogpt", as_shipped=True), *pairs),
    ]  # fmt: skip


def _to_a_loss(plan: Plan) -> list[Stage]:
    ours = ["time-to-loss", *plan.config("fast-10m", *RECIPE)]
    ours += plan.sizes("--steps 300 --every 15", "--steps 4 --every 2")
    target = ["--target", str(BEST_LOSS), *plan.sizes("--seeds 5", "--seeds 1")]
    recipe = plan.sizes("--peer-preset nanogpt", "--peer-preset tiny")
    return [
        _bench("time-to-loss", 130, table.time_to_loss, *ours, *target),
        _with_nanogpt(plan, "nanogpt-to-loss", 200, table.time_to_loss, *ours, *recipe,
                      "--peer-best", "--seeds", "1"),
        _beside_nanogpt(plan, 110, "nanogpt", 1000),
    ]  # fmt: skip


# -- kinds of stages -----------------------------------------------------------------------------


def _module(name: str, seconds: float, rows: Rows, module: str, *words: str) -> Stage:
    return Stage(name, seconds, (sys.executable, "-m", f"{__package__}.{module}", *words), rows)


def _bench(name: str, seconds: float, rows: Rows, *words: str) -> Stage:
    return Stage(name, seconds, (sys.executable, "-m", "benchmarks", *words, "--json"), rows)


def _steps(plan: Plan, seconds: float, preset: str, *changes: str) -> Stage:
    """Each way to compute a step."""
    small = [*DRY_TEXT, *DRY, "--steps", "2", "--way", "eager"] if plan.dry else []
    words = ("--preset", preset, *changes, *small)
    return _module(f"steps-{preset}", seconds, table.steps, "steps", *words)


def _with_nanogpt(plan: Plan, name: str, seconds: float, rows: Rows, *words: str) -> Stage:
    if plan.nanogpt is None:
        return Stage(name, seconds, (), rows, skip=NO_NANOGPT)
    return _bench(name, seconds, rows, *words, "--peer", f"{COMPILED}={plan.nanogpt}")


def _beside_nanogpt(plan: Plan, seconds: float, preset: str, steps: int, *changes: str) -> Stage:
    """The whole program against nanoGPT's own loop, in tokens a second."""
    if plan.dry and preset != "nanogpt":
        return Stage(f"throughput-{preset}", seconds, (), table.throughput, skip=TRIED)
    words = ["throughput", *plan.config(preset, *changes), "--rounds", "1"]
    words += ["--steps", *plan.sizes(str(steps), "10")]
    return _with_nanogpt(plan, f"throughput-{preset}", seconds, table.throughput, *words)
