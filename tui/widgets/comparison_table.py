"""The table of compared runs: exactly the settings that differ, then what came of each run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text
from textual.coordinate import Coordinate
from textual.widgets import DataTable

if TYPE_CHECKING:
    from engine.runs.comparison import ComparedRun  # loads numpy, which waits for the first paint


class ComparisonTable(DataTable[Text]):
    """A line for each setting and each figure, a column for each run."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="none", fixed_columns=1)
        self._frame: object = None  # what stands in the header and in the first column

    def show(self, runs: Sequence[ComparedRun], names: Sequence[Text], anew: bool = False) -> None:
        """Fill the table; while its lines stay the same, only what has changed is written.

        Args:
            runs: One to a column.
            names: What stands above them.
            anew: Write all of it, as after a change of colours.
        """
        rows = _rows(runs)
        any_setting = any("." in str(label) for label, *_ in rows)
        corner = Text("differs" if any_setting else "no setting differs", "dim")
        header = [corner, *names]
        # said, because a table that measures its columns itself may paint them before it has
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        frame = [str(label) for label in header], [str(label) for label, *_ in rows], widths
        if frame == self._frame and not anew:
            self._update_cells(rows)
            return
        self._frame = frame
        self.clear(columns=True)
        for label, width in zip(header, widths, strict=True):
            self.add_column(label, width=width)
        self.add_rows(rows)

    def _update_cells(self, rows: Sequence[Sequence[Text]]) -> None:
        for at, row in enumerate(rows):
            for column, cell in enumerate(row):
                place = Coordinate(at, column)
                before = self.get_cell_at(place)
                if (before.plain, before.style) != (cell.plain, cell.style):
                    self.update_cell_at(place, cell)


def _rows(runs: Sequence[ComparedRun]) -> list[list[Text]]:
    from tui.text.comparison import figure_lines, setting_lines

    settings, figures = setting_lines(runs), figure_lines(runs)
    between = [[Text()] * (len(runs) + 1)] if settings else []
    lines = [
        [
            Text(line.label, "dim"),
            *(Text(cell, "bold" if i in line.best else "") for i, cell in enumerate(line.cells)),
        ]
        for line in (*settings, *figures)
    ]
    return [*lines[: len(settings)], *between, *lines[len(settings) :]]
