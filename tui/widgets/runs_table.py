"""A table of runs that draws only the rows on the screen, however many there are.

Textual's own table measures every cell of every row each time it is filled (0.3 s for 1,000 runs);
this one knows how wide its columns are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from engine.runs.summary import RunSummary
from engine.states import DAMAGED
from tui.control.keymap import bindings
from tui.control.runs_view import Order, RunsView
from tui.terminal.visible import visible_line
from tui.text.letters import letter_of
from tui.text.run_states import state_colour
from tui.widgets.runs_columns import GAP, OF_TRAINING, Column, arranged

HEADER_LINES = 1
MARK_WIDTH = 3


class RunsTable(ScrollView, can_focus=True):
    """Runs in rows, with a cursor and marks.

    Args:
        view: What is to be shown.
        colour_of: Returns the style of the letter at a place.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("table")

    COMPONENT_CLASSES = {
        "table--header", "table--cursor", "table--curve", "table--quiet",
    }  # fmt: skip

    DEFAULT_CSS = """
    RunsTable {
        scrollbar-size-vertical: 1;
        scrollbar-gutter: stable;
        overflow-x: hidden;

        & > .table--header { text-style: bold; color: $foreground 80%; background: $panel; }
        & > .table--cursor { background: $primary 40%; }
        & > .table--curve { color: $primary; }
        & > .table--quiet { color: $foreground 60%; }
    }
    """

    cursor: reactive[int] = reactive(0)

    class Moved(Message):
        """The cursor stands on another run, on none, or its run has changed."""

    class Chosen(Message):
        """A run was clicked twice."""

    class Marked(Message):
        """Marks were set or removed with the mouse."""

    class HeaderClicked(Message):
        """The title of a column was clicked."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(
        self, view: RunsView, colour_of: Callable[[int], Style], *, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self.view, self._colour_of = view, colour_of
        self.runs: list[RunSummary] = []  # as they stand here
        self._order: Order | None = None
        self._marked_at = 0  # the row that a click with shift marks from
        self._columns: list[tuple[Column, int]] = []

    # -- contents --------------------------------------------------------------------------------

    @property
    def current(self) -> RunSummary | None:
        return self.runs[self.cursor] if 0 <= self.cursor < len(self.runs) else None

    def show(self) -> None:
        """Bring the rows in line; the cursor stays on its run, or where that was."""
        before, kept, order = self.runs, self.current, self._order
        self.runs, self._order = self.view.chosen(), self.view.order
        paths = {run.path: row for row, run in enumerate(self.runs)}
        row = paths.get(kept.path) if kept else 0
        if row is None:
            row = max(0, min(self.cursor, len(self.runs) - 1))
        shift = row - self.cursor
        self.virtual_size = Size(self.size.width, len(self.runs) + HEADER_LINES)
        if shift:
            self.set_reactive(RunsTable.cursor, row)
            self.scroll_to(y=self.scroll_offset.y + shift, animate=False, immediate=True)
            self._keep_cursor_in_sight()
        if shift or order != self._order or len(before) != len(self.runs):
            self.refresh()
        else:
            self._refresh_changed(before)
        if self._arranged() != self._columns:
            self.lay_out()
        if self.current != kept:
            self.post_message(self.Moved())

    def go_to(self, path: str) -> None:
        paths = [run.path for run in self.runs]
        if path in paths:
            self.cursor = paths.index(path)

    def toggle_mark(self) -> None:
        """Mark the run under the cursor, or no longer, and go on to the next."""
        if self.current:
            self.view.toggle_mark(self.current.path)
            self._refresh_row(self.cursor)
            self.action_cursor_down()

    def mark_all(self) -> None:
        """Mark all runs shown; if all of them are, none any longer."""
        paths = [run.path for run in self.runs]
        if all(path in self.view.marked for path in paths):
            self.view.unmark(paths)
        else:
            self.view.mark(paths)
        self.refresh()

    def _refresh_changed(self, before: Sequence[RunSummary]) -> None:
        for row in self._rows_in_sight():
            if before[row] != self.runs[row]:
                self._refresh_row(row)

    def _rows_in_sight(self) -> range:
        first = self.scroll_offset.y
        return range(first, min(len(self.runs), first + self.size.height))

    def _refresh_row(self, row: int) -> None:
        line = row - self.scroll_offset.y + HEADER_LINES
        if HEADER_LINES <= line < self.size.height:
            self.refresh(Region(0, line, self.size.width, 1))

    # -- moving ----------------------------------------------------------------------------------

    def validate_cursor(self, row: int) -> int:
        return max(0, min(row, len(self.runs) - 1))

    def watch_cursor(self, before: int, now: int) -> None:
        self._refresh_row(before)
        self._keep_cursor_in_sight()
        self._refresh_row(now)
        self.post_message(self.Moved())

    def action_cursor_down(self) -> None:
        self.cursor += 1

    def action_cursor_up(self) -> None:
        self.cursor -= 1

    def action_page_down(self) -> None:
        self.cursor += max(1, self.size.height - HEADER_LINES - 1)

    def action_page_up(self) -> None:
        self.cursor -= max(1, self.size.height - HEADER_LINES - 1)

    def action_scroll_top(self) -> None:
        self.cursor = 0

    def action_scroll_bottom(self) -> None:
        self.cursor = len(self.runs) - 1

    def _keep_cursor_in_sight(self) -> None:
        room = max(1, self.size.height - HEADER_LINES)
        first = self.scroll_offset.y
        wanted = min(max(first, self.cursor - room + 1), self.cursor)
        if wanted != first:
            self.scroll_to(y=wanted, animate=False, immediate=True)

    def on_click(self, event: events.Click) -> None:
        """On a title: sort. On a row: go there; twice: choose it.

        In front of the name, or with ctrl: mark the run; with shift: all from the last click on.
        """
        if event.y < HEADER_LINES:
            key = self._column_at(event.x)
            if key:
                self.post_message(self.HeaderClicked(key))
            return
        row = event.y - HEADER_LINES + self.scroll_offset.y
        if row >= len(self.runs):
            return
        self.cursor = row
        if event.shift:
            first, last = sorted((self._marked_at, row))
            self.view.mark(run.path for run in self.runs[first : last + 1])
        elif event.ctrl or event.x < MARK_WIDTH:
            self.view.toggle_mark(self.runs[row].path)
        elif event.chain == 2:
            self.post_message(self.Chosen())
        self._marked_at = row
        if event.shift or event.ctrl or event.x < MARK_WIDTH:
            self.refresh()
            self.post_message(self.Marked())

    def _column_at(self, x: int) -> str | None:
        left = MARK_WIDTH
        for column, width in self._columns:
            if left <= x < left + width + GAP:
                return column.key
            left += width + GAP
        return None

    # -- drawing ---------------------------------------------------------------------------------

    def on_resize(self) -> None:
        self.lay_out()
        self._keep_cursor_in_sight()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self.refresh()

    def lay_out(self) -> None:
        """Choose the columns that fit, and draw all anew."""
        self._columns = self._arranged()
        self.virtual_size = Size(self.size.width, len(self.runs) + HEADER_LINES)
        self.refresh()

    @property
    def columns(self) -> list[str]:
        """The keys of the columns shown, from left to right."""
        return [column.key for column, _ in self._columns]

    def _arranged(self) -> list[tuple[Column, int]]:
        from engine.runs.fields import short_name

        view = self.view
        settings = [(key, short_name(key)) for key in view.shown_settings(self.runs)]
        width = self.scrollable_content_region.width - MARK_WIDTH
        return arranged(view.sizes, self.runs, settings, view.chosen_columns(), width)

    def render_line(self, y: int) -> Strip:
        row = y - HEADER_LINES + self.scroll_offset.y
        width = self.size.width
        if y < HEADER_LINES:
            style = self.get_component_rich_style("table--header")
            return Strip(self._header(style)).adjust_cell_length(width, style)
        if row >= len(self.runs):
            return Strip.blank(width, self.rich_style)
        style = self.rich_style
        if row == self.cursor:
            style += self.get_component_rich_style("table--cursor")
        return Strip(self._cells(self.runs[row], style)).adjust_cell_length(width, style)

    def _header(self, style: Style) -> list[Segment]:
        order = self.view.order
        segments = [Segment(" " * MARK_WIDTH, style)]
        for column, width in self._columns:
            arrow = order.arrow if column.key == order.by else ""
            text = _fit(f"{column.title}{arrow}", width, column.right)
            segments.append(Segment(text + " " * GAP, style))
        return segments

    def _cells(self, run: RunSummary, style: Style) -> list[Segment]:
        place = self.view.marked.get(run.path)
        segments = [Segment(" " * MARK_WIDTH, style)]
        if place is not None:
            mark = f"{letter_of(place):>2}".ljust(MARK_WIDTH)
            segments = [Segment(mark, style + self._colour_of(place))]
        for column, width in self._columns:
            silent = run.state == DAMAGED and column.key in OF_TRAINING
            text = _fit("" if silent else column.cell(run, width), width, column.right)
            segments.append(Segment(text, style + self._ink_of(column.key, run)))
            segments.append(Segment(" " * GAP, style))
        return segments

    def _ink_of(self, key: str, run: RunSummary) -> Style:
        if key == "state":
            return Style.parse(state_colour(run.state))
        if key == "loss":
            return self._ink("curve")
        return Style() if key in ("name", "best", "tags", "note") else self._ink("quiet")

    def _ink(self, kind: str) -> Style:
        """The colour of a kind of text, without its background."""
        found = self.get_component_rich_style(f"table--{kind}")
        return Style(color=found.color, bold=found.bold)


def _fit(text: str, width: int, right: bool) -> str:
    """A text of exactly so many cells; what is cut off shows."""
    text = visible_line(text)
    if cell_len(text) > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - cell_len(text)) + text if right else set_cell_size(text, width)
