"""What is done about damaged checkpoints: they are named, and the newest whole one is taken."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from data.errors import InputError
from engine.checkpoint.store import (
    BEST,
    LATEST,
    Damaged,
    Snapshot,
    find_checkpoint,
    read_checkpoint,
    rebuild_model,
)
from engine.model import LanguageModel
from engine.runs.checkpoint_names import list_checkpoints

ASIDE = "damaged-"


@dataclass(frozen=True)
class Found:
    """A checkpoint that is whole, and those that should have been taken but are damaged."""

    path: Path
    snapshot: Snapshot
    passed_over: list[Damaged] = field(default_factory=list)

    def tell(self, warn: Callable[[str], None]) -> None:
        """Say which were passed over and why."""
        for one in self.passed_over:
            warn(
                f"the checkpoint {one.path.name} is damaged ({one.why}): {self.path.name} is taken "
                f"instead"
            )


def read_good(run: Path, which: str, with_optimizer: bool = True) -> Found:
    """Read a checkpoint; in the place of a damaged latest or best one the newest that is whole.

    Args:
        run: The run folder.
        which: ``latest``, ``best`` or a step; a step has no stand-in.
        with_optimizer: Read what only training needs, too.

    Raises:
        InputError: There is no such checkpoint, or none is whole.
    """
    first = find_checkpoint(run, which)
    if which not in (LATEST, BEST):
        return Found(first, read_checkpoint(first, with_optimizer))
    others = [path for path in reversed(list_checkpoints(run)) if path != first]
    damaged: list[Damaged] = []
    for path in (first, *others):
        try:
            return Found(path, read_checkpoint(path, with_optimizer), damaged)
        except Damaged as error:
            damaged.append(error)
    raise InputError(
        f"no checkpoint of the run {run.name!r} is whole; the newest, {first.name}, is damaged "
        f"({damaged[0].why}): put one back from a copy"
    )


def set_aside(path: Path) -> Path:
    """Give a damaged checkpoint another name, under which nobody takes it for a whole one.

    Returns:
        Where it is now; nothing of it is deleted.
    """
    aside = place_aside(path)
    path.rename(aside)
    return aside


def place_aside(path: Path) -> Path:
    """Where what is damaged is kept; something that lies aside already stays there."""
    names = (f"{ASIDE}{path.name}{suffix}" for suffix in ("", *(f"-{n}" for n in range(2, 1000))))
    return next(one for name in names if not (one := path.with_name(name)).exists())


def recover_latest(run: Path, warn: Callable[[str], None]) -> Snapshot:
    """The newest whole checkpoint of a run that is to go on; the damaged ones are set aside.

    Only for whoever holds the run's lock.

    Raises:
        InputError: None is whole; all are left where they are.
    """
    found = read_good(run, LATEST)
    for one in found.passed_over:
        aside = set_aside(one.path)
        warn(
            f"the checkpoint {one.path.name} is damaged ({one.why}): it was moved to {aside.name}, "
            f"and the run goes on from {found.path.name}"
        )
    return found.snapshot


def load_model(run: Path, which: str) -> LanguageModel:
    """The model of a run's checkpoint, in eval mode on the CPU, with its tokenizer.

    A damaged latest or best one is warned of and the newest whole one taken instead.

    Raises:
        InputError: There is no such checkpoint, or none is whole.
    """
    found = read_good(run, which, with_optimizer=False)
    found.tell(lambda message: warnings.warn(message, stacklevel=4))
    return rebuild_model(found.path, found.snapshot)
