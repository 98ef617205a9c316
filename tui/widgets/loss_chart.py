"""The loss chart: the running average over a band of raw values, validation, and ghosts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from textual.reactive import var

from tui.charts.view import UNITS
from tui.terminal.visible import visible_line
from tui.text.numbers import format_loss
from tui.widgets.chart_widget import ChartWidget, Row, cut, length_of, stroke

if TYPE_CHECKING:
    from engine.metric_catalogue import ChartKind
    from engine.metrics import Column, MetricStore
    from tui.charts.chart import Chart, Drawing
    from tui.charts.view import View
    from tui.charts.window import XAxis


LIMITS = "limits"  # begins the flag of a chosen range
MOST_OF_LABEL = 24  # characters, of a reference line


class LossChart(ChartWidget):
    """Shows the training and the validation loss of a metric store, and abandoned steps faintly."""

    empty_text: var[str] = var("no steps yet")

    growing: var[bool] = var(True)
    """Whether more steps may come: the horizontal axis then ends at a round step."""

    def __init__(
        self, *, id: str | None = None, classes: str | None = None, steers: bool = True
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.steers = steers
        self._store: MetricStore | None = None
        self._val_label = "val"
        self._max_step: int | None = None
        self._forked_from: Column | None = None
        self._forked_from_name = ""
        self._references: tuple[tuple[float, str], ...] = ()
        self._published: tuple[tuple[float, str], ...] = ()
        self._per_token: Mapping[str, float] = {}

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

    def show_references(self, references: Sequence[tuple[float, str]]) -> None:
        """Draw lines at values that losses are compared with, each with its label."""
        self._references = tuple((value, _short(label)) for value, label in references)
        self.refresh_data()

    def show_published(self, losses: Sequence[tuple[float, str]]) -> None:
        """Draw lines at what others have reached with a model like this one."""
        self._published = tuple(losses)
        self.refresh_data()

    def show_units(self, per_token: Mapping[str, float]) -> None:
        """Say what the horizontal axis can count besides steps, tokens and time.

        Args:
            per_token: Epochs and operations (FLOPs) for each token.
        """
        self._per_token = dict(per_token)
        self.refresh_data()

    def units(self) -> Sequence[str]:
        if self._store is None:
            return ("steps",)
        from tui.charts.window import axis_of

        return [unit for unit in UNITS if axis_of(self._store, unit, self._per_token)]

    @property
    def explained(self) -> ChartKind:
        from engine.metric_catalogue import CHARTS, LOSS

        return next(kind for kind in CHARTS if kind.name == LOSS)

    @property
    def cursor(self) -> int | None:
        """The step whose values are read."""
        return self.view.cursor

    @cursor.setter
    def cursor(self, step: int | None) -> None:
        self.view = replace(self.view, cursor=step)

    def take_preference(self, name: str, value: Any) -> None:
        super().take_preference(name, value)
        if name == "chart.smoothing":
            self.look(replace(self.view, smoothing=value))
        elif name == "chart.y_scale" and value != self.view.y:
            self.look(replace(self.view, y=value, limits=(None, None)))

    def watch_growing(self) -> None:
        self.refresh_data()

    def data_state(self) -> object:
        store = self._store
        seen = (id(store), store.version) if store is not None else None
        return (
            seen,
            self._val_label,
            self._max_step,
            id(self._forked_from),
            self._references,
            self._published,
            tuple(self._per_token.items()),
            self.growing,
        )

    def axis(self, view: View) -> XAxis | None:
        """Return what the horizontal axis of a view counts; None for steps."""
        from tui.charts.window import axis_of

        return axis_of(self._store, view.unit, self._per_token) if self._store else None

    def steps_of_axis(self, view: View) -> tuple[tuple[int, int], int]:
        """Return the first and the last step without a zoom, and the latest step."""
        from tui.charts.axes import full_range, recent_range

        store = self._store
        assert store is not None
        reached = last_step_of([store.column("train_loss"), store.column("val_loss")])
        if view.recent:
            return recent_range(reached, self._max_step), reached
        # all of its own past; another run's only where this one is going
        seen = last_step_of([self._forked_from] if self._forked_from else [])
        last = max(reached, last_step_of(store.ghosts("train_loss")))
        last = max(last, min(seen, self._max_step or seen))
        whole = full_range(last, self._max_step) if self.growing else (0, max(last, 1))
        return whole, reached

    def chart(self) -> Chart | None:
        store = self._store
        if store is None:
            return None
        from tui.charts import raster
        from tui.charts.chart import Chart, Series
        from tui.charts.picture import Reference

        train, val = store.column("train_loss"), store.column("val_loss")
        left, parent = store.ghosts("train_loss"), [self._forked_from] if self._forked_from else []
        if not any(map(len, (train, val, *left))):
            return None
        whole, reached = self.steps_of_axis(self.view)
        axis = self.axis(self.view)
        series = [
            Series(train, raster.TRAIN, name="train", raw=raster.RAW),
            Series(val, raster.VAL, "sparse", self._val_label.split(",")[0]),
            *(
                Series(one, raster.GHOST, "ghost", "abandoned", stroke=raster.DOTTED)
                for one in left
            ),
            *(
                Series(one, raster.GHOST, "ghost", self._forked_from_name, stroke=raster.DASHED)
                for one in parent
            ),
        ]
        return Chart(
            series,
            self.window(whole, reached, axis),
            self.view.smoothing,
            self.view.y,
            self.view.limits,
            [*store.events, *store.marks],
            [Reference(*one) for one in self._compared_with(store)],
            reached=reached,
        )

    def _compared_with(self, store: MetricStore) -> list[tuple[float, str]]:
        """Return the reference lines, the most telling first: it gets a place that two share."""
        if not self.view.references:
            return []
        return [*self._references, *self._published, *_known(store.references)]

    def legend(self, drawing: Drawing, chart: Chart, width: int) -> list[Row]:
        """Return the fullest legend that fits on one row."""
        flags: Row = []
        if text := " · ".join(self.flags(drawing)):
            flags = [("  ", "blank"), (text, "tick")]
        ghosts = self._ghost_legend(chart)
        label, short_label = self._val_label, self._val_label.split(",")[0]
        for detail, val_label, more in (
            (2, label, ghosts), (1, label, ghosts), (1, short_label, ghosts), (1, short_label, [])
        ):  # fmt: skip
            row = self._train_legend(chart, detail) + self._val_legend(chart, val_label)
            row += more + flags
            if length_of(row) <= width:
                return [row]
        row = self._train_legend(chart, 0) + self._val_legend(chart, short_label)
        return [row if length_of(row) <= width else cut(self._train_legend(chart, 0), width)]

    def flags(self, drawing: Drawing) -> list[str]:
        """Return what the legend says of the axes."""
        return flags_of(self, drawing)

    def format_exactly(self, value: float | None) -> str:
        if value is None or not math.isfinite(value) or not 0.001 <= abs(value) < 1000:
            return format_loss(value)
        return f"{value:.4f}"

    def _train_legend(self, chart: Chart, detail: int) -> Row:
        found = [one for one in self.values(chart) if one.series is chart.series[0]]
        if not found:
            return []
        value, smoothed = found[0].value, found[0].smoothed
        row: Row = [("━━ " if chart.smoothing else "⣿⣿ ", "train"), ("train ", "legend")]
        row.append((format_loss(value), _soundness(value)))
        if chart.smoothing and detail > 0:
            smoothed = smoothed if smoothed is not None and math.isfinite(smoothed) else None
            row.append((f" (smoothed {format_loss(smoothed)})", "tick"))
        if chart.smoothing and detail > 1:
            row += [("  ⢕⢕", "raw"), (" raw", "tick")]
        return row

    def _val_legend(self, chart: Chart, label: str) -> Row:
        column = chart.series[1].column
        if not len(column):
            return []
        value = column.last
        return [("  ●─ ", "val"), (f"{label} ", "legend"), (format_loss(value), _soundness(value))]

    def _ghost_legend(self, chart: Chart) -> Row:
        ghosts = {one.name: one for one in chart.series if one.kind == "ghost"}
        row: Row = []
        for name, one in ghosts.items():
            row += [(f"  {stroke(one)} ", "ghost"), (name, "tick")]
        return row


def flags_of(chart: ChartWidget, drawing: Drawing) -> list[str]:
    """Return what a legend says of the axes, where they are not the usual ones."""
    from tui.charts.axes import RECENT_SHARE

    view = chart.view
    flags: list[str] = []
    if view.y != "robust":
        flags.append("no log: not all positive" if drawing.log_refused else view.y)
    if chart.shown_limits:
        flags.append(f"{LIMITS} {chart.shown_limits}")
    if view.smoothing not in (0.0, 0.9):
        flags.append(f"smoothing {view.smoothing:g}")
    if view.zoom is not None:
        flags.append("zoom, follows" if view.follow else "zoom")
    elif view.recent:
        flags.append(f"last {RECENT_SHARE:.0%}")
    if view.unit != "steps":
        flags.append(f"over {view.unit}")
    if view.log_x:
        flags.append("log x")
    return flags


def _known(references: Mapping[str, float]) -> list[tuple[float, str]]:
    """Return what losses of this run are compared with."""
    named = (("bigram_loss", "bigram"), ("uniform_loss", "ln V"))
    return [(references[key], label) for key, label in named if key in references]


def _short(label: str) -> str:
    label = visible_line(label)
    return label if len(label) <= MOST_OF_LABEL else f"{label[: MOST_OF_LABEL - 1]}…"


def last_step_of(columns: Iterable[Column]) -> int:
    """Return how far the farthest of some curves reaches; 0 if there is none."""
    return max((column.last_step or 0 for column in columns), default=0)


def _soundness(value: float | None) -> str:
    return "legend" if value is None or math.isfinite(value) else "bad"
