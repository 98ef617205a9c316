"""The learning-rate finder's ramp of rates, and the rate that the losses suggest.

Smith 2017, "Cyclical Learning Rates for Training Neural Networks", section 3.3: train briefly while
the learning rate rises, and look at where the loss falls, stops falling and rises.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from data.errors import InputError
from engine.config.changes import at_learning_rate, rounded_rate
from engine.config.schema import SETTINGS, Config, OptimConfig
from engine.config.setting import Value, format_float
from engine.config.unused import uses_muon
from engine.metrics import Values

FIRST, LAST, STEPS = 1e-6, 1.0, 100
FEWEST_STEPS, MOST_STEPS = 10, 100_000
SMOOTHED_SHARE = 0.1  # of the steps, the span of the running average
DIVERGED = 2.0  # times the lowest average, at which the finder stops
LEAST_FALL = 0.05  # of the first loss; less may be noise
FALL_DONE = 0.6  # of the fall; docs/experiments.md says why not the point of steepest descent
HIGHEST = SETTINGS["optim.learning_rate"].maximum or math.inf
HIGHEST_MUON = SETTINGS["optim.muon_lr"].maximum or math.inf


@dataclass(frozen=True)
class Ramp:
    """Learning rates that grow exponentially from ``first`` to ``last``."""

    first: float = FIRST
    last: float = LAST
    steps: int = STEPS

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return float(self.first * (self.last / self.first) ** (step / (self.steps - 1)))

    @property
    def smoothing(self) -> float:
        """Weight of the old value in the running average of the loss."""
        return max(0.0, 1 - 1 / (SMOOTHED_SHARE * self.steps))


def ramp_for(
    config: Config, first: float = FIRST, last: float | None = None, steps: int = STEPS
) -> Ramp:
    """Choose and check the rates to try on a configuration.

    Args:
        config: If it uses Muon, ``muon_lr`` must stay within its bounds, too.
        last: The highest rate; None for 1, or as far as the bound of ``muon_lr`` allows.

    Raises:
        InputError: One or more problems, all reported at once.
    """
    highest = HIGHEST
    if uses_muon(config):
        highest = min(highest, HIGHEST_MUON / _muon_share(config.optim))
    top = min(LAST, highest) if last is None else last
    problems = []
    if not first > 0:
        problems.append(
            f"--from must be above 0, not {format_float(first, 6)}: the rate grows by a factor"
        )
    if not top <= highest:
        why = ", or optim.muon_lr would exceed its maximum" if highest < HIGHEST else ""
        problems.append(
            f"--to must be at most {format_float(highest, 6)}{why}, not {format_float(top, 6)}"
        )
    if not first < top and not problems:
        problems.append(
            f"--from {format_float(first, 6)} must be below --to {format_float(top, 6)}"
        )
    if not FEWEST_STEPS <= steps <= MOST_STEPS:
        problems.append(f"--steps must be {FEWEST_STEPS} to {MOST_STEPS:,}, not {steps:,}")
    if problems:
        raise InputError(*problems)
    return Ramp(first, top, steps)


def at_rate(config: Config, rate: float) -> Config:
    """Return a configuration with a constant rate, and no average of the weights.

    ``muon_lr`` keeps its ratio to ``learning_rate``.
    """
    optim = replace(
        config.optim,
        learning_rate=rate,
        muon_lr=rate * _muon_share(config.optim),
        schedule="constant",
        warmup_steps=0,
        ema_decay=0.0,
    )
    return replace(config, optim=optim)


@dataclass(frozen=True)
class Suggestion:
    """The result of the learning-rate finder.

    Attributes:
        learning_rate: The peak for the schedule; None if there is no suggestion.
        why: One sentence; without a rate it says what to do.
    """

    learning_rate: float | None
    why: str

    def changes(self, config: Config) -> dict[str, Value]:
        """Return the settings to change, none without a suggestion."""
        return {} if self.learning_rate is None else at_learning_rate(config, self.learning_rate)


def suggest(ramp: Ramp, smoothed: Values, diverged: bool) -> Suggestion:
    """Suggest the rate at which the loss had completed three fifths of its fall.

    Args:
        smoothed: (n,) the running average of the loss in the n steps taken.
        diverged: Whether it ended early because the loss diverged.
    """
    if not len(smoothed) or not math.isfinite(smoothed[0]):
        return Suggestion(None, _way_out(ramp, rose=True))
    start, lowest = float(smoothed[0]), int(np.nanargmin(smoothed))
    fall = start - float(smoothed[lowest])
    if fall < LEAST_FALL * start:
        rose = diverged or bool(smoothed[-1] > (1 + LEAST_FALL) * start)
        return Suggestion(None, _way_out(ramp, rose))
    done = int(np.argmax(smoothed <= start - FALL_DONE * fall))
    rate, bottom = rounded_rate(ramp.rate(done)), ramp.rate(lowest)
    fallen = f"at this rate the loss had completed {FALL_DONE:.0%} of its fall"
    if lowest == ramp.steps - 1:
        return Suggestion(
            rate,
            f"{fallen}, and it was still falling at {format_float(ramp.last, 2)}: more steps would "
            "give a more reliable result",
        )
    return Suggestion(
        rate,
        f"{fallen}; it was lowest at {format_float(bottom, 2)}, a rate too high for a whole run",
    )


def _muon_share(optim: OptimConfig) -> float:
    return optim.muon_lr / optim.learning_rate


def _way_out(ramp: Ramp, rose: bool) -> str:
    if rose:
        return (
            f"no suggestion: the loss rose without having fallen by {LEAST_FALL:.0%}: start from a "
            f"rate below {format_float(ramp.first, 2)}, or take more steps"
        )
    return (
        f"no suggestion: the loss did not fall by {LEAST_FALL:.0%} at any rate up to "
        f"{format_float(ramp.last, 2)}: go to a higher rate, or take more steps"
    )
