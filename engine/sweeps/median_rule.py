"""Stopping hopeless runs of a sweep: the median rule, on evaluations that are written down.

A run ends at an evaluation when its best validation loss so far is above the median of what the
other runs of its sweep had as their best by the same step (Golovin et al. 2017, "Google Vizier",
section 3.2.2, with bests in place of running averages, as Optuna's ``MedianPruner`` has it).
Nothing here reads a file or a clock.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from engine.config.schema import Config

History: TypeAlias = Mapping[int, float]  # validation losses by step, all measured the same way

AFTER_RUNS = 3
WARMUP_SHARE = 4  # a quarter of the steps
MEASURED_BY = (  # runs that differ in these have validation losses of another kind
    *("data.corpus", "data.tokenizer", "model.block_size", "train.batch_size", "eval.batches"),
)


@dataclass(frozen=True)
class MedianRule:
    """When the rule begins to stop runs.

    Attributes:
        after_runs: Other runs that must have come as far; so many are trained whole first.
        after_steps: Steps that every run takes; 0 for a quarter of its own.
    """

    after_runs: int = AFTER_RUNS
    after_steps: int = 0

    def warmup(self, total_steps: int) -> int:
        """The steps before which a run is left alone."""
        return self.after_steps or -(-total_steps // WARMUP_SHARE)


def verdict(
    rule: MedianRule, own: History, others: Iterable[History], step: int, total_steps: int
) -> str:
    """Why a run ends at a step; empty if it goes on.

    Args:
        rule: When it applies.
        own: The evaluations of the run.
        others: Those of the runs that it is held to.
        step: Where it is.
        total_steps: Where it would end.
    """
    if step not in own or not rule.warmup(total_steps) <= step < total_steps:
        return ""
    bests = [best for other in others if (best := best_by(other, step)) is not None]
    if len(bests) < rule.after_runs:
        return ""
    best, median = best_by(own, step), _median(bests)
    if best is None or best <= median:
        return ""
    return (
        f"stopped at step {step:,} of {total_steps:,} by the median rule: best validation loss "
        f"{best:.4f}, median of {len(bests)} other runs by then {median:.4f}"
    )


def best_by(history: History, step: int) -> float | None:
    """The lowest loss up to a step, infinite if none was a number; None if it came less far."""
    if not history or max(history) < step:
        return None
    losses = (loss for at, loss in history.items() if at <= step and not math.isnan(loss))
    return min(losses, default=math.inf)


def _median(numbers: Sequence[float]) -> float:
    """As ``statistics.median``, whose import would be felt when the app starts."""
    ordered, half = sorted(numbers), len(numbers) // 2
    return ordered[half] if len(numbers) % 2 else (ordered[half - 1] + ordered[half]) / 2


def rule_warnings(rule: MedianRule, configs: Sequence[Config]) -> list[str]:
    """A sentence if the rule cannot stop any of the runs."""
    if len(configs) <= rule.after_runs:
        return [
            f"the median rule stops none: it begins after {rule.after_runs} runs, and there are "
            f"{len(configs)}"
        ]
    if not any(_is_judged(rule, config) for config in configs):
        return [
            "the median rule stops none: no run is evaluated between its warm-up and its last "
            "step; lower eval.interval"
        ]
    kinds = Counter(tuple(config.get(key) for key in MEASURED_BY) for config in configs)
    if max(kinds.values()) <= rule.after_runs:
        differing = [key for key in MEASURED_BY if len({one.get(key) for one in configs}) > 1]
        return [
            f"the median rule stops none: runs that differ in {' and '.join(differing)} are "
            f"measured differently and not compared"
        ]
    return []


def _is_judged(rule: MedianRule, config: Config) -> bool:
    interval, steps = config.eval.interval, config.train.max_steps
    if config.train.max_epochs:  # the text decides how many steps these are
        return bool(interval)
    return bool(interval) and max(-(-rule.warmup(steps) // interval), 1) * interval < steps
