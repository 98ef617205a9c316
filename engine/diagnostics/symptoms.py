"""Rules that detect training problems in the curves of a run.

Each rule takes the current record and returns a symptom or None. The rules are stateless, so that a
resumed or rewound run is judged like any other. They avoid false alarms at the cost of missing some
problems: each difference must exceed the noise of the batches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

MAD_TO_SIGMA = 1.4826  # standard deviation over median absolute deviation, if normal
JUMP_STEPS = 12  # a shorter jump may be a single unusual batch
BASE_STEPS = 96  # before the jump, to compare with
JUMP_SIGMAS = 6.0
SMALLEST_SIGMA = 0.01  # nats, for losses that hardly vary
CLIMB_STEPS = 32
CLIMB_SHARE = 0.1  # above its minimum
CLIMBED = 1.05  # a loss at the level of token frequencies may be a little above it
SMALLEST_CLIMB = 0.1  # nats; a loss near 0 varies by more than CLIMB_SHARE from batch to batch
SETTLED_STEPS = 100  # after warm-up; a healthy model has learned more than frequencies by then
UNLEARNED_SHARE = 0.97  # of the loss that the token frequencies alone give
MOVED_SHARE = 0.05  # of the first loss
UNMOVED_STEPS = 150
FLAT_STEPS = 300
RISING_EVALUATIONS = 3
CHANGE_SHARE = 0.01  # of the losses at the best evaluation: validation up, training down

Steps = NDArray[np.int64]
Values = NDArray[np.float64]


class Kind(StrEnum):
    """The problems, in the order in which they are looked for."""

    NON_FINITE = "non-finite"  # found by the trainer before the update, not by a rule
    SPIKE = "spike"
    TOO_HIGH = "learning rate too high"
    OVERFITTING = "overfitting"
    PLATEAU = "plateau"


@dataclass(frozen=True)
class Record:
    """The curves of a run up to a step.

    Attributes:
        steps: (n,) steps of the losses, ascending.
        losses: (n,) the latest training losses, in nats per token.
        first_loss: Before any step, or after the latest change of a setting.
        val_steps: (m,) steps of the evaluations, ascending.
        val_losses: (m,) validation losses, in nats per token.
        since: The last step at which a setting was changed; 0 if none was.
        warmup_steps: The schedule's.
        decayed: Whether the schedule has lowered the learning rate: a flat loss is expected then.
        frequency_loss: The entropy of the token frequencies, in nats: the loss of a model that
            knows nothing else.
    """

    steps: Steps
    losses: Values
    first_loss: float
    val_steps: Steps
    val_losses: Values
    since: int
    warmup_steps: int
    decayed: bool
    frequency_loss: float

    @property
    def settled(self) -> Values:
        """The losses after warm-up and after the last change of a setting."""
        first = np.searchsorted(self.steps, max(self.since, self.warmup_steps), side="right")
        return self.losses[int(first) :]


@dataclass(frozen=True)
class Symptom:
    kind: Kind
    before: float  # the loss before, in nats per token
    now: float  # the loss now
    step: int  # at which it began
    unmoved: bool = False  # the loss has not changed since the start

    @property
    def is_blow_up(self) -> bool:
        """Whether the loss has risen, so that the weights are worse than they were."""
        climbed = self.kind is Kind.TOO_HIGH and self.now > CLIMBED * self.before
        return self.kind is Kind.SPIKE or climbed


def median(values: Values) -> float:
    """Return the upper median; ``np.median`` takes ten times as long for so few values."""
    return float(medians_of(values[None, :])[0])


def medians_of(rows: Values) -> Values:
    """Return the upper median of each row: (n, m) -> (n,)."""
    middle = rows.shape[1] // 2
    return np.partition(rows, middle, axis=1)[:, middle]


def find_spike(record: Record) -> Symptom | None:
    """Detect a loss far above its recent values (a robust z-score, from median and MAD)."""
    losses = record.losses[-(BASE_STEPS + JUMP_STEPS) :]
    if len(losses) < BASE_STEPS + JUMP_STEPS:
        return None
    base, recent = losses[:BASE_STEPS], losses[BASE_STEPS:]
    before, now = median(base), median(recent)
    sigma = MAD_TO_SIGMA * median(np.abs(base - before))
    limit = before + JUMP_SIGMAS * max(sigma, SMALLEST_SIGMA)
    if now <= limit:
        return None
    first_above = int((recent > limit).argmax())
    return Symptom(Kind.SPIKE, before, now, _step_at(record, JUMP_STEPS, first_above))


def find_too_high(record: Record) -> Symptom | None:
    """Detect a loss that rises, or stays where token frequencies alone would bring it."""
    return _climb(record) or _stuck_at_frequencies(record)


def _climb(record: Record) -> Symptom | None:
    losses = record.settled if record.since else record.losses
    blocks = len(losses) // CLIMB_STEPS
    if blocks < 2:
        return None
    recent = losses[-blocks * CLIMB_STEPS :].reshape(blocks, CLIMB_STEPS)
    first = losses[0] if record.since else record.first_loss
    medians = np.append(first, medians_of(recent))
    lowest = int(medians.argmin())
    before, now = float(medians[lowest]), float(medians[-1])
    sigma = MAD_TO_SIGMA * median(np.abs(recent[-1] - now))
    if now - before <= max(CLIMB_SHARE * before, SMALLEST_CLIMB, sigma):
        return None
    return Symptom(Kind.TOO_HIGH, before, now, _step_at(record, len(losses), lowest * CLIMB_STEPS))


def _stuck_at_frequencies(record: Record) -> Symptom | None:
    settled = record.settled
    if len(settled) < SETTLED_STEPS or record.decayed or not _has_moved(record):
        return None
    if _has_learned(record) or _improves(settled[-SETTLED_STEPS:]):
        return None
    now = median(settled[-CLIMB_STEPS:])
    return Symptom(Kind.TOO_HIGH, record.frequency_loss, now, int(record.steps[-1]))


def find_overfitting(record: Record) -> Symptom | None:
    """Detect a validation loss that rises over evaluations while the training loss falls."""
    steps, losses = record.val_steps, record.val_losses
    if not len(losses) or not len(record.losses) or not _has_learned(record):
        return None
    best = int(losses.argmin())
    latest = losses[-RISING_EVALUATIONS:]
    if len(losses) - best <= RISING_EVALUATIONS or np.diff(latest).min() <= 0:
        return None
    interval = int(steps[-1] - steps[-2])
    then, now = (_mean_up_to(record, int(steps[i]), interval) for i in (best, -1))
    if latest[-1] <= (1 + CHANGE_SHARE) * losses[best] or now >= (1 - CHANGE_SHARE) * then:
        return None
    return Symptom(Kind.OVERFITTING, float(losses[best]), float(latest[-1]), int(steps[best]))


def find_plateau(record: Record) -> Symptom | None:
    """Detect a loss that never fell, or is no lower in its last third than in the one before.

    A loss at the level of token frequencies is left to ``find_too_high``.
    """
    losses = record.settled
    if record.decayed or len(losses) < UNMOVED_STEPS:
        return None
    unmoved = not _has_moved(record)
    if len(losses) < FLAT_STEPS and not unmoved:
        return None
    third = len(losses) // 3
    if _improves(losses[-2 * third :]) or not (unmoved or _has_learned(record)):
        return None
    before, now = float(losses[-2 * third : -third].mean()), float(losses[-third:].mean())
    return Symptom(Kind.PLATEAU, before, now, _step_at(record, 2 * third, 0), unmoved)


RULES: dict[Kind, Callable[[Record], Symptom | None]] = {
    Kind.SPIKE: find_spike,
    Kind.TOO_HIGH: find_too_high,
    Kind.OVERFITTING: find_overfitting,
    Kind.PLATEAU: find_plateau,
}


def _has_moved(record: Record) -> bool:
    if _has_learned(record):
        return True
    losses, first = record.losses, record.first_loss
    blocks = losses[: len(losses) // CLIMB_STEPS * CLIMB_STEPS].reshape(-1, CLIMB_STEPS)
    return bool(np.abs(medians_of(blocks) - first).max(initial=0.0) > MOVED_SHARE * first)


def _improves(losses: Values) -> bool:
    """Return whether the second half is lower than the first by more than the standard error."""
    half = len(losses) // 2
    first, second = losses[:half], losses[-half:]
    error = float(np.sqrt((first.var() + second.var()) / half))
    return bool(first.mean() - second.mean() > error)


def _has_learned(record: Record) -> bool:
    return median(record.losses[-CLIMB_STEPS:]) < UNLEARNED_SHARE * record.frequency_loss


def _mean_up_to(record: Record, step: int, steps: int) -> float:
    """Return the mean training loss of the last ``steps`` rows up to a step."""
    end = int(np.searchsorted(record.steps, step, side="right"))
    return float(record.losses[max(0, end - steps) : end].mean())


def _step_at(record: Record, from_end: int, further: int) -> int:
    """Return the step of the row ``further`` after the one ``from_end`` rows before the end."""
    row = len(record.steps) - from_end + further
    return int(record.steps[min(row, len(record.steps) - 1)])
