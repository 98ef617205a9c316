"""One of several processes with a part of a model: ``python -m tests.engine.distributed.…``.

Process 0 writes what came of the ways to train that are named to a folder.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from data.batches import split_tokens
from engine.checkpoint.store import Snapshot, restore, take_snapshot
from engine.config.schema import Config
from engine.distributed.team import TEAM
from engine.session.follower import follow, tell_begin
from engine.training.runtime import use_threads
from engine.training.trainer import Runtime, Trainer
from tests.engine.distributed.member import SMALL

WAYS: dict[str, dict[str, Any]] = {
    "tied, accumulation": {"model.tie_weights": True, "train.grad_accum_steps": 2},
    "sgd, untied": {"model.tie_weights": False, "optim.optimizer": "sgd", "optim.grad_clip": 0},
    "rotary, swiglu": {
        "model.position": "rotary",
        "model.activation": "swiglu",
        "model.norm": "rms",
        "model.dropout": 0.2,
    },
    "few rows": {"model.n_embd": 2, "model.n_head": 1, "model.n_gram": 2},  # some have no part
    "bigram": {"model.architecture": "bigram"},
    "bf16": {"system.precision": "bf16"},
    "fp16": {"system.precision": "fp16"},
}


def main() -> None:
    use_threads(1)
    TEAM.join()
    if TEAM.leads:
        TEAM.form_group()
        for way in sys.argv[2:]:
            train(way, Path(sys.argv[1]))
    else:
        follow()
    TEAM.leave()


def trainer_of(way: str) -> Trainer:
    config = Config().replace(SMALL | WAYS[way])
    precision = "fp32" if config.system.precision == "auto" else config.system.precision
    split = split_tokens(np.random.default_rng(0).integers(0, 65, 4000).astype(np.uint16))
    runtime = Runtime("cpu", precision, 1, 1, False, processes=TEAM.size, reduce="fast", shard=True)
    trainer = Trainer(config, runtime, split, 65, TEAM)
    tell_begin(trainer)
    return trainer


def train(way: str, folder: Path) -> None:
    """Train with everything that happens to a run, and keep what came of it."""
    trainer = trainer_of(way)
    losses, norms = [], []

    def steps(count: int) -> None:
        for _ in range(count):
            result = trainer.train_step()
            losses.append(result.loss.item())
            norms.append(result.grad_norm.item())

    steps(3)
    next(trainer.step_quanta())  # given up half-way
    losses.append(trainer.evaluate().loss)
    next(trainer.evaluate_quanta())  # given up, too
    under_way = trainer.step_quanta()
    next(under_way)
    kept = take_snapshot(trainer, {})  # between two passes
    losses.append(trainer.evaluate().loss)
    trainer.adjust(trainer.config.replace({"eval.batches": 2}))
    for _ in under_way:
        pass
    before = copy.deepcopy(trainer.whole_model)
    losses.append(trainer.evaluate(whole=True).loss)
    check_parts(trainer)
    trainer.adjust(trainer.config.replace({"optim.learning_rate": 5e-3, "train.batch_size": 16}))
    steps(3)
    losses.append(trainer.evaluate(whole=True, model=before).loss)
    restore(trainer, Snapshot(kept.step, kept.model, kept.optimizer, kept.state))
    again = take_snapshot(trainer, {})
    assert same(kept.model, again.model)
    assert same(kept.optimizer or {}, again.optimizer or {})
    steps(20)
    end = take_snapshot(trainer, {})
    name = folder / f"{way}-{TEAM.size}"
    save_file(end.model | (end.optimizer or {}), f"{name}.safetensors")
    Path(f"{name}.json").write_text(json.dumps([losses, norms]))


def check_parts(trainer: Trainer) -> None:
    """Nothing of the other processes stays here, not even after an evaluation."""
    if trainer.sharding:
        parts = list(trainer.sharding.parts)
        weights: list[Any] = list(trainer.model.parameters())
        here = [weight.to_local() for weight in weights]
        held, whole = sum(map(Tensor.numel, parts)), trainer.whole_model.parameters()
        assert held == sum(map(Tensor.numel, here)) < sum(map(Tensor.numel, whole))
        states = [trainer.optimizer.state_of(part) for part in parts]
        assert all(
            tensor.shape == part.shape or not tensor.dim()
            for part, state in zip(parts, states, strict=True)
            for tensor in state.values()
        )


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


if __name__ == "__main__":
    main()
