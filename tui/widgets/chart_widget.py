"""A chart as a widget: it draws what has changed, has a cursor, and is zoomed and moved."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias

from msgspec.structs import replace
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import var
from textual.strip import Strip
from textual.widget import Widget

from tui.charts.characters import CharacterSet, detected, faint, large, translate_frame, translated
from tui.charts.view import RANGES, UNITS, View
from tui.control.limits import Limits, format_ends
from tui.control.preferences import AUTO, OF_CHARTS
from tui.terminal.visible import visible_line
from tui.text.numbers import format_loss

if TYPE_CHECKING:
    # Drawing loads numpy, and there is nothing to draw before the first paint.
    from engine.metric_catalogue import ChartKind
    from engine.metrics import Mark
    from tui.charts.chart import Chart, Drawing, Series
    from tui.charts.raster import ChartFrame
    from tui.charts.window import Window, XAxis

Row: TypeAlias = list[tuple[str, str]]
"""One screen row as stretches of text, each with the name of its style."""

SMALLEST_CHART = 5  # rows; in fewer the curves need those of the legend
READING = "Steps go to the right; {cockpit.cursor_left} reads values, {cockpit.fit} shows all."
READING_DENSE = f"The line is a running average; the faint band is the values behind it. {READING}"
ZOOM = 0.8  # of the width, for each step in; keys take two steps
PAN = 0.25  # of the width, for each key


class Value(NamedTuple):
    """What a series has at the cursor, or at its end."""

    series: Series
    step: int | None
    value: float | None  # as measured
    smoothed: float | None  # None for curves that are not smoothed


class ChartWidget(Widget):
    """Draws when asked to, and paints no more than has changed.

    Nothing happens by itself: whoever owns the chart calls `refresh_data` now and then, which is
    nearly free while nothing has changed.

    A subclass says what to draw: `data_state` and `chart`, and `legend` if that of this class, the
    title and the latest values, does not do.
    """

    view: var[View] = var(View, init=False)
    """What is shown. The user changes it by mouse; a `ViewChanged` then tells other charts."""

    empty_text: var[str] = var("")
    """What to say while there is nothing to show."""

    characters: var[CharacterSet] = var(lambda: detected(os.environ), init=False)
    """Of which characters it is made."""

    large: var[bool] = var(False, init=False)
    """Whether its strokes are large, as for a projector."""

    steers: bool = True
    """Whether the mouse moves the cursor; otherwise its owner alone does."""

    has_steps: bool = True
    """Whether its curves lie over steps, whatever the axis counts."""

    title: str = ""

    unit_size: float = 1.0
    """What one of the vertical axis is, of what is recorded: a thousandth where it counts ms."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "chart--axis",
        "chart--bad",
        "chart--blank",
        "chart--cursor",
        "chart--ghost",
        "chart--hint",
        "chart--legend",
        "chart--mark",
        "chart--raw",
        "chart--reference",
        *(f"chart--run-{letter}" for letter in "abcdef"),
        "chart--tick",
        "chart--train",
        "chart--val",
    }

    DEFAULT_CSS = """
    ChartWidget {
        height: 1fr;
        min-height: 3;

        & > .chart--axis { color: $foreground 35%; }
        & > .chart--tick { color: $foreground 70%; }
        & > .chart--legend { color: $foreground; }
        & > .chart--hint { color: $foreground 70%; }
        & > .chart--raw { color: $primary 45%; }
        & > .chart--train { color: $text-primary; text-style: bold; }
        & > .chart--val { color: $text-warning; text-style: bold; }
        & > .chart--mark { color: $text-secondary; }
        & > .chart--bad { color: $text-error; text-style: bold; }
        & > .chart--ghost { color: $foreground 50%; }
        & > .chart--reference { color: $foreground 60%; }
        & > .chart--cursor { color: $text-accent; text-style: bold; }
        /* hues after Okabe and Ito, which the colour-blind can tell apart; a theme's are fewer, and
           not six any more in 16 colours */
        & > .chart--run-a { color: #56b4e9; text-style: bold; }
        & > .chart--run-b { color: #e69f00; text-style: bold; }
        & > .chart--run-c { color: #00c48c; text-style: bold; }
        & > .chart--run-d { color: #e078d0; text-style: bold; }
        & > .chart--run-e { color: #f0e442; text-style: bold; }
        & > .chart--run-f { color: #ff6a3d; text-style: bold; }
        &:light > .chart--run-a { color: #0059b2; }
        &:light > .chart--run-b { color: #9a6200; }
        &:light > .chart--run-c { color: #00735a; }
        &:light > .chart--run-d { color: #a03484; }
        &:light > .chart--run-e { color: #5c5c00; }
        &:light > .chart--run-f { color: #b33a00; }
    }
    """

    class ViewChanged(Message):
        """The user looks at something else; charts beside may do so, too."""

        def __init__(self, chart: ChartWidget, view: View) -> None:
            super().__init__()
            self.chart, self.view = chart, view

        @property
        def control(self) -> ChartWidget:
            return self.chart

    class Pointed(Message):
        """A step was clicked in a chart whose owner has the cursor."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._drawing: Drawing | None = None
        self._chart: Chart | None = None
        self._base_state: tuple[object, object] | None = None  # of the drawing, without the cursor
        self._base_legend: list[Row] = []
        self._whole: Window | None = None  # what is shown without a zoom
        self._legend: list[Row] = []
        self._frame: ChartFrame | None = None
        self._rows: list[Row] = []  # while there is no frame
        self._strips: dict[int, Strip] = {}
        self._rich_styles: dict[str, Style] = {}
        self._drawn_size: Size | None = None
        self._drawn_state: object = None
        self._dragged_from: int | None = None  # column of the mouse
        self._dragged = False
        self._hovers = False

    # -- preferences -------------------------------------------------------------------------------

    def on_mount(self) -> None:
        preferences = getattr(self.app, "preferences", None)  # not in an app of a chart alone
        if preferences is not None:
            for name in OF_CHARTS:
                self.take_preference(name, preferences.get(name))

    def take_preference(self, name: str, value: Any) -> None:
        """Put one of the preferences of charts into effect."""
        if name == "chart.characters":
            self.characters = detected(os.environ) if value == AUTO else value

    # -- what a subclass says ----------------------------------------------------------------------

    def data_state(self) -> object:
        """Return what the chart depends on, besides this class's own attributes."""
        raise NotImplementedError

    def chart(self) -> Chart | None:
        """Return what to draw; None while there is nothing to show."""
        raise NotImplementedError

    def legend(self, drawing: Drawing, chart: Chart, width: int) -> list[Row]:
        """Return the rows above the chart: the title and the latest value of each series."""
        row: Row = [(self.title, "legend")] if self.title else []
        values = self.values(chart)
        for one in values:
            label = f" {one.series.name}" if len(values) > 1 or not self.title else ""
            row += [
                (f"  {stroke(one.series)}" if row else stroke(one.series), style_of(one.series))
            ]
            row += [(label, "legend"), (f" {self.format(_shown(one))}", "legend")]
        return [cut(row, width)]

    def format(self, value: float | None) -> str:
        """Format a value for the legend."""
        return format_loss(value)

    def format_exactly(self, value: float | None) -> str:
        """Format a value at the cursor."""
        return self.format(value)

    def window(
        self,
        whole: tuple[float, float],
        reached: float,
        axis: XAxis | None = None,
    ) -> Window:
        """Return the part of the horizontal axis that the view shows.

        Args:
            whole: First and last step without a zoom.
            reached: The latest step.
            axis: What the axis counts; None for steps.
        """
        from tui.charts.window import Window, XAxis

        axis = axis or XAxis()
        view = self.view

        def over(first: float, last: float) -> Window:
            if view.log_x and view.zoom is None:  # zero is infinitely far to the left
                first = max(first, 1.0)
            last = max(last, first + 1.0)
            return Window(float(axis.of(first)), float(axis.of(last)), axis, view.log_x)

        self._whole = over(*whole)
        return over(*view.steps_shown(whole, reached))

    @property
    def explained(self) -> ChartKind | None:
        """What it shows, in the catalogue of metrics; None of a chart that is not in it."""
        return None

    def explain(self) -> str:
        """Return, as Markdown, what its metrics are, the idea behind them, and how it is read."""
        kind = self.explained
        if kind is None:
            return ""
        parts = [f"### {kind.title}", *([kind.idea] if kind.idea else [])]
        parts.append("\n".join(f"- **{one.label}**: {one.help}" for one in kind.metrics))
        return "\n\n".join([*parts, READING_DENSE if kind.dense else READING])

    # -- the view ----------------------------------------------------------------------------------

    def look(self, view: View) -> None:
        """Show something else, as the user wants, and tell other charts."""
        if view != self.view:
            self.view = view
            self.post_message(self.ViewChanged(self, view))

    @property
    def shown_window(self) -> Window | None:
        return self._drawing.field.window if self._drawing else None

    def cycle_range(self) -> None:
        """Show what matters, everything, or everything on a logarithmic axis."""
        at = RANGES.index(self.view.y)
        self.look(replace(self.view, y=RANGES[(at + 1) % len(RANGES)], limits=(None, None)))

    def toggle_log(self) -> None:
        self.look(replace(self.view, y="robust" if self.view.y == "log" else "log"))

    def toggle_log_x(self) -> None:
        self.look(replace(self.view, log_x=not self.view.log_x))

    def toggle_window(self) -> None:
        """Show the last fifth of the steps, or all of them."""
        recent = not self.view.recent or self.view.zoom is not None
        self.look(replace(self.view, recent=recent, zoom=None, follow=False))

    def toggle_smooth(self) -> None:
        self.look(replace(self.view, smoothing=0.0 if self.view.smoothing else 0.9))

    def smooth(self, by: int) -> None:
        self.look(self.view.smoothed(by))

    def limit(self, limits: Limits) -> None:
        """Show a chosen range of either axis; values are in the unit that the chart shows."""
        low, high = (None if end is None else end * self.unit_size for end in limits.y)
        steps = limits.steps
        self.look(replace(self.view, limits=(low, high), zoom=steps, follow=False, recent=False))

    @property
    def shown_limits(self) -> str:
        """The vertical limits as they are typed; empty if they are not chosen."""
        low, high = (None if end is None else end / self.unit_size for end in self.view.limits)
        return format_ends((low, high))

    def toggle_references(self) -> None:
        self.look(replace(self.view, references=not self.view.references))

    def cycle_unit(self) -> None:
        """Count steps, tokens, epochs, time or operations along the horizontal axis."""
        units = [unit for unit in UNITS if unit in self.units()]
        at = units.index(self.view.unit) if self.view.unit in units else -1
        self.look(replace(self.view, unit=units[(at + 1) % len(units)]))

    def units(self) -> Sequence[str]:
        """Return what the horizontal axis can count."""
        return ("steps",)

    def zoom(self, steps: int, at: float | None = None) -> None:
        """Zoom in by some steps, or out if they are negative.

        Args:
            steps: Of a fifth each.
            at: The share of the width that stays where it is; None is the cursor or, without one,
                the latest step.
        """
        window, whole = self.shown_window, self._whole
        if window is None or whole is None:
            return
        if at is None:
            cursor = self.view.cursor
            share = float(window.shares(self._reached() if cursor is None else cursor))
            at = share if 0 <= share <= 1 else 1.0
        self.look(self.view.zoomed(window, whole, ZOOM**steps, at))

    def pan(self, by: float) -> None:
        """Move by a share of the width."""
        if self.shown_window is not None and self._whole is not None:
            self.look(self.view.panned(self.shown_window, self._whole, by))

    def fit(self) -> None:
        self.look(self.view.fitted())

    def follow(self) -> None:
        if self.shown_window is not None:
            self.look(self.view.following(self.shown_window))

    def move_cursor(self, by: int) -> None:
        """Move the cursor by some columns; from the end, if there is none."""
        if self._drawing is None:
            return
        field = self._drawing.field
        columns = field.layout.columns
        if self.view.cursor is None:
            end = float(field.window.shares(self._reached()))
            at = min(int(end * columns), columns - 1) if end >= 0 else columns - 1
            by = min(by, 0) + 1 if by < 0 else by
        else:
            at = field.column_of(self.view.cursor)
        self.point_at_column(min(max(at + by, 0), columns - 1))

    def _reached(self) -> float:
        reached = self._chart.reached if self._chart else None
        return reached if reached is not None else 0.0

    def point_at_column(self, column: int) -> None:
        """Move the cursor to a column of the canvas: to a step that was recorded there, if any."""
        if self._drawing is not None and self._chart is not None:
            self.look(replace(self.view, cursor=self._step_at(column)))

    def _nearest_step(self, column: int) -> int | None:
        """Return a step that was recorded in a column, or in the nearest that has one."""
        last = self._drawing.field.layout.columns if self._drawing else 0
        columns = sorted(range(last), key=lambda other: abs(other - column))
        found = (self._step_at(other) for other in columns)
        return next((step for step in found if step is not None), None)

    def _step_at(self, column: int) -> int | None:
        """Return a step that was recorded in a column of the canvas, if any."""
        if self._drawing is None or self._chart is None:
            return None
        from tui.charts.chart import step_in_column

        return step_in_column(self._chart, self._drawing.field, column)

    def clear_cursor(self) -> None:
        self.look(replace(self.view, cursor=None))

    def watch_view(self) -> None:
        self.refresh_data()

    def watch_empty_text(self) -> None:
        self.refresh_data()

    def watch_large(self) -> None:
        self.watch_characters()

    def watch_characters(self) -> None:
        self._strips.clear()  # the legend's are translated, too
        self.refresh_data()

    # -- the mouse ---------------------------------------------------------------------------------

    def _canvas_column(self, x: int) -> int | None:
        """Return the column of the canvas at a place in the widget; None beside it."""
        if self._drawing is None:
            return None
        layout = self._drawing.field.layout
        return x - layout.left if layout.left <= x < layout.width else None

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._dragged_from is not None and self._drawing is not None:
            columns = max(self._drawing.field.layout.columns, 1)
            by = (self._dragged_from - event.x) / columns
            if by:
                self._dragged, self._dragged_from = True, event.x
                self.pan(by)
            return
        column = self._canvas_column(event.x)
        if self.steers and column is not None and (self._hovers or self.view.cursor is None):
            self._hovers = True
            self.point_at_column(column)

    def on_leave(self) -> None:
        if self._hovers and self._dragged_from is None:
            self._hovers = False
            self.clear_cursor()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        if event.button == 1 and self._canvas_column(event.x) is not None:
            self._dragged_from, self._dragged = event.x, False
            self.capture_mouse()

    def on_mouse_up(self, event: events.MouseUp) -> None:
        if self._dragged_from is None:
            return
        self.release_mouse()
        self._dragged_from = None
        column = self._canvas_column(event.x)
        if self._dragged or column is None:
            return
        if self.steers:
            self._hovers = False  # it stays where it was clicked
            self.point_at_column(column)
        elif (step := self._nearest_step(column)) is not None:
            self.post_message(self.Pointed(step))

    def on_click(self, event: events.Click) -> None:
        if event.chain == 2:
            self.fit()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._scroll(event, 1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._scroll(event, -1)

    def _scroll(self, event: events.MouseEvent, steps: int) -> None:
        column = self._canvas_column(event.x)
        if column is not None and self._drawing is not None:
            event.stop()
            self.zoom(steps, (column + 0.5) / max(self._drawing.field.layout.columns, 1))

    # -- drawing -----------------------------------------------------------------------------------

    def state(self) -> object:
        """Return everything a drawing depends on but its size."""
        return self.data_state(), self.view, self.empty_text, self._drawn_with

    def refresh_data(self) -> None:
        """Draw again if anything has changed since, and repaint the cells that differ."""
        if self.state() == self._drawn_state or not self.size:
            return
        if self._drawn_size != self.size:
            self.refresh()  # a resize or the first time: painting itself draws
            return
        legend, frame, rows = self._legend, self._frame, self._rows
        self._draw()
        regions = self._changed(legend, frame, rows)
        for region in regions:
            self._strips.pop(region.y, None)
        if regions:
            self.refresh(*regions)

    def _changed(
        self, legend: list[Row], frame: ChartFrame | None, rows: list[Row]
    ) -> list[Region]:
        """Return the cells that differ from those before, a stretch for each row."""
        width = self.size.width
        if frame is None or self._frame is None or frame.size != self._frame.size:
            every = [*legend, *(frame.row(y) for y in range(frame.size[1]))] if frame else rows
            return [
                Region(0, y, width, 1)
                for y in range(self.size.height)
                if y >= len(every) or every[y] != self._row(y)
            ]
        changed = [
            Region(0, y, width, 1)
            for y, row in enumerate(self._legend)
            if y >= len(legend) or row != legend[y]
        ]
        for y, first, last in frame.differences(self._frame):
            changed.append(Region(first, y + len(self._legend), last - first + 1, 1))
        return changed

    def notify_style_update(self) -> None:
        """Forget strips in the colours of the last theme."""
        self._strips.clear()
        self._rich_styles.clear()
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        """Return row `y`, drawing all of them first if the size is new."""
        if self._drawn_size != self.size:
            self._draw()
            self._strips.clear()
        strip = self._strips.get(y)
        if strip is None:
            strip = self._strips[y] = self._strip(self._row(y))
        return strip

    def _row(self, y: int) -> Row:
        if self._frame is None:
            return self._rows[y] if y < len(self._rows) else []
        if y < len(self._legend):
            return self._legend[y]
        y -= len(self._legend)
        return self._frame.row(y) if y < self._frame.size[1] else []

    def drawing(self, width: int, height: int) -> list[Row]:
        """Return the legend and the rows of the chart, or a word on why there is none."""
        self._draw_chart(width, height)
        return [self._row(y) for y in range(height)]

    def _draw(self) -> None:
        # Read first: what is added while we draw then counts as new.
        self._drawn_state = self.state()
        self._drawn_size = self.size
        self._draw_chart(*self.size)

    def _draw_chart(self, width: int, height: int) -> None:
        """Draw the chart, unless only the cursor has moved, and the cursor above it."""
        data, view = self.data_state(), self.view
        look = replace(view, cursor=None), width, height
        if (data, look) != self._base_state or self._drawing is None:
            chart = self.chart()
            if chart is None:
                self._drawing = self._frame = None
                self._rows = centred(self.empty_text, width, height)
                return
            from tui.charts.chart import draw

            # the range is kept from one drawing of a view to the next, so that it does not jump
            same = self._base_state is not None and self._base_state[1] == look
            before = self._drawing.field.scale if same and self._drawing else None
            least = 1 if height > SMALLEST_CHART - 1 else 0
            most = max(height - SMALLEST_CHART, least)
            rows = min(len(self._base_legend) or least, most)  # mostly as many as before
            self._drawing = draw(chart, width, height - rows, before)
            self._chart, self._base_state = chart, (data, look)
            legend = self.legend(self._drawing, chart, width)[:most]
            if len(legend) != rows:
                self._drawing = draw(chart, width, height - len(legend), before)
            self._base_legend = legend
        self._add_cursor(width)

    def _add_cursor(self, width: int) -> None:
        assert self._drawing and self._chart
        frame, legend = self._drawing.frame, self._base_legend
        cursor = self.view.cursor
        if cursor is not None and 0 <= float(self._drawing.field.window.shares(cursor)) <= 1:
            from tui.charts.picture import paint_cursor

            frame = frame.copy()
            words = [mark.label for mark in self.marks_at(self._chart, cursor)]
            label = self._drawing.field.window.axis.label
            place = float(self._drawing.field.window.axis.of(cursor))
            axis = self._drawing.field.window.axis
            told = f"{cursor:,}" if axis.unit == "steps" else label(place)
            paint_cursor(frame, self._drawing.field, cursor, told, words)
            if legend and self.steers:  # else its owner shows the values
                legend = [*self.reading(self._chart, cursor, width, len(legend))]
        if self._drawn_with != "braille":
            frame = frame.copy()
            translate_frame(frame, self._drawn_with)
        self._legend, self._frame = legend, frame

    @property
    def _drawn_with(self) -> CharacterSet:
        return large(self.characters) if self.large else self.characters

    def shown(self) -> tuple[Chart, Drawing] | None:
        """Return what is on the screen, and where it is; None while there is nothing."""
        if self._chart is None or self._drawing is None:
            return None
        return self._chart, self._drawing

    def colour_of(self, style: str) -> str:
        """Return the colour of a style as ``#rrggbb``; "background" is that of the chart."""
        if style == "background":
            return self.background_colors[1].hex6
        colour = self.styled.get_component_styles(f"chart--{style}").color
        return (self.background_colors[1] + colour).hex6

    def values(self, chart: Chart, step: int | None = None) -> list[Value]:
        """Return what the series have at a step, or the latest of what they have."""
        from tui.charts.chart import value_at

        found = []
        for series in chart.series:
            if series.kind != "ghost" and len(series.column):
                found.append(Value(series, *value_at(series, step, chart.smoothing)))
        return found

    def marks_at(self, chart: Chart, step: int) -> list[Mark]:
        """Return the marks in the column of a step."""
        if self._drawing is None:
            return []
        field = self._drawing.field
        first, last = field.window.borders(field.layout.columns)[
            (column := field.column_of(step)) : column + 2
        ].tolist()
        return [mark for mark in chart.marks if first <= mark.step < max(last, first + 1)]

    def reading(self, chart: Chart, cursor: int, width: int, rows: int) -> list[Row]:
        """Return what replaces the legend while there is a cursor: the values there.

        Averages are left out if there is no room for all.
        """
        whole = self._reading(chart, cursor, averages=True)
        if length_of(whole) > width * rows:
            whole = self._reading(chart, cursor, averages=False)
        return wrapped(whole, width, rows)

    def _reading(self, chart: Chart, cursor: int, averages: bool) -> Row:
        axis = chart.window.axis
        where = axis.label(float(axis.of(cursor)))
        counted = axis.unit == "steps" or not self.has_steps
        row: Row = [(where if counted else f"step {cursor:,} · {where}", "cursor")]
        for one in self.values(chart, cursor):
            row.append((f"  {stroke(one.series)} ", style_of(one.series)))
            name = f"{one.series.letter or one.series.name} ".lstrip()
            exact = one.smoothed if one.value is None else one.value
            row += [(name, "legend"), (self.format_exactly(exact), "legend")]
            if one.smoothed is not None and one.value is not None:  # as in the legend
                if averages:
                    row.append((f" (smoothed {self.format_exactly(one.smoothed)})", "tick"))
            elif one.step is not None and one.step != cursor and one.series.kind == "sparse":
                row.append((f" at {one.step:,}", "tick"))
        return row

    def _strip(self, row: Row) -> Strip:
        segments = [
            Segment(
                visible_line((faint if style == "raw" else translated)(text, self._drawn_with)),
                self._rich_style(style),
            )
            for text, style in row
        ]
        return Strip(segments).adjust_cell_length(self.size.width, self._rich_style("blank"))

    def _rich_style(self, style: str) -> Style:
        """Return a component's style; Textual's own cache costs as much as the rest of a strip."""
        found = self._rich_styles.get(style)
        if found is None:
            found = self.styled.get_component_rich_style(f"chart--{style}")
            self._rich_styles[style] = found
        return found

    @property
    def styled(self) -> ChartWidget:
        """The chart that has the styles of this one."""
        return self


def _shown(one: Value) -> float | None:
    return one.value if one.smoothed is None else one.smoothed


def stroke(series: Series) -> str:
    """Return how a legend shows the line of a series."""
    from tui.charts.raster import SOLID, STROKES

    if series.stroke != SOLID or series.letter:
        sample = STROKES[series.stroke].sample
        if series.kind == "ghost":
            return sample.replace("━", "─")
        return f"●{sample[1:]}" if series.kind == "sparse" else sample
    return {"dense": "━━", "sparse": "●─", "ghost": "──"}[series.kind]


def style_of(series: Series) -> str:
    from tui.charts.raster import STYLES

    return STYLES[series.style]


def length_of(row: Row) -> int:
    return sum(len(text) for text, _ in row)


def cut(row: Row, width: int) -> Row:
    """End a row with an ellipsis where it is too long."""
    kept: Row = []
    for text, style in row:
        room = width - length_of(kept)
        if len(text.rstrip()) > room:
            return [*kept, (f"{text[: room - 1]}…"[:room], style)]
        kept.append((text[:room], style))
    return kept


def wrapped(row: Row, width: int, rows: int) -> list[Row]:
    """Divide a row where its parts begin with two spaces; the last one ends with an ellipsis."""
    lines: list[Row] = [[]]
    parts: list[Row] = []
    for text, style in row:
        if text.startswith("  ") or not parts:
            parts.append([])
        parts[-1].append((text, style))
    for part in parts:
        if lines[-1] and length_of(lines[-1]) + length_of(part) > width and len(lines) < rows:
            lines.append([])
        lines[-1] += part
    return [cut(line, width) for line in lines] + [[] for _ in range(rows - len(lines))]


def centred(text: str, width: int, height: int) -> list[Row]:
    rows: list[Row] = [[] for _ in range(height)]
    text = text[:width]
    if text and height:
        rows[height // 2] = [(" " * ((width - len(text)) // 2), "blank"), (text, "hint")]
    return rows
