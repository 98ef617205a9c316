"""Decide which checkpoints of a run are kept, reduced to their weights, or deleted.

Full ones, to continue from, are large: the newest few stay, the best, the latest, every k-th and
those that are pinned. The others keep their weights alone, as a history to look at and sample
from, the denser the nearer to now, within a budget.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

MOST_LIGHT = 256  # however small they are: a timeline is looked at by people


@dataclass(frozen=True)
class Kept:
    name: str
    step: int
    full: bool  # whether a run can continue from it
    light_bytes: int  # what it takes, or would take, without the optimizer's state
    diverged: bool = False  # no use to continue from, nor to look at


@dataclass(frozen=True)
class Rules:
    """What the settings in ``checkpoint`` ask for, and what else must stay for the moment."""

    keep: int  # how many of the newest full ones stay
    keep_every: int = 0  # full ones of every so many steps stay; 0 for none
    history_bytes: int = 0  # all that light ones may take
    needed: str = ""  # the name of the one from which the run is about to go on


@dataclass(frozen=True)
class Plan:
    """The names of checkpoints to reduce to their weights, and of those to delete."""

    lighten: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


def plan(kept: Sequence[Kept], untouchable: Collection[str], rules: Rules) -> Plan:
    """Apply the rules to all checkpoints of a run.

    Args:
        kept: Oldest first.
        untouchable: Names of those that stay as they are: latest, best, pinned.
    """
    full = [one for one in kept if one.full and not one.diverged]
    stay_full = {one.name for one in full[-rules.keep :]} | {*untouchable, rules.needed}
    if rules.keep_every:
        stay_full |= {one.name for one in full if one.step % rules.keep_every == 0}
    others = [one for one in kept if one.name not in stay_full]
    history = [one for one in others if not one.diverged]
    remain = {one.name for one in thinned(history, rules.history_bytes)}
    return Plan(
        lighten=tuple(one.name for one in history if one.full and one.name in remain),
        drop=tuple(one.name for one in others if one.name not in remain),
    )


def thinned(history: Sequence[Kept], budget: int) -> list[Kept]:
    """Drop light checkpoints until they fit, so that gaps grow with their distance from now.

    Each time the one goes whose absence leaves the smallest gap for its age.
    """
    left = list(history)
    size = sum(one.light_bytes for one in left)
    while left and (size > budget or len(left) > MOST_LIGHT):
        now = max(one.step for one in left)
        index = min(range(len(left)), key=partial(_loss_without, left, now))
        size -= left.pop(index).light_bytes
    return left


def _loss_without(history: Sequence[Kept], now: int, index: int) -> float:
    """Return the gap that a checkpoint would leave, divided by its age."""
    step = history[index].step
    before = history[index - 1].step if index else 0
    after = history[index + 1].step if index + 1 < len(history) else now + 1
    return abs(after - before) / (1 + now - step)
