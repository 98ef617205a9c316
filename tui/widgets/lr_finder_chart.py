"""The curve of a learning-rate finder, as it grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.reactive import var

from tui.widgets.chart_widget import ChartWidget, Row, centred, length_of
from tui.widgets.loss_chart import number

if TYPE_CHECKING:
    from engine.lr_finder.ramp import Ramp
    from engine.metrics import MetricStore

LEGEND_MIN_HEIGHT = 6  # below it the curve needs the row


class LRFinderChart(ChartWidget):
    """Shows the training loss over the logarithm of the learning rate."""

    empty_text: var[str] = var("getting ready…")
    """What to say while there is nothing to show."""

    suggested: var[float | None] = var[float | None](None)
    """The rate to mark."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rise: Ramp | None = None
        self._store: MetricStore | None = None

    def show(self, ramp: Ramp, store: MetricStore) -> None:
        """Choose what to show: the losses of a store, whose steps are those of a rise."""
        self._rise, self._store = ramp, store
        self.refresh_data()

    def watch_empty_text(self) -> None:
        self.refresh_data()

    def watch_suggested(self) -> None:
        self.refresh_data()

    def state(self) -> object:
        """Return everything a drawing depends on but its size."""
        store = self._store
        seen = (id(store), len(store.column("train_loss"))) if store else None
        return seen, self._rise, self.suggested, self.empty_text

    def drawing(self, width: int, height: int) -> list[Row]:
        """Return the legend and the rows of the chart, or a word on why there is none."""
        store, ramp = self._store, self._rise
        if store is None or ramp is None or not len(store.column("train_loss")):
            return centred(self.empty_text, width, height)
        from tui.charts.loss import draw
        from tui.charts.lr_finder import rate_chart

        legend_height = int(height >= LEGEND_MIN_HEIGHT)
        chart = rate_chart(ramp, store.column("train_loss"), self.suggested)
        frame = draw(chart, width, height - legend_height)
        rows = [frame.row(y) for y in range(height - legend_height)]
        return [self._legend(width), *rows] if legend_height else rows

    def _legend(self, width: int) -> Row:
        assert self._store
        column = self._store.column("train_loss")
        row: Row = [
            ("━━ ", "train"),
            ("smoothed ", "legend"),
            (number(column.last_smoothed), "legend"),
            ("  ⣿⣿ ", "raw"),
            ("raw ", "legend"),
            (number(column.last), "tick"),
        ]
        return row if length_of(row) <= width else row[:3]
