"""The curve of a learning-rate finder, as it grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.reactive import var

from tui.text.numbers import format_loss
from tui.widgets.chart_widget import ChartWidget, Row, length_of

if TYPE_CHECKING:
    from engine.lr_finder.ramp import Ramp
    from engine.metrics import MetricStore
    from tui.charts.chart import Chart, Drawing


class LRFinderChart(ChartWidget):
    """Shows the training loss over the logarithm of the learning rate."""

    empty_text: var[str] = var("getting ready…")

    suggested: var[float | None] = var[float | None](None)
    """The rate to mark."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._ramp: Ramp | None = None
        self._store: MetricStore | None = None

    def show(self, ramp: Ramp, store: MetricStore) -> None:
        self._ramp, self._store = ramp, store
        self.refresh_data()

    def watch_suggested(self) -> None:
        self.refresh_data()

    def data_state(self) -> object:
        store = self._store
        seen = (id(store), len(store.column("train_loss"))) if store else None
        return seen, self._ramp, self.suggested

    steers = False

    def chart(self) -> Chart | None:
        store, ramp = self._store, self._ramp
        if store is None or ramp is None or not len(store.column("train_loss")):
            return None
        from tui.charts.lr_finder import rate_chart

        return rate_chart(ramp, store.column("train_loss"), self.suggested)

    def legend(self, drawing: Drawing, chart: Chart, width: int) -> list[Row]:
        column = chart.series[0].column
        row: Row = [
            ("━━ ", "train"),
            ("smoothed ", "legend"),
            (format_loss(column.last_smoothed), "legend"),
            ("  ⣿⣿ ", "raw"),
            ("raw ", "legend"),
            (format_loss(column.last), "tick"),
        ]
        return [row if length_of(row) <= width else row[:3]]
