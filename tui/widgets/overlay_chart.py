"""Several runs on one chart, under a legend with their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.reactive import var

from tui.text.numbers import format_loss
from tui.widgets.chart_widget import ChartWidget, Row, length_of

if TYPE_CHECKING:
    from engine.metrics import Mark
    from engine.runs.curves import Axis
    from tui.charts.overlay import Curve, Overlay

COLOURS = "abcdef"
"""Of runs, by the last letter of the name of their style; the next runs have them again."""

MOST_LEGEND_SHARE = 4  # of the height: a quarter


class OverlayChart(ChartWidget["Overlay"]):
    """Shows a curve of each run."""

    empty_text: var[str] = var("reading the runs …")

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._curves: tuple[Curve, ...] = ()
        self._selected = 0  # the place of the run that the legend shows in any case
        self._axis: Axis | None = None
        self._marks: tuple[Mark, ...] = ()

    def select(self, place: int) -> None:
        """Scroll the legend to a run."""
        self._selected = place
        self.refresh_data()

    def show(self, curves: Sequence[Curve], axis: Axis, marks: Sequence[Mark] = ()) -> None:
        self._curves, self._axis, self._marks = tuple(curves), axis, tuple(marks)
        self.refresh_data()

    def data_state(self) -> object:
        curves = [(one.name, one.place, id(one.column), one.smooth) for one in self._curves]
        return curves, self._axis, self._marks, self._selected

    def picture(self) -> Overlay | None:
        if not any(len(one.column) for one in self._curves):
            return None
        from engine.runs.curves import Axis
        from tui.charts.axes import step_ticks, time_ticks
        from tui.charts.overlay import Overlay

        first, end = self.steps_shown(max(one.column.last_step or 0 for one in self._curves))
        ticks = time_ticks if self._axis is Axis.SECONDS else step_ticks
        return Overlay(self._curves, first, end, ticks, self.log_y, self._marks)

    def legend(self, picture: Overlay, width: int) -> list[Row]:
        """Return the names, each with its letter and its last value.

        Where they need more than a quarter of the height, the legend scrolls.
        """
        parts = [self._part(one) for one in self._curves]
        parts += [[(flag, "tick")] for flag in self.flags(picture, width)]
        rows: list[Row] = [[]]
        at = 0  # the row of the selected run
        for i, part in enumerate(parts):
            if rows[-1] and length_of(rows[-1]) + length_of(part) > width:
                rows.append([])
            rows[-1] += [*part, ("  ", "blank")]
            if i < len(self._curves) and self._curves[i].place == self._selected:
                at = len(rows) - 1
        most = max(self.size.height // MOST_LEGEND_SHARE, 1)
        first = max(0, min(at, len(rows) - most))
        return [_cut(row, width) for row in rows[first : first + most]]

    def _part(self, curve: Curve) -> Row:
        column = curve.column
        value = column.last_smoothed if curve.smooth else column.last
        style = f"run-{COLOURS[curve.place % len(COLOURS)]}"
        return [
            (f"{curve.letter} {'━━' if curve.smooth else '●─'} ", style),
            (f"{curve.name} ", "legend"),
            (format_loss(value), "tick"),
        ]


def _cut(row: Row, width: int) -> Row:
    """End a row with an ellipsis where it is too long."""
    kept: Row = []
    for text, style in row:
        room = width - length_of(kept)
        if len(text.rstrip()) > room:
            return [*kept, (f"{text[: room - 1]}…"[:room], style)]
        kept.append((text[:room], style))
    return kept
