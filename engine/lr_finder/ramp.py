"""The learning-rate finder on paper: which rates to try, and what the losses say of them.

Smith 2017, "Cyclical Learning Rates for Training Neural Networks", section 3.3: train for a moment
while the rate rises, and see where the loss falls, where it stops falling and where it goes up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from data.errors import InputError
from engine.config.schema import SETTINGS, Config, OptimConfig
from engine.config.setting import Value
from engine.config.unused import uses_muon
from engine.metrics import Values

FIRST, LAST, STEPS = 1e-6, 1.0, 100
FEWEST_STEPS, MOST_STEPS = 10, 100_000
SMOOTHED_SHARE = 0.1  # of the steps, that the running average looks back on
DIVERGED = 2.0  # times the lowest average: what comes after says nothing more
LEAST_FALL = 0.05  # of the loss at the start: less is the noise of the batches
FALL_DONE = 0.6  # of the way down: docs/experiments.md says why this and not the steepest point
HIGHEST = SETTINGS["optim.learning_rate"].maximum or math.inf
HIGHEST_MUON = SETTINGS["optim.muon_lr"].maximum or math.inf


@dataclass(frozen=True)
class Ramp:
    """Learning rates that rise from step to step by the same factor.

    Args:
        first: Of the first step.
        last: Of the last step.
        steps: How many there are.
    """

    first: float = FIRST
    last: float = LAST
    steps: int = STEPS

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return float(self.first * (self.last / self.first) ** (step / (self.steps - 1)))

    @property
    def smoothing(self) -> float:
        """Weight of the past in the running average of the loss."""
        return max(0.0, 1 - 1 / (SMOOTHED_SHARE * self.steps))


def rise_for(
    config: Config, first: float = FIRST, last: float | None = None, steps: int = STEPS
) -> Ramp:
    """The rates to try on a configuration.

    Args:
        config: With Muon, its second rate must stay within its bounds, too.
        first, last: Ends of the rise; None goes up to 1, or as far as Muon's rate may.
        steps: How many.

    Raises:
        InputError: All that is wrong with them, at once.
    """
    highest = HIGHEST
    if uses_muon(config):
        highest = min(highest, HIGHEST_MUON / _muon_share(config.optim))
    top = min(LAST, highest) if last is None else last
    problems = []
    if not first > 0:
        problems.append(f"--from must be above 0, not {first:g}: a rate that rises needs a start")
    if not top <= highest:
        why = ", or optim.muon_lr would pass its bound" if highest < HIGHEST else ""
        problems.append(f"--to must be at most {highest:g}{why}, not {top:g}")
    if not first < top and not problems:
        problems.append(f"--from {first:g} must be below --to {top:g}: the rate is to rise")
    if not FEWEST_STEPS <= steps <= MOST_STEPS:
        problems.append(f"--steps must be {FEWEST_STEPS} to {MOST_STEPS:,}, not {steps:,}")
    if problems:
        raise InputError(*problems)
    return Ramp(first, top, steps)


def at_rate(config: Config, rate: float) -> Config:
    """A configuration that trains at one rate: no schedule, no warm-up, no average.

    Muon's rate keeps its proportion to the other.
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
    """What came out.

    Args:
        learning_rate: Of the schedule's peak; None if the losses do not tell.
        why: One sentence; without a rate it says what to do.
    """

    learning_rate: float | None
    why: str


def suggest(ramp: Ramp, smoothed: Values, diverged: bool) -> Suggestion:
    """The rate by which the loss had made three fifths of its fall.

    Args:
        rise: The rates.
        smoothed: The running average of the loss, of as many steps as were taken.
        diverged: Whether the test ended because the loss went up and away.
    """
    if not len(smoothed) or not math.isfinite(smoothed[0]):
        return Suggestion(None, _way_out(ramp, rose=True))
    start, lowest = float(smoothed[0]), int(np.nanargmin(smoothed))
    fall = start - float(smoothed[lowest])
    if fall < LEAST_FALL * start:
        rose = diverged or bool(smoothed[-1] > (1 + LEAST_FALL) * start)
        return Suggestion(None, _way_out(ramp, rose))
    done = int(np.argmax(smoothed <= start - FALL_DONE * fall))
    rate, bottom = _rounded(ramp.rate(done)), ramp.rate(lowest)
    fallen = f"by this rate the loss had made {FALL_DONE:.0%} of its fall"
    if lowest == ramp.steps - 1:
        return Suggestion(
            rate,
            f"{fallen}, and it was falling still at {ramp.last:.2g}: a test of more steps would be "
            f"surer",
        )
    return Suggestion(
        rate,
        f"{fallen}; it was lowest at {bottom:.2g}, which a whole training would hardly bear",
    )


def as_settings(config: Config, rate: float) -> dict[str, Value]:
    """What to set to train at a suggested rate: both of Muon's, and a floor that fits below."""
    optim = config.optim
    settings: dict[str, Value] = {"optim.learning_rate": rate}
    if uses_muon(config):
        settings["optim.muon_lr"] = _rounded(rate * _muon_share(optim))
    if optim.schedule != "constant" and optim.min_lr > rate:
        settings["optim.min_lr"] = _rounded(rate * optim.min_lr / optim.learning_rate)
    return settings


def _muon_share(optim: OptimConfig) -> float:
    return optim.muon_lr / optim.learning_rate


def _rounded(rate: float) -> float:
    """Two digits: the test knows no more."""
    return float(f"{rate:.1e}")


def _way_out(ramp: Ramp, rose: bool) -> str:
    if rose:
        return (
            f"no suggestion: the loss went up without having fallen by {LEAST_FALL:.0%}: start the "
            f"test from a lower rate than {ramp.first:.2g}, or let it take more steps"
        )
    return (
        f"no suggestion: the loss did not fall by {LEAST_FALL:.0%} at any rate up to "
        f"{ramp.last:.2g}: let the test go higher, or take more steps"
    )
