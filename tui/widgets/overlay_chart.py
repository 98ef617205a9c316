"""Several runs on one chart, under a legend with their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.reactive import var

from tui.widgets.chart_widget import ChartWidget, Row, centred, length_of
from tui.widgets.loss_chart import RECENT_SHARE, Window, full_range, number, recent_range

if TYPE_CHECKING:
    from engine.metrics import Column, Mark
    from engine.runs.curves import Axis
    from tui.charts.overlay import Overlay

LETTERS = "ABCDEF"
"""As many runs as colours that can be told apart."""


@dataclass(frozen=True)
class NamedCurve:
    """The curve of a run.

    Args:
        name: Of the run.
        place: Which run it is; it keeps its letter and its colour whatever else is shown.
        column: Its course.
        smooth: Whether its running average is shown.
    """

    name: str
    place: int
    column: Column
    smooth: bool

    @property
    def letter(self) -> str:
        """What marks it on the chart and in the legend."""
        return LETTERS[self.place]

    @property
    def style(self) -> str:
        """The name of its style."""
        return f"run-{self.letter.lower()}"


class OverlayChart(ChartWidget):
    """Shows a curve of each run."""

    log_y: var[bool] = var(False)
    """Logarithmic losses, where all of them are positive."""

    window: var[Window] = var[Window]("full")
    """The whole course, or the last fifth of it."""

    empty_text: var[str] = var("reading the runs …")
    """What to say while there is nothing to show."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._curves: tuple[NamedCurve, ...] = ()
        self._axis: Axis | None = None
        self._marks: tuple[Mark, ...] = ()

    def show(self, curves: Sequence[NamedCurve], axis: Axis, marks: Sequence[Mark] = ()) -> None:
        """Choose what to show.

        Args:
            curves: Where they run through the same cells, each shows in turn.
            axis: What their steps are.
            marks: Places along it where one run was forked off another.
        """
        self._curves, self._axis, self._marks = tuple(curves), axis, tuple(marks)
        self.refresh_data()

    def watch_log_y(self) -> None:
        self.refresh_data()

    def watch_window(self) -> None:
        self.refresh_data()

    def watch_empty_text(self) -> None:
        self.refresh_data()

    def state(self) -> object:
        """Return everything a drawing depends on but its size."""
        curves = [(one.name, one.place, id(one.column), one.smooth) for one in self._curves]
        return curves, self._axis, self._marks, self.log_y, self.window, self.empty_text

    def drawing(self, width: int, height: int) -> list[Row]:
        """Return the legend and the rows of the chart, or a word on why there is none."""
        if not any(len(one.column) for one in self._curves):
            return centred(self.empty_text, width, height)
        from tui.charts.overlay import draw_overlay

        overlay = self._overlay()
        legend = self._legend(overlay, width)[: max(height - 4, 0)]
        frame = draw_overlay(overlay, width, height - len(legend))
        return [*legend, *(frame.row(y) for y in range(height - len(legend)))]

    def _overlay(self) -> Overlay:
        from engine.runs.curves import Axis
        from tui.charts import raster
        from tui.charts.axes import step_ticks, time_ticks
        from tui.charts.overlay import Curve, Overlay

        last = max(one.column.last_step or 0 for one in self._curves)
        first, end = (recent_range if self.window == "recent" else full_range)(last)
        curves = [
            Curve(one.column, one.letter, raster.FIRST_RUN + one.place, one.smooth)
            for one in self._curves
        ]
        ticks = time_ticks if self._axis is Axis.SECONDS else step_ticks
        return Overlay(curves, first, end, ticks, self.log_y, self._marks)

    def _legend(self, overlay: Overlay, width: int) -> list[Row]:
        """Return the names, each with its letter and its last value, on as many rows as needed."""
        parts = [self._part(one) for one in self._curves]
        parts += [[(flag, "tick")] for flag in self._flags(overlay, width)]
        rows: list[Row] = [[]]
        for part in parts:
            if rows[-1] and length_of(rows[-1]) + length_of(part) > width:
                rows.append([])
            rows[-1] += [*part, ("  ", "blank")]
        return [_cut(row, width) for row in rows]

    def _part(self, curve: NamedCurve) -> Row:
        column = curve.column
        value = column.last_smoothed if curve.smooth else column.last
        return [
            (f"{curve.letter} {'━━' if curve.smooth else '●─'} ", curve.style),
            (f"{curve.name} ", "legend"),
            (number(value), "tick"),
        ]

    def _flags(self, overlay: Overlay, width: int) -> list[str]:
        from tui.charts.overlay import overlay_extent

        flags = []
        if self.log_y:
            positive = overlay_extent(overlay, width)[0] > 0
            flags.append("log" if positive else "no log: not all positive")
        if self.window == "recent":
            flags.append(f"last {RECENT_SHARE:.0%}")
        return flags


def _cut(row: Row, width: int) -> Row:
    """End a row with an ellipsis where it is too long."""
    kept: Row = []
    for text, style in row:
        room = width - length_of(kept)
        if len(text.rstrip()) > room:
            return [*kept, (f"{text[: room - 1]}…"[:room], style)]
        kept.append((text[:room], style))
    return kept
