"""The loss chart: raw values faint, the running average bright, validation on top."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, TypeAlias

from textual.reactive import var

from tui.widgets.chart_widget import ChartWidget, Row, centred, length_of

if TYPE_CHECKING:
    # Drawing loads numpy and plotext, and there is nothing to draw before the first paint.
    from engine.metrics import Column, MetricStore
    from tui.charts.loss import Chart

Window: TypeAlias = Literal["full", "recent"]

RECENT_SHARE = 0.2
"""How much of the steps so far the recent window shows."""

EARLY_WINDOW = 100
"""The horizontal axis never ends earlier, so that the first steps do not race across it."""

LEGEND_MIN_HEIGHT = 6

# Ends of the horizontal axis, as factors of a power of ten: fine enough that at least two thirds
# of the axis are in use, coarse enough that it seldom moves.
_ENDS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


class LossChart(ChartWidget):
    """Shows a training and a validation curve of a metric store, and what else might have been."""

    log_y: var[bool] = var(False)
    """Logarithmic losses, where all of them are positive."""

    smooth: var[bool] = var(True)
    """Whether the training curve is shown smoothed, above its raw values."""

    window: var[Window] = var[Window]("full")
    """All steps, or the last fifth of them."""

    cursor: var[int | None] = var[int | None](None)
    """A step that is being looked at."""

    empty_text: var[str] = var("press space to start training")
    """What to say while there is nothing to show."""

    def __init__(
        self, *, name: str | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._store: MetricStore | None = None
        self._train, self._val = "train_loss", "val_loss"
        self._val_label = "val"
        self._max_step: int | None = None
        self._origin: Column | None = None
        self._origin_name = ""

    def show(
        self,
        store: MetricStore | None,
        *,
        train: str = "train_loss",
        val: str = "val_loss",
        max_step: int | None = None,
        val_label: str = "val",
    ) -> None:
        """Choose what to show.

        Args:
            store: Where the curves are; None shows an empty chart.
            train: Name of the dense curve.
            val: Name of the sparse curve.
            max_step: Where the run will end, if that is known; the axis does not reach beyond it.
            val_label: What the validation is, as "val, 20 of 145 batches".
        """
        self._store = store
        self._train, self._val = train, val
        self._max_step = max_step
        self._val_label = val_label
        self.refresh_data()

    def show_parent(self, name: str, curve: Column | None) -> None:
        """Show, as a ghost, how the run went on that this one was forked off.

        Args:
            name: Of that run.
            course: Its training loss after the fork; None shows none.
        """
        self._origin_name, self._origin = name, curve
        self.refresh_data()

    def toggle_log(self) -> None:
        """Switch between a linear and a logarithmic axis."""
        self.log_y = not self.log_y

    def toggle_smooth(self) -> None:
        """Switch the running average on or off."""
        self.smooth = not self.smooth

    def toggle_window(self) -> None:
        """Switch between all steps and the recent ones."""
        self.window = "recent" if self.window == "full" else "full"

    def watch_log_y(self) -> None:
        self.refresh_data()

    def watch_smooth(self) -> None:
        self.refresh_data()

    def watch_window(self) -> None:
        self.refresh_data()

    def watch_cursor(self) -> None:
        self.refresh_data()

    def watch_empty_text(self) -> None:
        self.refresh_data()

    def state(self) -> object:
        """Return everything a drawing depends on but its size."""
        store = self._store
        return (
            (id(store), store.version) if store is not None else None,
            (self._train, self._val, self._val_label, self._max_step, id(self._origin)),
            (self.log_y, self.smooth, self.window, self.cursor, self.empty_text),
        )

    def drawing(self, width: int, height: int) -> list[Row]:
        """Return the legend and the rows of the chart, or a word on why there is none."""
        store = self._store
        if store is None or not self._has_curves(store):
            return centred(self.empty_text, width, height)
        from tui.charts.loss import draw

        chart = self._chart(store)
        legend_height = int(height >= LEGEND_MIN_HEIGHT)
        frame = draw(chart, width, height - legend_height)
        rows = [frame.row(y) for y in range(height - legend_height)]
        return [self._legend(chart, width), *rows] if legend_height else rows

    def _has_curves(self, store: MetricStore) -> bool:
        own = (store.column(name) for name in (self._train, self._val))
        return any(map(len, (*own, *store.ghosts(self._train))))

    def _chart(self, store: MetricStore) -> Chart:
        from engine.metrics import Mark
        from tui.charts.loss import Chart

        train, val = store.column(self._train), store.column(self._val)
        left, origin = store.ghosts(self._train), [self._origin] if self._origin else []
        last = max(train.last_step or 0, val.last_step or 0)
        recent = self.window == "recent"
        if not recent:  # all of its own past; another run's only where this one is going
            seen = last_step_of(origin)
            last = max(last, last_step_of(left), min(seen, self._max_step or seen))
        first, end = (recent_range if recent else full_range)(last, self._max_step)
        marks = store.marks
        if self.cursor is not None:
            marks = [*marks, Mark(self.cursor, f"step {self.cursor:,}")]
        return Chart(train, val, first, end, marks, self.log_y, self.smooth, [*left, *origin])

    def _legend(self, chart: Chart, width: int) -> Row:
        """Return the fullest legend that fits."""
        flags: Row = [("  ", "blank"), (text, "tick")] if (text := self._flags(chart)) else []
        train, val, ghosts = chart.train, chart.val, self._ghost_legend(chart)
        label, short_label = self._val_label, self._val_label.split(",")[0]
        for detail, val_label, more in (
            (2, label, ghosts), (1, label, ghosts), (1, short_label, ghosts), (1, short_label, [])
        ):  # fmt: skip
            row = self._train_legend(train, detail) + _val_legend(val, val_label) + more + flags
            if length_of(row) <= width:
                return row
        row = self._train_legend(train, 0) + _val_legend(val, short_label)
        return row if length_of(row) <= width else self._train_legend(train, 0)

    def _train_legend(self, column: Column, detail: int) -> Row:
        if not len(column):
            return []
        row: Row = [("━━ " if self.smooth else "⣿⣿ ", "train"), ("train ", "legend")]
        row.append((number(column.last), _soundness(column.last)))
        if self.smooth and detail > 0:
            row.append((f" (smoothed {number(column.last_smoothed)})", "tick"))
        if self.smooth and detail > 1:
            row += [("  ⣿⣿", "raw"), (" raw", "tick")]
        return row

    def _ghost_legend(self, chart: Chart) -> Row:
        names = ["abandoned"] if len(chart.ghosts) > bool(self._origin) else []
        names += [self._origin_name] if self._origin else []
        return [("  ── ", "ghost"), (", ".join(names), "tick")] if names else []

    def _flags(self, chart: Chart) -> str:
        from tui.charts.loss import can_be_logarithmic

        flags = []
        if self.log_y:
            flags.append("log" if can_be_logarithmic(chart) else "no log: not all positive")
        if self.window == "recent":
            flags.append(f"last {RECENT_SHARE:.0%}")
        return " · ".join(flags)


def last_step_of(columns: Iterable[Column]) -> int:
    """Return how far the farthest of some curves reaches; 0 if there is none."""
    return max((column.last_step or 0 for column in columns), default=0)


def full_range(last_step: int, max_step: int | None = None) -> tuple[int, int]:
    """Return the ends of an axis over all steps: from 0 to the next round number.

    Args:
        last_step: The latest step there is.
        max_step: Where the run will end, if that is known.
    """
    wanted = max(last_step, EARLY_WINDOW)
    power = 10.0 ** math.floor(math.log10(wanted))
    end = next(round(factor * power) for factor in _ENDS if factor * power >= wanted)
    if max_step is not None and last_step <= max_step:
        end = min(end, max_step)
    return 0, max(end, 1)


def recent_range(last_step: int, max_step: int | None = None) -> tuple[int, int]:
    """Return the ends of an axis over the last fifth of the steps.

    Args:
        last_step: The latest step there is.
        max_step: Where the run will end, if that is known.
    """
    width = max(last_step * RECENT_SHARE, EARLY_WINDOW)
    # It moves on by leaps of a tenth to a fifth of its width: a picture that slides cannot be read.
    power = 10 ** math.floor(math.log10(width / 10))
    leap = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= width / 10)
    end = (last_step // leap + 1) * leap
    if max_step is not None and last_step <= max_step:
        end = max(min(end, max_step), 1)
    return max(int((last_step - width) // leap * leap), 0), end


def number(value: float | None) -> str:
    """Write a loss in about five characters, always alike, so that the legend stands still."""
    if value is None:
        return "–"
    if not math.isfinite(value) or 0.01 <= abs(value) < 1000:
        return f"{value:.3f}"
    return f"{value:.3g}"


def _val_legend(column: Column, label: str) -> Row:
    if not len(column):
        return []
    value = column.last
    return [("  ●─ ", "val"), (f"{label} ", "legend"), (number(value), _soundness(value))]


def _soundness(value: float | None) -> str:
    return "legend" if value is None or math.isfinite(value) else "bad"
