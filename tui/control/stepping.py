"""The next larger or smaller value of a setting: rates by factors, sizes by halves and doubles."""

from __future__ import annotations

import math
from decimal import Decimal

from engine.config.setting import Setting, Value

FEW = 16  # counts below this go one by one
SHARE = Decimal("0.05")  # of probabilities
TENTH = Decimal("0.1")  # of temperatures, which halve or double the odds within a few of them
ROUND = (1, 2, 5, 10)  # a decade has three steps


def stepped(one: Setting, value: Value, up: bool) -> Value:
    """Return the next value in a direction; the same at a bound, or if the setting has no steps."""
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        wanted: float = _next_count(one, value, up)
    elif one.maximum is not None and one.maximum <= 1 and not one.name.startswith("ema"):
        wanted = _next_multiple(value, SHARE, up)
    elif one.name == "temperature":
        wanted = _next_multiple(value, TENTH, up)
    else:
        wanted = _next_round(value, up)
    low = one.minimum if one.minimum is not None else one.above
    bounded = min(wanted, one.maximum if one.maximum is not None else wanted)
    if low is not None:
        bounded = max(bounded, low)
    try:
        return one.check(int(bounded) if isinstance(value, int) else bounded)
    except ValueError:  # a bound that is not allowed itself
        return value


def _next_multiple(value: float, of: Decimal, up: bool) -> float:
    return float(round(Decimal(str(value)) / of + (1 if up else -1)) * of)


def _next_count(one: Setting, value: int, up: bool) -> int:
    if value < FEW or (value == FEW and not up):
        return value + (1 if up else -1)
    if one.unit == "steps" or value % 8:
        return round(_next_round(value, up))
    return value * 2 if up else value // 2


def _next_round(value: float, up: bool) -> float:
    """Return the next of 1, 2, 5, 10 … in a direction."""
    if value <= 0:
        return 1e-4 if up else 0.0
    exponent = math.floor(math.log10(value))
    grid = [float(f"{digit}e{exponent + shift}") for shift in (-1, 0, 1) for digit in ROUND[:3]]
    near = 1e-9 * value
    if up:
        return min(one for one in grid if one > value + near)
    return max(one for one in grid if one < value - near)
