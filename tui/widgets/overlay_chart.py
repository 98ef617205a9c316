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

LETTERS = "ABCDEF"
"""As many runs as colours that can be told apart."""


class OverlayChart(ChartWidget["Overlay"]):
    """Shows a curve of each run."""

    empty_text: var[str] = var("reading the runs …")

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._curves: tuple[Curve, ...] = ()
        self._axis: Axis | None = None
        self._marks: tuple[Mark, ...] = ()

    def show(self, curves: Sequence[Curve], axis: Axis, marks: Sequence[Mark] = ()) -> None:
        self._curves, self._axis, self._marks = tuple(curves), axis, tuple(marks)
        self.refresh_data()

    def data_state(self) -> object:
        curves = [(one.name, one.place, id(one.column), one.smooth) for one in self._curves]
        return curves, self._axis, self._marks

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
        """Return the names, each with its letter and its last value, on as many rows as needed."""
        parts = [self._part(one) for one in self._curves]
        parts += [[(flag, "tick")] for flag in self.flags(picture, width)]
        rows: list[Row] = [[]]
        for part in parts:
            if rows[-1] and length_of(rows[-1]) + length_of(part) > width:
                rows.append([])
            rows[-1] += [*part, ("  ", "blank")]
        return [_cut(row, width) for row in rows]

    def _part(self, curve: Curve) -> Row:
        column = curve.column
        value = column.last_smoothed if curve.smooth else column.last
        style = f"run-{curve.letter.lower()}"
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
