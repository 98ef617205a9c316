"""Load checkpoints; where the wanted one is damaged, the newest intact one instead."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from data.errors import InputError
from engine.checkpoint.store import (
    Damaged,
    Snapshot,
    find_checkpoint,
    read_checkpoint,
    rebuild_model,
    set_aside,
)
from engine.model import LanguageModel
from engine.runs.checkpoint_names import (
    BEST,
    LATEST,
    has_diverged,
    list_checkpoints,
    list_snapshots,
)


@dataclass(frozen=True)
class Found:
    """An intact checkpoint, and the damaged ones that were passed over for it."""

    path: Path
    snapshot: Snapshot
    passed_over: list[Damaged] = field(default_factory=list)

    def tell(self, warn: Callable[[str], None]) -> None:
        for one in self.passed_over:
            warn(
                f"the checkpoint {one.path.name} is damaged ({one.why}): {self.path.name} is used "
                f"instead"
            )


def read_good(run: Path, which: str, with_optimizer: bool = True) -> Found:
    """Read a checkpoint; instead of a damaged latest or best one, the newest intact one.

    Args:
        which: ``latest``, ``best`` or a step; a step has no stand-in.

    Raises:
        InputError: There is no such checkpoint, or none is intact.
    """
    first = find_checkpoint(run, which)
    if which not in (LATEST, BEST):
        return Found(first, read_checkpoint(first, with_optimizer))
    others = [path for path in reversed(list_checkpoints(run)) if path != first]
    damaged: list[Damaged] = []
    for path in (first, *others):
        try:
            snapshot = read_checkpoint(path, with_optimizer)
            if snapshot.has_diverged:  # an older version wrote it, and nothing else says so
                raise Damaged(path, "its weights are not finite")
            return Found(path, snapshot, damaged)
        except Damaged as error:
            damaged.append(error)
    raise InputError(
        f"no checkpoint of the run {run.name!r} is intact; the newest, {first.name}, is damaged "
        f"({damaged[0].why}): put one back from a copy"
    )


def recover_latest(run: Path, warn: Callable[[str], None]) -> Snapshot:
    """Read the newest intact checkpoint of a run to resume; damaged ones are renamed.

    The caller holds the lock of the run.

    Raises:
        InputError: None is intact; all are left where they are.
    """
    found = read_good(run, LATEST)
    there = list_snapshots(run)
    for path in filter(has_diverged, there[there.index(found.path) :]):
        warn(
            f"the weights of {path.name} are not finite, as training had diverged: the run "
            f"continues from {found.path.name}. A lower optim.learning_rate may keep it from that"
        )
    for one in found.passed_over:
        aside = set_aside(one.path)
        warn(
            f"the checkpoint {one.path.name} is damaged ({one.why}): it was moved to {aside.name}, "
            f"and the run continues from {found.path.name}"
        )
    return found.snapshot


def load_model(run: Path, which: str) -> LanguageModel:
    """Load the model of a checkpoint, in eval mode on the CPU, with its tokenizer.

    Instead of a damaged latest or best one, the newest intact one is loaded with a warning.

    Raises:
        InputError: There is no such checkpoint, or none is intact.
    """
    found = read_good(run, which, with_optimizer=False)
    found.tell(lambda message: warnings.warn(message, stacklevel=4))
    return rebuild_model(found.path, found.snapshot)
