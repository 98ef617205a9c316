"""The health of the layers of a run, from its recorded metrics: maps over steps, and findings.

It reads what ``engine.session.health`` has recorded, in the metric store or in run.db.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from engine.config.setting import format_float
from engine.metric_catalogue import (
    ACTIVATION_STD,
    ATTENTION_ENTROPY,
    DEAD_UNITS,
    FAMILIES,
    GRAD_NORM,
    LAYER,
    UPDATE_RATIO,
    Family,
    family_of,
    is_layer,
    member,
    place_of,
    short_part,
)
from engine.metrics import MetricStore, Steps, Values
from engine.runs.database import Curve, reading

FAR = 100.0  # times the median of the others
GREAT_UPDATE = 0.1  # of the weights, in one step
DEAD = 0.5  # of the units
COLLAPSED, EVEN = 0.1, 0.98  # of the largest entropy
EVEN_MEASUREMENTS = 5  # after so many, a head should prefer some tokens
JUMP = 10.0  # of the residual stream, from block to block or over its own median
NEAR_OVERFLOW = 1e4  # of fp16, which ends at 65,504

HealthCurves: TypeAlias = Mapping[str, Curve]
"""The recorded members of all families, by the names of the metrics."""


@dataclass(frozen=True, eq=False)
class HealthMap:
    """One family over the steps.

    Attributes:
        family: Its words.
        parts: R layers or matrices, as the data passes them.
        steps: (S,), rising.
        values: (R, S); NaN where nothing was recorded.
    """

    family: Family
    parts: tuple[str, ...]
    steps: Steps
    values: Values


@dataclass(frozen=True)
class Healthy:
    """What a family is like where all is well.

    Attributes:
        told: One plain sentence.
        source: Where that is from.
    """

    told: str
    source: str


HEALTHY: dict[str, Healthy] = {
    GRAD_NORM: Healthy(
        f"Layers that learn alike have gradients of similar size; {FAR:.0f} times below or above "
        "the median of the others is suspicious.",
        "Glorot & Bengio 2010",
    ),
    UPDATE_RATIO: Healthy(
        "A step changes the weights by about a thousandth of their size, more at the start and "
        "with Muon, less as the learning rate falls.",
        "Karpathy, CS231n notes, Neural Networks Part 3",
    ),
    ACTIVATION_STD: Healthy(
        "Each block adds a little to the residual stream, so that its scale grows slowly from "
        "block to block and does not jump over the steps.",
        "Radford et al. 2019 (GPT-2), section 2.3",
    ),
    DEAD_UNITS: Healthy(
        "Each hidden unit is active for some tokens; a unit that never is does not learn.",
        "Lu et al. 2019, arXiv 1903.06733",
    ),
    ATTENTION_ENTROPY: Healthy(
        "Attention begins even, near 100 %, and falls as heads find what to look at, without "
        "collapsing to a single token everywhere.",
        "Zhai et al. 2023, arXiv 2303.06296",
    ),
}


@dataclass(frozen=True)
class Finding:
    """Today's value of one metric.

    Attributes:
        family: Its words.
        part: The layer or matrix.
        step: When it was measured.
        severity: 0 if nothing is suspicious; else the more, the higher, up to infinity.
        told: What is suspicious and why, one sentence; empty if nothing is.
    """

    family: Family
    part: str
    step: int
    value: float
    severity: float
    told: str

    @property
    def name(self) -> str:
        """The name of the metric."""
        return member(self.family.name, self.part)

    @property
    def healthy(self) -> Healthy:
        return HEALTHY[self.family.name]

    @property
    def is_suspicious(self) -> bool:
        return self.severity > 0


def curves_of(store: MetricStore) -> dict[str, Curve]:
    """Return the members of all families in a metric store."""
    names = [name for name in store.names() if family_of(name)]
    curves = {name: Curve(*store.column(name).snapshot()[:2]) for name in names}
    return {name: curve for name, curve in curves.items() if len(curve.steps)}


def read_curves(run: Path) -> dict[str, Curve]:
    """Read the members of all families from a run's database, along its present branch.

    Raises:
        InputError: The database is damaged.
    """
    with reading(run) as database:
        lineage = database.present_lineage()
        names = database.metric_names(*(one.branch for one in lineage))
        return {name: database.curve(name, lineage) for name in names if family_of(name)}


def why_empty(interval: int, resume: str) -> str:
    """Return what to say where nothing is recorded, as in runs of older versions.

    Args:
        interval: The setting ``eval.health_interval``.
        resume: What trains the run on.
    """
    if not interval:
        return (
            "the layers of this run are not measured, as eval.health_interval is off: set it, to "
            "100 for example"
        )
    return (
        f"the layers of this run were not measured yet: they are at the first step and every "
        f"{interval:,} steps of training; {resume} trains it on"
    )


def matrix(curves: HealthCurves, family: str, layers: bool | None = None) -> HealthMap:
    """Return a family as layers or matrices over steps, for a heat map.

    Args:
        curves: As ``curves_of`` or ``read_curves`` returns them.
        family: Its name, such as ``health/grad_norm``.
        layers: True takes whole layers alone, False single matrices alone, None both.

    Raises:
        KeyError: There is no such family.
    """
    words = {one.name: one for one in FAMILIES}[family]
    found = {part: curve for name, curve in curves.items() if (part := words.part_of(name))}
    parts = sorted((one for one in found if layers in (None, is_layer(one))), key=place_of)
    steps = _all_steps(found[part] for part in parts)
    values = np.full((len(parts), len(steps)), np.nan)
    for row, part in enumerate(parts):
        values[row, np.searchsorted(steps, found[part].steps)] = found[part].values
    return HealthMap(words, tuple(parts), steps, values)


def _all_steps(curves: Iterable[Curve]) -> Steps:
    steps: Steps = np.unique(np.concatenate([np.array([], np.int64), *(c.steps for c in curves)]))
    return steps


def findings(curves: HealthCurves) -> list[Finding]:
    """Return the latest value of each metric: the most suspicious first, then as data passes."""
    found: list[Finding] = []
    for family in FAMILIES:
        newest = matrix(curves, family.name).steps[-1:]
        for layers in (True, False):  # each is compared with its like
            over_steps = matrix(curves, family.name, layers)
            for row, part in enumerate(over_steps.parts):
                # one that was not measured with the others has nothing to say of today
                if curves[member(family.name, part)].steps[-1] == newest:
                    found.append(_judged(over_steps, row))
    return sorted(found, key=lambda one: -one.severity)  # stable


def _judged(over_steps: HealthMap, row: int) -> Finding:
    value, at = float(over_steps.values[row, -1]), _at(over_steps, row)
    if math.isfinite(value):
        severity, told = JUDGES[over_steps.family.name](over_steps, row)
    else:
        severity, told = math.inf, f"{at} has no finite value: its numbers overflowed"
    step = int(over_steps.steps[-1])
    return Finding(over_steps.family, over_steps.parts[row], step, value, severity, told)


Verdict: TypeAlias = tuple[float, str]  # severity, what is told
FINE: Verdict = (0.0, "")


def _judge_gradient(over_steps: HealthMap, row: int) -> Verdict:
    value, others = _beside_others(over_steps, row)
    if value * FAR < others and not _is_first(over_steps):
        told = f"{_times(value, others)} below the median of the others: it hardly learns"
        return _severity(others, value * FAR), f"the gradient of {_at(over_steps, row)} is {told}"
    if value > others * FAR:
        told = f"{_times(others, value)} above the median of the others: it alone decides clipping"
        return _severity(value, others * FAR), f"the gradient of {_at(over_steps, row)} is {told}"
    return FINE


def _judge_update(over_steps: HealthMap, row: int) -> Verdict:
    value, others = _beside_others(over_steps, row)
    if _is_first(over_steps):
        return FINE
    if value > GREAT_UPDATE:
        told = f"a step changes {_at(over_steps, row)} by {value:.0%} of its size: lower its rate"
        return _severity(value, GREAT_UPDATE), told
    if value * FAR < others:
        told = f"{_at(over_steps, row)} moves {_times(value, others)} less than the median"
        return _severity(others, value * FAR), f"{told} of the others: it hardly learns"
    return FINE


def _judge_activation(over_steps: HealthMap, row: int) -> Verdict:
    values, at = over_steps.values, _at(over_steps, row)
    value = float(values[row, -1])
    before = float(values[row - 1, -1]) if row else math.nan
    usual = float(np.nanmedian(values[row]))
    if value > NEAR_OVERFLOW:
        return _severity(value, NEAR_OVERFLOW), (
            f"the residual stream after {at} has a scale of {format_float(value, 3)}: "
            "fp16 overflows at 65,504"
        )
    if value > usual * JUMP:
        return _severity(value, usual * JUMP), (
            f"the residual stream after {at} is {_times(usual, value)} what it usually was: such a "
            f"jump precedes divergence"
        )
    if value > before * JUMP:
        return _severity(value, before * JUMP), (
            f"the residual stream grows {_times(before, value)} in {at}: it drowns the blocks "
            f"before it"
        )
    return FINE


def _judge_dead(over_steps: HealthMap, row: int) -> Verdict:
    value = float(over_steps.values[row, -1])
    if value <= DEAD:
        return FINE
    told = f"{value:.0%} of the hidden units of {_at(over_steps, row)} are active for no token"
    return _severity(value, DEAD), f"{told}: it wastes them, and they do not learn"


def _judge_entropy(over_steps: HealthMap, row: int) -> Verdict:
    course = over_steps.values[row]
    value, at = float(course[-1]), _at(over_steps, row)
    if value < COLLAPSED:
        return _severity(COLLAPSED, value), (
            f"the attention of {at} has collapsed to single tokens ({value:.0%} of the largest "
            f"entropy): that makes training unstable"
        )
    measured = course[np.isfinite(course)]
    if len(measured) >= EVEN_MEASUREMENTS and (measured > EVEN).all():
        return _severity(value, EVEN), (
            f"the attention of {at} was even at each of {len(measured)} measurements: its heads "
            f"have found nothing to look at"
        )
    return FINE


JUDGES: dict[str, Callable[[HealthMap, int], Verdict]] = {
    GRAD_NORM: _judge_gradient,
    UPDATE_RATIO: _judge_update,
    ACTIVATION_STD: _judge_activation,
    DEAD_UNITS: _judge_dead,
    ATTENTION_ENTROPY: _judge_entropy,
}


def _is_first(over_steps: HealthMap) -> bool:
    """Whether this is the first step, at which weights that begin at zero stop the gradients."""
    return bool(over_steps.steps[-1] <= 1)


def _beside_others(over_steps: HealthMap, row: int) -> tuple[float, float]:
    """Return the latest value of a row, and the median of the finite ones of the others.

    The median is that of all where there are no others: nothing stands out then.
    """
    today = over_steps.values[:, -1]
    others = np.delete(today, row)
    others = others[np.isfinite(others)]
    value = float(today[row])
    return value, float(np.median(others)) if len(others) else value


def _severity(larger: float, smaller: float) -> float:
    """Return how far a value is beyond a limit: 1 at the limit, 2 at ten times as far."""
    return 1.0 + math.log10(larger / smaller) if smaller > 0 else math.inf


def _times(smaller: float, larger: float) -> str:
    return f"{larger / smaller:,.0f} times" if smaller > 0 else "any number of times"


def _at(over_steps: HealthMap, row: int) -> str:
    """Return a part as it stands in a sentence: ``layer 3``, ``L3 attention.qkv``."""
    part = over_steps.parts[row]
    return f"layer {part.removeprefix(LAYER)}" if is_layer(part) else short_part(part)


def as_dict(curves: HealthCurves) -> dict[str, Any]:
    """Return maps and findings as plain values for JSON; what is not finite is None."""

    def plain(value: float) -> float | None:
        return value if math.isfinite(value) else None

    maps = {}
    for family in FAMILIES:
        one = matrix(curves, family.name)
        rows = [[plain(value) for value in row] for row in one.values.tolist()]
        maps[family.name] = {"parts": [*one.parts], "steps": one.steps.tolist(), "values": rows}
    told = [
        {
            "metric": one.name,
            "step": one.step,
            "value": plain(one.value),
            "suspicious": one.is_suspicious,
            "why": one.told,
            "healthy": one.healthy.told,
            "source": one.healthy.source,
        }
        for one in findings(curves)
    ]
    return {"maps": maps, "findings": told}
