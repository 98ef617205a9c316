"""Settings that several processes cannot train with."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.config.schema import Config, TrainConfig


def misfits_of_shards(train: TrainConfig, sequences: int) -> list[str]:
    """Return why the sequences of a step cannot be divided into its shards."""
    shards = train.shards
    if shards.bit_count() != 1:
        near = 1 << (shards.bit_length() - 1)
        return [f"train.shards is {shards}, and must be a power of two, such as {near}"]
    if sequences % shards == 0:
        return []
    step = shards // math.gcd(shards, train.grad_accum_steps)
    batch = max(step, round(train.batch_size / step) * step)
    return [
        f"the {sequences:,} sequences of a step cannot be divided into {shards} shards of the "
        f"same size: set train.batch_size to {batch}"
    ]


def misfits_of_a_divided_model(config: Config) -> list[str]:
    """Return what ``system.shard`` does not do, each with a way out."""
    optim, system = config.optim, config.system
    if not system.shard:
        return []
    refused = (
        (optim.optimizer == "muon", "Muon needs whole matrices", "optim.optimizer=adamw"),
        (optim.ema_decay > 0, "it keeps no average of the weights", "optim.ema_decay=off"),
        (system.compile, "it does not train a compiled model", "system.compile=off"),
        (system.kernels == "native", "it uses PyTorch's kernels", "system.kernels=auto"),
        (system.reduce == "exact", "its sums depend on their number", "system.reduce=auto"),
    )
    return [
        f"system.shard divides a model among processes, and {why}: --set {way_out}, or leave "
        f"system.shard off"
        for is_so, why, way_out in refused
        if is_so
    ]
