"""The chart of the learning-rate finder: the loss over the logarithm of the rate."""

from __future__ import annotations

import math
from collections.abc import Callable

from engine.lr_finder.ramp import Ramp
from engine.metrics import Column, Mark
from tui.charts import raster
from tui.charts.axes import Ticks
from tui.charts.chart import Chart, Series
from tui.charts.window import Window
from tui.text.numbers import format_rate

ROOM = 1.25  # times the first loss: divergence must not flatten the fall before it
MANTISSAS = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0))  # of the labels, the more the more room


def rate_chart(ramp: Ramp, losses: Column, suggested: float | None) -> Chart:
    """Return the chart of losses by step, counted from 0: the rate's logarithm is linear in it."""
    marks = [Mark(_step_of(ramp, suggested), format_rate(suggested))] if suggested else []
    first = losses.snapshot()[2][:1]
    ceiling = ROOM * float(first[0]) if len(first) and math.isfinite(first[0]) else math.inf
    return Chart(
        [Series(losses, raster.TRAIN, raw=raster.RAW)],
        Window(0, ramp.steps - 1, ticks_of=rate_ticks(ramp)),
        losses.smoothing,
        "full",
        marks=marks,
        ceiling=ceiling,
    )


def rate_ticks(ramp: Ramp) -> Callable[[int], Ticks]:
    def ticks(most: int) -> Ticks:
        found = [_round_rates(ramp, mantissas) for mantissas in MANTISSAS]
        fitting = [rates for rates in found if len(rates) <= most]
        chosen = max(fitting, key=len) if fitting else _thinned(found[0], most)
        return [(_place(ramp, rate), format_rate(rate)) for rate in chosen]

    return ticks


def _round_rates(ramp: Ramp, mantissas: tuple[float, ...]) -> list[float]:
    decades = range(math.floor(math.log10(ramp.first)), math.ceil(math.log10(ramp.last)) + 1)
    every = [float(f"{mantissa}e{decade}") for decade in decades for mantissa in mantissas]
    slack = 1 + 1e-9
    return [rate for rate in every if ramp.first / slack <= rate <= ramp.last * slack]


def _thinned(rates: list[float], most: int) -> list[float]:
    return rates[:: math.ceil(len(rates) / most)] if rates else []


def _place(ramp: Ramp, rate: float) -> float:
    return math.log(rate / ramp.first) / math.log(ramp.last / ramp.first)


def _step_of(ramp: Ramp, rate: float) -> int:
    return round(_place(ramp, rate) * (ramp.steps - 1))
