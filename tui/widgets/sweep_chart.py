"""A plot of a figure over a setting, with a cursor that goes from run to run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tui.text.letters import letter_of
from tui.widgets.runs_columns import format_value

if TYPE_CHECKING:
    from engine.config.setting import Value
    from engine.runs.sweep import SeedSpread, Sweep, SweptPoint
    from tui.charts.sweep import SweepPlot

MOST_LETTERS = 26  # runs that get a letter although they are not marked
NEAR = 3  # cells from a point to a click on it


class SweepChart(Widget):
    """Points with the letters of their runs.

    Args:
        colour_of: Returns the style of the letter at a place.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "sweep--axis", "sweep--tick", "sweep--line", "sweep--point", "sweep--best",
        "sweep--cursor", "sweep--blank", "sweep--mean",
    }  # fmt: skip
    DEFAULT_CSS = """
    SweepChart {
        height: 1fr;
        & > .sweep--axis { color: $foreground 50%; }
        & > .sweep--tick { color: $foreground 80%; }
        & > .sweep--line { color: $foreground 50%; }
        & > .sweep--mean { color: $foreground; text-style: bold; }
        & > .sweep--point { color: $text-primary; text-style: bold; }
        & > .sweep--best { color: $text-success; text-style: bold; }
        & > .sweep--cursor {
            color: $block-cursor-foreground; background: $block-cursor-background;
            text-style: bold;
        }
    }
    """

    class Moved(Message):
        """The cursor stands on another run."""

    class Chosen(Message):
        """A run was clicked twice."""

    def __init__(self, colour_of: Callable[[int], Style], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._colour_of = colour_of
        self.sweep: Sweep | None = None
        self.cursor = 0
        self.joins_seeds = False
        self._key = ""
        self._second: tuple[str, list[Value]] = "", []
        self._places: dict[str, int] = {}
        self._own: dict[str, int] = {}  # of runs that are not marked: they keep their letters
        self._plot: SweepPlot | None = None

    def show(
        self,
        sweep: Sweep,
        key: str,
        places: dict[str, int],
        second: tuple[str, list[Value]] = ("", []),
    ) -> None:
        """Show points; the cursor stays on its run.

        Args:
            sweep: The points.
            key: The setting.
            places: Of the marked runs, by path.
            second: Another setting and its values, each of which has a line.
        """
        kept = self.current
        self.sweep, self._key, self._second = sweep, key, second
        paths = [one.run.path for one in sweep.points]
        unmarked = not any(path in places for path in paths)
        if unmarked and len(paths) <= MOST_LETTERS:
            for path in paths:
                self._own.setdefault(path, len(self._own))
            places = self._own
        self._places = places
        self.cursor = paths.index(kept) if kept in paths else self._best
        self._draw()

    def join_seeds(self, joins: bool) -> None:
        """Draw a band and a mean where runs differ in the seed alone, or only the runs."""
        self.joins_seeds = joins
        self._draw()

    @property
    def spreads(self) -> list[SeedSpread]:
        """Of the runs that differ in the seed alone."""
        from engine.runs.sweep import seed_spreads

        return seed_spreads(self.sweep.points) if self.sweep else []

    @property
    def current(self) -> str | None:
        """The path of the run at the cursor."""
        points = self.sweep.points if self.sweep else []
        return points[self.cursor].run.path if self.cursor < len(points) else None

    @property
    def _best(self) -> int:
        points = self.sweep.points if self.sweep else []
        return min(range(len(points)), key=lambda i: points[i].y, default=0)

    def letter_of(self, path: str) -> str:
        place = self._places.get(path)
        return "" if place is None else letter_of(place)

    def move(self, points: int) -> None:
        self.move_to(self.cursor + points)

    def move_to(self, cursor: int) -> None:
        count = len(self.sweep.points) if self.sweep else 0
        cursor = max(0, min(cursor, count - 1))
        if count and cursor != self.cursor:
            self.cursor = cursor
            self._draw()
            self.post_message(self.Moved())

    def on_resize(self) -> None:
        self._draw()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Go to the nearest point; a second click chooses its run."""
        places = self._plot.places if self._plot else []
        away = [abs(x - event.x) + 2 * abs(y - event.y) for x, y in places]
        if away and min(away) <= NEAR:
            self.move_to(away.index(min(away)))
            if event.chain == 2:
                self.post_message(self.Chosen())

    def _draw(self) -> None:
        from tui.charts.sweep import POINT_SIGN, Axis, Point, Spread, draw_sweep

        self._plot = None
        if self.sweep and self.sweep.points and self.size:
            points = []
            for one in self.sweep.points:
                place = self._places.get(one.run.path)
                sign, style = POINT_SIGN, "point"
                if place is not None:
                    sign, style = letter_of(place)[-1], f"place {place}"
                points.append(Point(one.x, one.y, sign, style, self._line_of(one)))
            labels = tuple(format_value(self._key, value) for value in self.sweep.ranked)
            shown = self.spreads if self.joins_seeds else []
            spreads = [Spread(one.x, one.mean, one.low, one.high) for one in shown]
            self._plot = draw_sweep(points, Axis(labels), *self.size, self.cursor, spreads)
        self.refresh()

    def _line_of(self, point: SweptPoint) -> int:
        key, values = self._second
        config = point.run.config
        return values.index(config.get(key)) if key and config is not None else 0

    def render_line(self, y: int) -> Strip:
        rows: Sequence[list[tuple[str, str]]] = self._plot.rows if self._plot else []
        row = rows[y] if y < len(rows) else []
        segments = [Segment(text, self._style(name)) for text, name in row]
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)

    def _style(self, name: str) -> Style:
        if name.startswith("place "):
            return self.rich_style + self._colour_of(int(name.removeprefix("place ")))
        return self.get_component_rich_style(f"sweep--{name}")
