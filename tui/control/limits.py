"""Limits of a chart's axes, as they are typed, shown and remembered."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias

from data.errors import InputError, brief, suggest
from engine.config.setting import format_float

Ends: TypeAlias = tuple[float | None, float | None]
"""The lower and the upper end of an axis; None is left to the chart."""

FREE: Ends = (None, None)
EXAMPLES = "2..3.5, 2.., ..3.5, step 100..500, or auto"
LARGEST = 1e300

_STEPS = re.compile(r"\bsteps?\b", re.IGNORECASE)


class Limits(NamedTuple):
    """Those of both axes."""

    y: Ends
    steps: tuple[float, float] | None  # None shows all


def parse_limits(text: str) -> Limits:
    """Read limits; nothing, and auto, leave them to the chart.

    Raises:
        InputError: It is none of the forms in `EXAMPLES`, or the ends are not in order.
    """
    if text.strip().lower() in ("", "auto"):
        return Limits(FREE, None)
    values, *steps = _STEPS.split(text)
    if len(steps) > 1:
        raise InputError(f"steps are limited once, as {EXAMPLES}: not {brief(text)}")
    y = _ends(values) if values.strip(" ,") or not steps else FREE
    if not steps:
        return Limits(y, None)
    first, last = _ends(steps[0])
    if first is None or last is None or first < 0:
        raise InputError(f"steps need a first and a last one, as step 100..500: not {brief(text)}")
    return Limits(y, (first, last))


def _ends(text: str) -> Ends:
    parts = text.strip(" ,").split("..")
    if len(parts) != 2 or not any(part.strip() for part in parts):
        raise InputError(f"limits are {EXAMPLES}: not {brief(text.strip())}")
    low, high = (_number(part) if part.strip() else None for part in parts)
    if low is not None and high is not None and not low < high:
        both = f"{format_float(low, 6)} is not below {format_float(high, 6)}"
        raise InputError(f"the lower limit must be below the upper one: {both}")
    return low, high


def _number(text: str) -> float:
    try:
        number = float(text.replace(",", ""))
    except ValueError:
        number = math.nan
    if not abs(number) <= LARGEST:
        raise InputError(f"limits are numbers, as {EXAMPLES}: not {brief(text.strip())}")
    return number


def format_ends(ends: Ends) -> str:
    """``2..3.5``; empty if neither is chosen."""
    return "" if ends == FREE else "..".join("" if one is None else f"{one:.12g}" for one in ends)


def parse_all(text: str) -> dict[str, Ends]:
    """Read the vertical limits of several charts, as ``loss=2..3.5,grad_norm=..5``.

    Raises:
        InputError: They are none.
    """
    found = {}
    for part in filter(None, text.split(",")):
        name, equals, ends = part.partition("=")
        if not name.strip() or not equals:
            raise InputError(
                f"write the chart first, as loss=2..3.5,grad_norm=..5: not {brief(part)}"
            )
        found[name.strip()] = _ends(ends)
    return found


def check_charts(names: Iterable[str]) -> None:
    """Check names of charts.

    Raises:
        InputError: Some are of none that the catalogue has.
    """
    from engine.metric_catalogue import CHARTS, FAMILIES, family_of  # imports numpy

    known = [*(one.name for one in CHARTS), *(one.name for one in FAMILIES)]
    unknown = [name for name in names if name not in known and family_of(name) is None]
    if unknown:
        raise InputError(
            *(f"there is no chart {brief(name)}: {suggest(name, known)}" for name in unknown)
        )


def format_all(limits: Mapping[str, Ends]) -> str:
    """Return what `parse_all` reads."""
    return ",".join(f"{name}={format_ends(ends)}" for name, ends in limits.items() if ends != FREE)
