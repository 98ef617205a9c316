"""A small chart of one kind of metrics: its title, the latest values, and the curves below."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from textual import events
from textual.message import Message
from textual.reactive import var

from engine.config.setting import format_float
from tui.text.numbers import format_rate
from tui.widgets.chart_widget import ChartWidget, Row, Value, cut, length_of, style_of
from tui.widgets.loss_chart import LIMITS, LossChart, flags_of

if TYPE_CHECKING:
    from engine.config.schema import OptimConfig
    from engine.metric_catalogue import ChartKind
    from engine.metrics import Column, MetricStore
    from tui.charts.chart import Chart, Drawing, Series

ROOMY = 12  # rows from which a chart has a second row for its values, and marks
COARSE_SMOOTHING = 0.6  # at most, of what is recorded about once a second


class Plan(NamedTuple):
    """What a run has ahead: the schedule of its learning rate."""

    optim: OptimConfig
    total_steps: int


class MetricChart(ChartWidget):
    """Shows the metrics of one chart of the catalogue over the same steps as the loss chart.

    It has no component classes of its own: Textual would match twenty for each of a dozen charts
    whenever the focus moves.

    Args:
        kind: What it shows.
        loss: The chart whose horizontal axis and styles it has.
    """

    selected: var[bool] = var(False)
    """Whether keys that concern one chart concern this one."""

    class Picked(Message):
        """The user wants to see this chart alone, or all of them again."""

        def __init__(self, chart: ChartWidget) -> None:
            super().__init__()
            self.chart = chart

        @property
        def control(self) -> ChartWidget:
            return self.chart

    def __init__(self, kind: ChartKind, loss: LossChart) -> None:
        super().__init__(classes="tile")
        self.kind = kind
        self.title = kind.title
        self._loss = loss
        self._store: MetricStore | None = None
        self._plan: Plan | None = None
        self._ahead: tuple[object, Column | None] = None, None
        self._suffix = ""

    def show(self, store: MetricStore, kind: ChartKind, plan: Plan | None) -> None:
        """Choose what to show; ``kind`` has the metrics that the run has."""
        self._store, self.kind, self._plan = store, kind, plan

    def watch_selected(self) -> None:
        self.refresh_data()

    def on_click(self, event: events.Click) -> None:
        if event.chain == 2:
            event.stop()
            self.post_message(self.Picked(self))

    def units(self) -> Sequence[str]:
        return self._loss.units()

    @property
    def explained(self) -> ChartKind:
        return self.kind

    @property
    def styled(self) -> ChartWidget:
        return self._loss

    @classmethod
    @cache  # as Textual's own
    def _get_component_classes(cls) -> frozenset[str]:
        return frozenset()

    # -- what is drawn -----------------------------------------------------------------------------

    def data_state(self) -> object:
        store = self._store
        if store is None:
            return None
        from engine.metric_catalogue import column_of

        columns = [column_of(store, metric) for metric in self.kind.metrics]
        if self.view.unit != "steps":
            columns += [store.column("wall_time"), store.column("tokens")]
        rows = tuple((len(column), id(column.rows()[2])) for column in columns)
        whole = self._loss.steps_of_axis(self.view)[0]
        return rows, whole, self.selected, self._plan, len(store.marks)

    def chart(self) -> Chart | None:
        from engine.metric_catalogue import scale_of
        from tui.charts.chart import Chart

        store = self._store
        if store is None:
            return None
        curves = [one for one in self._series(store) if len(one.column)]
        if not curves:
            return None
        largest = max((abs(one) for one in self._latest(curves)), default=0.0)
        size, self._suffix = scale_of(self.kind.unit, largest)
        self.unit_size = size
        series = [scaled(one, 1 / size) for one in curves]
        whole, reached = self._loss.steps_of_axis(self.view)
        ahead = self._schedule_ahead(reached)
        low, high = self.view.limits
        limits = None if low is None else low / size, None if high is None else high / size
        if ahead is not None:
            from tui.charts import raster
            from tui.charts.chart import Series

            series.append(Series(ahead, raster.GHOST, "ghost", "ahead", stroke=raster.DOTTED))
            if limits == (None, None) and self.view.y == "robust":
                limits = 0.0, self._highest_rate(store, ahead)
        return Chart(
            series,
            self.window(whole, reached, self._loss.axis(self.view)),
            self._smoothing(),
            self.view.y,
            limits,
            store.marks if self.size.height >= ROOMY else (),
            reached=reached,
            prefix=self._suffix if self.kind.unit == "amount" else "",  # its name says no unit
        )

    def _series(self, store: MetricStore) -> list[Series]:
        from engine.metric_catalogue import column_of, transform_of
        from tui.charts import raster
        from tui.charts.chart import Series

        found = []
        for place, metric in enumerate(self.kind.metrics):
            sparse = metric.name.startswith("val_")
            style = raster.VAL if sparse else raster.TRAIN
            if len(self.kind.metrics) > 2 or (place and not sparse):
                style = raster.FIRST_RUN + place % len(raster.RUNS)
            raw = raster.RAW if self.kind.dense and not sparse else None
            transform = transform_of(metric, store.references)
            column, form = column_of(store, metric), "sparse" if sparse else "dense"
            found.append(
                Series(column, style, form, metric.label, raw, transform=transform)  # type: ignore[arg-type]
            )
        return found

    def _smoothing(self) -> float:
        if self.kind.dense:
            return self.view.smoothing
        exact = self.kind.name == "learning_rate"  # its corners are no noise
        return 0.0 if exact else min(self.view.smoothing, COARSE_SMOOTHING)

    def _latest(self, series: Sequence[Series]) -> list[float]:
        from tui.charts.chart import value_at

        found = [value_at(one, None, 0.0)[1] for one in series]
        return [one for one in found if one is not None and math.isfinite(one)]

    # -- the schedule ------------------------------------------------------------------------------

    def _schedule_ahead(self, reached: int) -> Column | None:
        """Return the learning rates to come, as a curve; it is made anew now and then."""
        if self._plan is None or self.kind.name != "learning_rate":
            return None
        optim, total = self._plan
        part = max(total // 400, 1)
        key = optim, total, reached // part
        if self._ahead[0] != key:
            from engine.metrics import Column
            from engine.optim.schedule import schedule_ahead

            column = Column()
            column.extend(*schedule_ahead(optim, reached, total))
            self._ahead = key, column
        return self._ahead[1]

    def _highest_rate(self, store: MetricStore, ahead: Column) -> float | None:
        highest = [
            float(values.max())
            for values in (store.column("learning_rate").rows()[1], ahead.rows()[1])
            if len(values)
        ]
        return 1.05 * max(highest) if highest and max(highest) > 0 else None

    # -- the heading -------------------------------------------------------------------------------

    def format(self, value: float | None) -> str:
        return format_figure(value, self.kind.unit, self._suffix)

    def legend(self, drawing: Drawing, chart: Chart, width: int) -> list[Row]:
        flags = [one for one in flags_of(self, drawing) if one != "log" or not self.kind.log]
        if width < 60:  # limits are said in any case: they may hide something
            flags = [one for one in flags if one.startswith(LIMITS)]
        return self._heading(self.values(chart), width, " · ".join(flags))

    def reading(self, chart: Chart, cursor: int, width: int, rows: int) -> list[Row]:
        heading = self._heading(self.values(chart, cursor), width, "")
        return [*heading, *([] for _ in range(rows - len(heading)))][:rows]

    def _heading(self, values: list[Value], width: int, flags: str) -> list[Row]:
        """Return the title with the values beside it or, where they are many, below."""
        title: Row = [("▸ " if self.selected else "", "cursor"), (self.title, "legend")]
        if flags:
            title.append((f"  {flags}", "tick"))
        title = [one for one in title if one[0]]
        shown = [(one, one.value if one.smoothed is None else one.smoothed) for one in values]
        # of training and validation the signs say enough
        signs_differ = len({one.series.kind for one, _ in shown}) == len(shown)
        for named in (True, False)[: 1 + signs_differ]:
            row: Row = []
            for one, value in shown:
                sign = "●" if one.series.kind == "sparse" else "━"
                label = f"{one.series.name} " if named and len(shown) > 1 else ""
                row.append((f"  {sign} " if len(shown) > 1 else "  ", style_of(one.series)))
                row.append((f"{label}{self.format(value)}", _style_of_value(one, len(shown))))
            room = width - length_of(title) - length_of(row)
            if room >= 0:
                return [[*title, (" " * room, "blank"), *row]]
        return self._two_rows(title, shown, width)

    def _two_rows(
        self, title: Row, shown: list[tuple[Value, float | None]], width: int
    ) -> list[Row]:
        """Return the title with the unit, and below it the values, the largest first.

        Where they have no room their names are shortened; then of the smallest it is only said how
        many they are.
        """

        def size(one: tuple[Value, float | None]) -> float:
            return -abs(one[1]) if one[1] is not None and math.isfinite(one[1]) else 0.0

        ranked = sorted(shown, key=size)
        short = {one.label: one.short or one.label for one in self.kind.metrics}
        unit = self._suffix.strip()
        heading = cut([*title, (f" · {unit}" if unit else "", "tick")], width)
        row: Row = []
        for most, names in product(range(len(ranked), 0, -1), ({}, short)):
            parts = [self._part(one, value, names) for one, value in ranked[:most]]
            left = len(ranked) - most
            row = [*_joined(parts), *([(f" +{left}", "tick")] if left else [])]
            if length_of(row) <= width:
                break
        return [[one for one in heading if one[0]], cut(row, width)]

    def _part(self, one: Value, value: float | None, names: Mapping[str, str]) -> Row:
        sign = "●" if one.series.kind == "sparse" else "━"
        name = names.get(one.series.name, one.series.name)
        told = self.format(value).removesuffix(self._suffix)
        return [(sign, style_of(one.series)), (f"{name} {told}", "legend")]


def _joined(parts: Sequence[Row]) -> Row:
    return [one for at, part in enumerate(parts) for one in ([(" ", "blank")] * (at > 0) + part)]


def _style_of_value(one: Value, count: int) -> str:
    """A single value has the colour of its curve; others have that of their strokes beside them."""
    return style_of(one.series) if count == 1 else "legend"


def format_figure(value: float | None, unit: str, suffix: str) -> str:
    """Format a value of a chart whose axis counts what the suffix says."""
    if value is None or not math.isfinite(value):
        return "–" if value is None or math.isnan(value) else "∞"
    digits = 4 if unit in ("nats", "bits") and abs(value) < 100 else 3
    if unit == "rate":
        return format_rate(value)
    if abs(value) < 1e-3 and suffix:
        return f"0{suffix}"  # beside others of that unit
    return f"{format_float(value, digits)}{suffix}"


def scaled(series: Series, factor: float) -> Series:
    """Return a curve with its values, and those of its band, multiplied."""
    from dataclasses import replace

    if factor == 1.0:
        return series
    before = series.transform
    return replace(series, transform=lambda values: (before(values) if before else values) * factor)
