"""Which checkpoints of a run stay, which become light, and which go.

Full ones, to go on from, are large: the newest few stay, the best, the latest, every k-th and
those that are pinned. The others keep their weights alone, as a history to look at and sample
from, the denser the nearer to now, within a budget.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

MOST_LIGHT = 256  # however small they are: a timeline is looked at by people


@dataclass(frozen=True)
class Kept:
    """A checkpoint on the disk.

    Attributes:
        name: Of its folder.
        step: Steps done.
        full: Whether a run can go on from it.
        light_bytes: What it takes, or would take, without the optimizer's state.
    """

    name: str
    step: int
    full: bool
    light_bytes: int


@dataclass(frozen=True)
class Rules:
    """What the settings in ``checkpoint`` ask for.

    Attributes:
        keep: How many of the newest full ones stay.
        keep_every: Full ones of every so many steps stay; 0 for none.
        history_bytes: All that light ones may take.
    """

    keep: int
    keep_every: int = 0
    history_bytes: int = 0


@dataclass(frozen=True)
class Plan:
    """The names of checkpoints that become light, and of those that go."""

    lighten: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


def plan(kept: Sequence[Kept], untouchable: Collection[str], rules: Rules) -> Plan:
    """Decide on all checkpoints of a run.

    Args:
        kept: Oldest first.
        untouchable: Names of those that stay as they are: latest, best, pinned.
        rules: What is asked for.
    """
    full = [one for one in kept if one.full]
    stay_full = {one.name for one in full[-rules.keep :]} | set(untouchable)
    if rules.keep_every:
        stay_full |= {one.name for one in full if one.step % rules.keep_every == 0}
    history = [one for one in kept if one.name not in stay_full]
    remain = {one.name for one in thinned(history, rules.history_bytes)}
    return Plan(
        lighten=tuple(one.name for one in history if one.full and one.name in remain),
        drop=tuple(one.name for one in history if one.name not in remain),
    )


def thinned(history: Sequence[Kept], budget: int) -> list[Kept]:
    """Drop light checkpoints until they fit, so that gaps grow with their distance from now.

    Each time the one goes whose absence leaves the smallest gap for its age.

    Args:
        history: Oldest first.
        budget: Bytes they may take together.
    """
    left = list(history)
    size = sum(one.light_bytes for one in left)
    while left and (size > budget or len(left) > MOST_LIGHT):
        index = min(range(len(left)), key=lambda at: _loss_without(left, at))
        size -= left.pop(index).light_bytes
    return left


def _loss_without(history: Sequence[Kept], index: int) -> float:
    """The gap around a checkpoint as a share of its age; the ends are neighbours of nothing."""
    step, now = history[index].step, max(one.step for one in history)
    before = history[index - 1].step if index else 0
    after = history[index + 1].step if index + 1 < len(history) else now + 1
    return abs(after - before) / (1 + now - step)
