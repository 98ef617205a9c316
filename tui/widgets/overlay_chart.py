"""Several runs on one chart, under a legend with their names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace
from textual.reactive import var

from tui.charts.view import View
from tui.text.numbers import format_loss
from tui.widgets.chart_widget import ChartWidget, Row, cut, length_of, stroke, style_of
from tui.widgets.loss_chart import flags_of
from tui.widgets.metric_chart import format_figure, scaled

if TYPE_CHECKING:
    from engine.metrics import Mark
    from engine.runs.curves import Axis
    from tui.charts.chart import Chart, Drawing, Series
    from tui.widgets.chart_widget import Value

LOSS_UNIT = "nats"

COLOURS = "abcdef"
"""Of runs, by the last letter of the name of their style; the next runs have them again."""

MOST_LEGEND_SHARE = 4  # of the height: a quarter

SMOOTHING = 0.95  # of training losses: lines that cross all the time cannot be distinguished


class OverlayChart(ChartWidget):
    """Shows a curve of each run."""

    empty_text: var[str] = var("reading the runs …")

    has_steps = False  # but over what is compared

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.set_reactive(OverlayChart.view, View(smoothing=SMOOTHING))
        self._series: tuple[Series, ...] = ()
        self._selected = 0  # the place of the run that the legend shows in any case
        self._axis: Axis | None = None
        self._marks: tuple[Mark, ...] = ()
        self._figures: dict[int, float] = {}
        self._unit, self._suffix = LOSS_UNIT, ""  # of the values, and what the axis counts

    def select(self, place: int) -> None:
        """Scroll the legend to a run."""
        self._selected = place
        self.refresh_data()

    def show(
        self,
        series: Sequence[Series],
        axis: Axis,
        marks: Sequence[Mark] = (),
        unit: str = LOSS_UNIT,
        figures: Mapping[int, float] | None = None,
    ) -> None:
        """Choose what to show.

        Args:
            series: Their steps are whole numbers of what the axis counts.
            axis: What that is.
            marks: Events along it.
            unit: Of the values, as the catalogue of metrics has it.
            figures: What the legend has of a run, by its place, instead of its last value.
        """
        if axis is not self._axis:  # what is shown of one says nothing of the other
            self.set_reactive(OverlayChart.view, replace(self.view, zoom=None, cursor=None))
        self._unit = unit
        self._series, self._axis, self._marks = tuple(series), axis, tuple(marks)
        self._figures = {**(figures or {})}
        self.refresh_data()

    def data_state(self) -> object:
        series = [(one.name, one.style, id(one.column), one.kind) for one in self._series]
        beside = tuple(self._figures.items())
        return series, self._axis, self._marks, self._selected, self._unit, beside

    def chart(self) -> Chart | None:
        if not any(len(one.column) for one in self._series):
            return None
        from tui.charts.axes import full_range, recent_range
        from tui.charts.chart import Chart
        from tui.charts.window import XAxis

        last = max(one.column.last_step or 0 for one in self._series)
        whole = (recent_range if self.view.recent else full_range)(last)
        size, self._suffix = self._scale()
        return Chart(
            [scaled(one, 1 / size) for one in self._series],
            self.window(whole, last, XAxis.along(self._axis) if self._axis else None),
            self.view.smoothing,
            self.view.y,
            self.view.limits,
            self._marks,
            reached=last,
            prefix=self._suffix if self._unit == "amount" else "",
        )

    def _scale(self) -> tuple[float, str]:
        """Return what one of the vertical axis is, and its sign."""
        from engine.metric_catalogue import scale_of

        latest = [one.column.last for one in self._series if len(one.column)]
        known = [abs(one) for one in latest if one is not None and math.isfinite(one)]
        if any(one.band for one in self._series) or not known:
            return 1.0, ""
        self.unit_size, suffix = scale_of(self._unit, max(known))
        return self.unit_size, suffix

    def format(self, value: float | None) -> str:
        if self._unit == LOSS_UNIT:
            return format_loss(value)
        return format_figure(value, self._unit, self._suffix)

    def format_exactly(self, value: float | None) -> str:
        if self._unit == LOSS_UNIT and value is not None and 0.001 <= abs(value) < 1000:
            return f"{value:.4f}"
        return self.format(value)

    def legend(self, drawing: Drawing, chart: Chart, width: int) -> list[Row]:
        """Return the names, each with its letter and its last value.

        Where they need more than a quarter of the height, the legend scrolls.
        """
        values = self.values(chart)
        parts = [self._part(one) for one in values]
        parts += [[(flag, "tick")] for flag in flags_of(self, drawing) if "smoothing" not in flag]
        rows: list[Row] = [[]]
        at = 0  # the row of the selected run
        for i, part in enumerate(parts):
            if rows[-1] and length_of(rows[-1]) + length_of(part) > width:
                rows.append([])
            rows[-1] += [*part, ("  ", "blank")]
            if i < len(values) and values[i].series.place == self._selected:
                at = len(rows) - 1
        most = max(self.size.height // MOST_LEGEND_SHARE, 1)
        first = max(0, min(at, len(rows) - most))
        return [cut(row, width) for row in rows[first : first + most]]

    def _part(self, one: Value) -> Row:
        series = one.series
        value = one.value if one.smoothed is None else one.smoothed
        if self.view.cursor is None and series.place is not None:
            value = self._figures.get(series.place, value)
        return [
            (f"{series.letter} {stroke(series)} ", style_of(series)),
            (f"{series.name} ", "legend"),
            (self.format(value), "tick"),
        ]
