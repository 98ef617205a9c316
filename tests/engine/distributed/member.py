"""One of several processes that train together: ``python -m tests.engine.distributed.member``.

Process 0 prints what came of each way to train, as JSON: way -> hash of weights, optimizer and
losses, and these.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from data.batches import split_tokens
from engine.checkpoint.store import Snapshot, optimizer_tensors, restore, take_snapshot
from engine.config.schema import Config
from engine.distributed import overlap
from engine.distributed.team import TEAM
from engine.session.follower import follow, tell_begin
from engine.training.runtime import use_threads
from engine.training.trainer import Runtime, Trainer

SMALL: dict[str, Any] = {
    "model.n_layer": 2,
    "model.n_head": 2,
    "model.n_embd": 16,
    "model.block_size": 8,
    "train.batch_size": 8,
    "train.shards": 4,
    "train.max_steps": 20,
    "eval.batches": 3,
    "optim.learning_rate": 1e-2,
}
WAYS: dict[str, dict[str, Any]] = {
    "adamw": {},
    "muon, average": {"optim.optimizer": "muon", "optim.ema_decay": 0.9},
    "dropout": {"model.dropout": 0.2},
    "accumulation": {"train.batch_size": 4, "train.grad_accum_steps": 4},
    "bf16": {"system.precision": "bf16"},
    "fp16": {"system.precision": "fp16"},
    "fast": {"system.reduce": "fast"},
    "fast, accumulation": {
        "system.reduce": "fast",
        "train.batch_size": 4,
        "train.grad_accum_steps": 4,
    },
}
if sys.platform.startswith("linux") and shutil.which("g++"):
    WAYS["muon, native kernels"] = {"optim.optimizer": "muon", "system.kernels": "native"}


def main() -> None:
    use_threads(1)
    overlap.BUCKET_BYTES = 1000  # so that there are several
    TEAM.join()
    if TEAM.leads:
        print(json.dumps({way: train(changes) for way, changes in WAYS.items()}))
    else:
        follow()
    TEAM.leave()


def train(changes: dict[str, Any]) -> tuple[str, list[float]]:
    """Train in one way; return the hash of what comes of it, and the losses."""
    config = Config().replace(SMALL | changes)
    precision = "fp32" if config.system.precision == "auto" else config.system.precision
    reduce = "exact" if config.system.reduce == "auto" else config.system.reduce
    runtime = Runtime("cpu", precision, 1, 1, False, processes=TEAM.size, reduce=reduce)
    if config.system.kernels == "native":
        runtime = replace(runtime, kernels="native")
    split = split_tokens(np.random.default_rng(0).integers(0, 65, 4000).astype(np.uint16))
    trainer = Trainer(config, runtime, split, 65, TEAM)
    tell_begin(trainer)
    losses = [trainer.train_step().loss.item() for _ in range(2)]
    next(trainer.step_quanta())  # given up half-way
    losses.append(trainer.evaluate().loss)
    next(trainer.evaluate_quanta())
    kept = take_snapshot(trainer, {})
    trainer.adjust(config.replace({"optim.learning_rate": 5e-3, "train.batch_size": 16}))
    losses += [trainer.train_step().loss.item() for _ in range(2)]
    restore(trainer, Snapshot(kept.step, kept.model, kept.optimizer, kept.state))
    losses += [trainer.train_step().loss.item() for _ in range(2)]
    assert losses[-2:] != losses[:2], "it has begun anew"
    return described(trainer, losses), losses


def described(trainer: Trainer, losses: list[float]) -> str:
    found = hashlib.sha256(json.dumps(losses).encode())
    tensors = dict(trainer.evaluated_model.state_dict()) | optimizer_tensors(trainer)
    for name in sorted(tensors):
        numbers = tensors[name].detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
        found.update(name.encode() + numbers.tobytes())
    return found.hexdigest()


if __name__ == "__main__":
    main()
