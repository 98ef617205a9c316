"""The table of compared runs: what came of each run, then exactly the settings that differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import BindingType
from textual.coordinate import Coordinate
from textual.widgets import DataTable

from tui.control.keymap import bindings

if TYPE_CHECKING:
    from engine.runs.comparison import ComparedRun  # loads numpy, which waits for the first paint


class ComparisonTable(DataTable[Text]):
    """A line for each figure and each setting, a column for each run, one of which is selected."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("table")

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="column", fixed_columns=1)
        self._frame: object = None  # what stands in the header and in the first column
        self._shown: tuple[Sequence[ComparedRun], Sequence[Text]] = (), ()

    @property
    def selected(self) -> int:
        """The index of the selected run."""
        return max(self.cursor_column - 1, 0)

    def validate_cursor_coordinate(self, value: Coordinate) -> Coordinate:
        place = super().validate_cursor_coordinate(value)
        return Coordinate(place.row, 1) if place.column == 0 and len(self.columns) > 1 else place

    def action_cursor_down(self) -> None:
        self.action_scroll_down()  # the cursor is a column

    def action_cursor_up(self) -> None:
        self.action_scroll_up()

    def show(self, runs: Sequence[ComparedRun], names: Sequence[Text], anew: bool = False) -> None:
        """Fill the table; while its lines stay the same, only what has changed is written.

        Args:
            runs: One to a column.
            names: What stands above them.
            anew: Write all of it, as after a change of colours.
        """
        self._shown = runs, names
        rows = _rows(runs)
        header = [Text("results", "dim"), *names]
        # said, because a table that measures its columns itself may paint them before it has
        measured = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        widths = whole_columns(measured, self.size.width - 1, 2 * self.cell_padding)
        frame = [str(label) for label in header], [str(label) for label, *_ in rows], widths
        if frame == self._frame and not anew:
            self._update_cells(rows)
            return
        self._frame = frame
        kept = self.cursor_coordinate
        self.clear(columns=True)
        for label, width in zip(header, widths, strict=True):
            self.add_column(label, width=width)
        self.add_rows(rows)
        self.move_cursor(row=0, column=max(kept.column, 1), animate=False, scroll=False)

    def on_resize(self) -> None:
        if self._shown[0]:
            self.show(*self._shown)

    def _update_cells(self, rows: Sequence[Sequence[Text]]) -> None:
        for at, row in enumerate(rows):
            for column, cell in enumerate(row):
                place = Coordinate(at, column)
                before = self.get_cell_at(place)
                if (before.plain, before.style) != (cell.plain, cell.style):
                    self.update_cell_at(place, cell)


def whole_columns(widths: Sequence[int], room: int, padding: int) -> list[int]:
    """Return widths of which the first and a whole number of equal others fill the room.

    If there is room for all, they stay as they are. Else a run is never cut at the edge, and moving
    to the next one scrolls by it.

    Args:
        widths: Of the longest cell of each column.
        room: Cells there are.
        padding: Of each column, beside its width.
    """
    first, *others = (width + padding for width in widths)
    left = room - first
    if first + sum(others) <= room or left < (widest := min(max(others), left)) or widest < 1:
        return list(widths)
    count = left // widest
    each = left // count
    return [room - count * each - padding, *[each - padding] * len(others)]


def _rows(runs: Sequence[ComparedRun]) -> list[list[Text]]:
    from tui.text.comparison import figure_lines, setting_lines

    settings, figures = setting_lines(runs), figure_lines(runs)
    told = "settings that differ" if settings else "no setting differs"
    between = [Text(told if runs else "", "dim italic"), *[Text()] * len(runs)]
    lines = [
        [
            Text(line.label, "dim"),
            *(Text(cell, "bold" if i in line.best else "") for i, cell in enumerate(line.cells)),
        ]
        for line in (*figures, *settings)
    ]
    return [*lines[: len(figures)], between, *lines[len(figures) :]] if runs else []
