"""The loss chart: raw values faint, the running average bright, validation on top."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from textual.reactive import var

from tui.text.numbers import format_loss
from tui.widgets.chart_widget import ChartWidget, Row, length_of

if TYPE_CHECKING:
    from engine.metrics import Column, MetricStore
    from tui.charts.loss import Chart


class LossChart(ChartWidget["Chart"]):
    """Shows the training and the validation loss of a metric store, and abandoned steps faintly."""

    empty_text: var[str] = var("press space to start training")

    smooth: var[bool] = var(True)
    """Whether the training curve is shown smoothed, above its raw values."""

    cursor: var[int | None] = var[int | None](None)
    """A step that is being looked at."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._store: MetricStore | None = None
        self._val_label = "val"
        self._max_step: int | None = None
        self._forked_from: Column | None = None
        self._forked_from_name = ""

    def show(
        self, store: MetricStore, *, max_step: int | None = None, val_label: str = "val"
    ) -> None:
        """Choose what to show.

        Args:
            store: Where the curves are.
            max_step: Where the run will end, if that is known; the axis does not reach beyond it.
            val_label: What the validation is, as "val, 20 of 145 batches".
        """
        self._store, self._max_step, self._val_label = store, max_step, val_label
        self.refresh_data()

    def show_parent(self, name: str, curve: Column | None) -> None:
        """Show, as a ghost, how the run went on that this one was forked from.

        Args:
            name: Of that run.
            curve: Its training loss after the fork; None shows none.
        """
        self._forked_from_name, self._forked_from = name, curve
        self.refresh_data()

    def toggle_smooth(self) -> None:
        self.smooth = not self.smooth

    def watch_smooth(self) -> None:
        self.refresh_data()

    def watch_cursor(self) -> None:
        self.refresh_data()

    def data_state(self) -> object:
        store = self._store
        seen = (id(store), store.version) if store is not None else None
        return (
            seen,
            self._val_label,
            self._max_step,
            id(self._forked_from),
            self.smooth,
            self.cursor,
        )

    def picture(self) -> Chart | None:
        store = self._store
        if store is None:
            return None
        from engine.metrics import Mark
        from tui.charts.loss import Chart

        train, val = store.column("train_loss"), store.column("val_loss")
        left, parent = store.ghosts("train_loss"), [self._forked_from] if self._forked_from else []
        if not any(map(len, (train, val, *left))):
            return None
        last = max(train.last_step or 0, val.last_step or 0)
        if self.window == "full":  # all of its own past; another run's only where this one is going
            seen = last_step_of(parent)
            last = max(last, last_step_of(left), min(seen, self._max_step or seen))
        first, end = self.steps_shown(last, self._max_step)
        marks = store.marks
        if self.cursor is not None:
            marks = [*marks, Mark(self.cursor, f"step {self.cursor:,}")]
        return Chart(train, val, first, end, marks, self.log_y, self.smooth, [*left, *parent])

    def legend(self, picture: Chart, width: int) -> list[Row]:
        """Return the fullest legend that fits on one row."""
        flags: Row = []
        if text := " · ".join(self.flags(picture, width)):
            flags = [("  ", "blank"), (text, "tick")]
        train, val, ghosts = picture.train, picture.val, self._ghost_legend(picture)
        label, short_label = self._val_label, self._val_label.split(",")[0]
        for detail, val_label, more in (
            (2, label, ghosts), (1, label, ghosts), (1, short_label, ghosts), (1, short_label, [])
        ):  # fmt: skip
            row = self._train_legend(train, detail) + _val_legend(val, val_label) + more + flags
            if length_of(row) <= width:
                return [row]
        row = self._train_legend(train, 0) + _val_legend(val, short_label)
        return [row if length_of(row) <= width else self._train_legend(train, 0)]

    def _train_legend(self, column: Column, detail: int) -> Row:
        if not len(column):
            return []
        row: Row = [("━━ " if self.smooth else "⣿⣿ ", "train"), ("train ", "legend")]
        row.append((format_loss(column.last), _soundness(column.last)))
        if self.smooth and detail > 0:
            row.append((f" (smoothed {format_loss(column.last_smoothed)})", "tick"))
        if self.smooth and detail > 1:
            row += [("  ⣿⣿", "raw"), (" raw", "tick")]
        return row

    def _ghost_legend(self, chart: Chart) -> Row:
        names = ["abandoned"] if len(chart.ghosts) > bool(self._forked_from) else []
        names += [self._forked_from_name] if self._forked_from else []
        return [("  ── ", "ghost"), (", ".join(names), "tick")] if names else []


def last_step_of(columns: Iterable[Column]) -> int:
    """Return how far the farthest of some curves reaches; 0 if there is none."""
    return max((column.last_step or 0 for column in columns), default=0)


def _val_legend(column: Column, label: str) -> Row:
    if not len(column):
        return []
    value = column.last
    return [("  ●─ ", "val"), (f"{label} ", "legend"), (format_loss(value), _soundness(value))]


def _soundness(value: float | None) -> str:
    return "legend" if value is None or math.isfinite(value) else "bad"
