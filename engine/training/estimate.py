"""Estimate how long training will take."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import torch

from data.batches import Split
from engine.config.schema import Config
from engine.training.runtime import Say, resolve_runtime
from engine.training.trainer import Trainer

PROBE_SECONDS = 0.5


def training_seconds(
    config: Config, split: Split, vocab_size: int, report: Say, warn: Say
) -> float:
    """Estimate the time of all steps, without evaluations, samples and checkpoints.

    It trains for about half a second. For ``report`` and ``warn`` see ``resolve_runtime``.

    Raises:
        InputError: One micro-batch of the requested size does not fit into memory.
    """
    runtime = resolve_runtime(config, split, vocab_size, report, warn)
    torch.set_num_threads(runtime.threads)
    report("training briefly to measure the speed")
    trainer = Trainer(config, runtime, split, vocab_size)
    sequences = config.train.batch_size * config.train.grad_accum_steps
    micro_batches = math.ceil(sequences / min(runtime.micro_batch_size, config.train.batch_size))
    return trainer.total_steps * micro_batches * _seconds_per_micro_batch(trainer)


def _seconds_per_micro_batch(trainer: Trainer) -> float:
    quanta = _quanta(trainer)
    next(quanta)  # warm-up: allocations, and loading kernels
    _wait_for(trainer.device)
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < PROBE_SECONDS:
        next(quanta)
        _wait_for(trainer.device)
        count += 1
    return (time.perf_counter() - started) / count


def _quanta(trainer: Trainer) -> Iterator[None]:
    """Yield after each micro-batch; the updates run between the steps."""
    while True:
        yield from trainer.step_quanta()


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
