"""Worker: this program's trainer, its loss over the whole split measured on the way.

The trainer runs without run folder, screen and inbox. Its clock stands still while the loss is
measured, and starts with the first step, or with compiling; the time that compiling our kernels
takes is on it, too.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from benchmarks.peers import Text, load_text
from benchmarks.workers import answer
from benchmarks.workers.measure import now, whole_split_loss
from engine.config.schema import Config, config_from_dict, tokens_per_step

if TYPE_CHECKING:
    from engine.training.trainer import Trainer


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Train a configuration to its planned end.

    Args:
        request: ``config``, and ``every``: the steps between two measurements, 0 for the end only.

    Returns:
        ``points``: [step, seconds of training, loss]; ``parameters`` without position embeddings;
        ``tokens_per_step``; ``start_seconds`` (everything before, but for compiling) and
        ``evaluation_seconds``, which are not in the points; what it ran on; ``warnings``.
    """
    begin = time.perf_counter()
    config = config_from_dict(request["config"])
    text = load_text(config)  # if it is not there, that is said before torch is loaded
    from engine.training.runtime import hardware, versions

    warnings: list[str] = []
    compiling = _compile_kernels(config)
    trainer = build_trainer(config, text, warnings)
    device = trainer.runtime.device
    start_seconds = now(device) - begin - compiling
    points, evaluation_seconds = _train(trainer, text, request["every"], compiling)
    return {
        "points": points,
        "parameters": trainer.model.parameter_count(),
        "tokens_per_step": tokens_per_step(config),
        "start_seconds": start_seconds,
        "evaluation_seconds": evaluation_seconds,
        "warnings": warnings,
        "runtime": {"resolved": dataclasses.asdict(trainer.runtime)},
        "hardware": hardware(device),
        "versions": versions(),
        "corpus": {"name": text.corpus.name, "note": text.corpus.note},
    }


def build_trainer(config: Config, text: Text, warnings: list[str]) -> Trainer:
    import torch

    from engine.training.runtime import resolve_runtime
    from engine.training.trainer import Trainer

    vocab_size = text.tokenizer.vocab_size
    runtime = resolve_runtime(config, text.split, vocab_size, lambda _: None, warnings.append)
    torch.set_num_threads(runtime.threads)
    return Trainer(config, runtime, text.split, vocab_size)


def _compile_kernels(config: Config) -> float:
    """Returns the seconds it took; none are taken where a run would not use them, either."""
    from engine.training.runtime import resolve_device, resolve_kernels

    start = time.perf_counter()
    device = resolve_device(config.system.device, lambda _: None)
    resolve_kernels(device, config.system, lambda _: None, lambda _: None)
    return time.perf_counter() - start


def _train(
    trainer: Trainer, text: Text, every: int, spent: float
) -> tuple[list[list[float]], float]:
    """To the end; returns the points and the seconds that measuring took.

    Args:
        spent: Seconds that are on the clock already.
    """
    device, points, evaluating = trainer.runtime.device, [], 0.0
    start = now(device) - spent
    if trainer.runtime.compile:
        trainer.compile()
    while trainer.step < trainer.total_steps:
        trainer.train_step()
        is_last = trainer.step == trainer.total_steps
        if is_last or (every and trainer.step % every == 0):
            stop = now(device)
            points.append([trainer.step, stop - start - evaluating, _loss(trainer, text)])
            evaluating += now(device) - stop
    return points, evaluating


def _loss(trainer: Trainer, text: Text) -> float:
    """Of the weights that would be sampled from, in fp32 whatever they are trained in."""
    import torch

    model = trainer.evaluated_model
    was_training, dtype = model.training, model.compute_dtype
    model.eval()
    model.compute_dtype = torch.float32
    try:
        block_size = trainer.config.model.block_size
        return whole_split_loss(model, text.split.val, block_size, trainer.runtime.device)[0]
    finally:
        model.compute_dtype = dtype
        model.train(was_training)


if __name__ == "__main__":
    answer(work)
