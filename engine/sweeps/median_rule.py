"""The median stopping rule, which prunes unpromising runs of a sweep.

A run is stopped at an evaluation if its best validation loss so far is above the median of the best
losses that the other runs of the sweep had reached by the same step (Golovin et al. 2017, "Google
Vizier", section 3.2.2, with bests instead of running averages, as in Optuna's ``MedianPruner``).
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
MEASURED_BY = (  # validation losses are comparable only between runs that agree in these
    *("data.corpus", "data.tokenizer", "data.vocab_size", "data.min_count", "data.val_share"),
    *("data.val", "data.val_split", "data.val_seed", "data.within_documents"),
    *("model.block_size", "train.batch_size", "eval.batches"),
)


@dataclass(frozen=True)
class MedianRule:
    """When the rule starts to apply."""

    after_runs: int = AFTER_RUNS  # other runs that must have reached the step
    after_steps: int = 0  # steps that every run may take; 0 for a quarter of its own

    def warmup(self, total_steps: int) -> int:
        """Return the step before which a run is never stopped."""
        return self.after_steps or -(-total_steps // WARMUP_SHARE)


def verdict(
    rule: MedianRule, own: History, others: Iterable[History], step: int, total_steps: int
) -> str:
    """Return why a run is stopped at a step; empty if it continues.

    ``own`` are its evaluations, ``others`` those of the runs to compare with.
    """
    if step not in own or not rule.warmup(total_steps) <= step < total_steps:
        return ""
    bests = [best for other in others if (best := best_by(other, step)) is not None]
    if len(bests) < rule.after_runs:
        return ""
    from statistics import median as median_of  # slows down the start of the app

    best, median = best_by(own, step), median_of(bests)
    if best is None or best <= median:
        return ""
    return (
        f"stopped at step {step:,} of {total_steps:,} by the median stopping rule: best "
        f"validation loss {best:.4f}, median of {len(bests)} other runs at that step {median:.4f}"
    )


def best_by(history: History, step: int) -> float | None:
    """Return the lowest loss up to a step (inf if all are NaN); None if it did not get there."""
    if not history or max(history) < step:
        return None
    losses = (loss for at, loss in history.items() if at <= step and not math.isnan(loss))
    return min(losses, default=math.inf)


def rule_warnings(rule: MedianRule, configs: Sequence[Config]) -> list[str]:
    """Return a sentence if the rule cannot stop any of the runs."""
    if len(configs) <= rule.after_runs:
        return [
            f"the median stopping rule stops no run: it needs more than {rule.after_runs} runs, "
            f"and there are {len(configs)}"
        ]
    if not any(_is_judged(rule, config) for config in configs):
        return [
            "the median stopping rule stops no run: none is evaluated between its warm-up and its "
            "last step; lower eval.interval"
        ]
    kinds = Counter(tuple(config.get(key) for key in MEASURED_BY) for config in configs)
    if max(kinds.values()) <= rule.after_runs:
        differing = [key for key in MEASURED_BY if len({one.get(key) for one in configs}) > 1]
        return [
            f"the median stopping rule stops no run: runs that differ in {' and '.join(differing)} "
            f"are evaluated differently and not compared"
        ]
    return []


def _is_judged(rule: MedianRule, config: Config) -> bool:
    interval, steps = config.eval.interval, config.train.max_steps
    if config.train.max_epochs or config.train.max_minutes:  # how many steps these are turns out
        return bool(interval)
    return bool(interval) and max(-(-rule.warmup(steps) // interval), 1) * interval < steps
