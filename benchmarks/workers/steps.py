"""Worker: milliseconds of a training step, and of a token of text beside training.

The trainer is driven by itself, without run folder, screen and inbox.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from typing import TYPE_CHECKING, Any

from benchmarks.peers import load_text
from benchmarks.workers import answer
from benchmarks.workers.measure import now
from benchmarks.workers.our_loss import build_trainer
from engine.config.schema import config_from_dict, tokens_per_step

if TYPE_CHECKING:
    from engine.training.trainer import Trainer

WARM_UP_STEPS = 8  # the first loads kernels, the second is captured


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Train some steps and stop the time.

    Args:
        request: ``config``; ``steps``, timed together, and ``rounds``, how often.

    Returns:
        ``step_ms`` of each round; ``ready_seconds``, for compiling and the first steps;
        ``peak_bytes`` of GPU memory (0 elsewhere); ``loss`` of the last step; ``text``, with its
        ``token_ms`` and ``step_ms`` when each step is followed by a token; ``tokens_per_step``,
        ``parameters``, ``warnings`` and what it ran on.
    """
    import torch

    config = config_from_dict(request["config"])
    text = load_text(config)
    from engine.training.runtime import hardware, versions

    warnings: list[str] = []
    trainer = build_trainer(config, text, warnings)
    trainer.graph.tell = lambda reason: warnings.append(f"the step is not captured: {reason}")
    device = trainer.runtime.device
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()  # choosing a micro-batch has tried large ones
    ready_seconds = _warm_up(trainer)
    step_ms = [_step_ms(trainer, request["steps"]) for _ in range(request["rounds"])]
    peak_bytes = torch.cuda.max_memory_allocated() if device == "cuda" else 0
    return {
        "step_ms": step_ms,
        "ready_seconds": ready_seconds,
        "peak_bytes": peak_bytes,
        "text": _beside_text(trainer, request["steps"]),
        "loss": trainer.train_step().loss.item(),
        "tokens_per_step": tokens_per_step(config),
        "parameters": trainer.model.parameter_count(),
        "warnings": warnings,
        "runtime": {"resolved": dataclasses.asdict(trainer.runtime)},
        "hardware": hardware(device),
        "versions": versions(),
        "corpus": {"name": text.corpus.name, "note": text.corpus.note},
    }


def _warm_up(trainer: Trainer) -> float:
    """Returns the seconds it took."""
    device = trainer.runtime.device
    start = now(device)
    if trainer.runtime.compile:
        trainer.compile()
    for _ in range(WARM_UP_STEPS):
        trainer.train_step()
    return now(device) - start


def _step_ms(trainer: Trainer, steps: int) -> float:
    device = trainer.runtime.device
    start = now(device)
    for _ in range(steps):
        trainer.train_step()
    return 1000 * (now(device) - start) / steps


def _beside_text(trainer: Trainer, steps: int) -> dict[str, float]:
    """A token of one text after each step, with as many steps queued on a GPU as in a run."""
    from engine.config.schema import SampleConfig
    from engine.sampling.frozen import freeze
    from engine.sampling.generate import Generation
    from engine.training.throughput import Throughput

    device, queue = trainer.runtime.device, Throughput()
    writing = Generation(
        freeze(trainer.evaluated_model),
        [0],
        WARM_UP_STEPS + steps,
        SampleConfig(temperature=1.0),
        [1],
    )
    for _ in range(WARM_UP_STEPS):
        next(writing)
    token_seconds = []
    start = now(device)
    for _ in range(steps):
        trainer.train_step()
        queue.mark_step(trainer.device)
        asked = time.perf_counter()
        next(writing)
        token_seconds.append(time.perf_counter() - asked)
    step_seconds = (now(device) - start) / steps
    return {"token_ms": 1000 * statistics.median(token_seconds), "step_ms": 1000 * step_seconds}


if __name__ == "__main__":
    answer(work)
