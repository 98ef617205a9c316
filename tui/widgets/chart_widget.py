"""A chart as a widget: rows of styled text, of which only those that differ are painted again."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Generic, Literal, TypeAlias, TypeVar

from rich.segment import Segment
from textual.geometry import Region, Size
from textual.reactive import var
from textual.strip import Strip
from textual.widget import Widget

from tui.terminal.visible import visible_line

if TYPE_CHECKING:
    # Drawing loads numpy and plotext, and there is nothing to draw before the first paint.
    from tui.charts.picture import Picture

Row: TypeAlias = list[tuple[str, str]]
"""One screen row as stretches of text, each with the name of its style."""

Window: TypeAlias = Literal["full", "recent"]
PictureT = TypeVar("PictureT", bound="Picture")

SMALLEST_CHART = 5  # rows; in fewer the curves need those of the legend


class ChartWidget(Widget, Generic[PictureT]):
    """Draws when asked to, and paints no more than has changed.

    Nothing happens by itself: whoever owns the chart calls `refresh_data` now and then, which is
    nearly free while nothing has changed.
    """

    log_y: var[bool] = var(False)
    """Logarithmic losses, where all of them are positive."""

    window: var[Window] = var[Window]("full")
    """All steps, or the last fifth of them."""

    empty_text: var[str] = var("")
    """What to say while there is nothing to show."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "chart--axis",
        "chart--bad",
        "chart--blank",
        "chart--ghost",
        "chart--hint",
        "chart--legend",
        "chart--mark",
        "chart--raw",
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
        /* six hues of our own: a theme's are fewer, and not six any more in 16 colours */
        & > .chart--run-a { color: #6c9fff; text-style: bold; }
        & > .chart--run-b { color: #ffb347; text-style: bold; }
        & > .chart--run-c { color: #4fd06b; text-style: bold; }
        & > .chart--run-d { color: #f06bd8; text-style: bold; }
        & > .chart--run-e { color: #45d8e0; text-style: bold; }
        & > .chart--run-f { color: #ff6b5e; text-style: bold; }
        &:light > .chart--run-a { color: #1f4fd0; }
        &:light > .chart--run-b { color: #a86400; }
        &:light > .chart--run-c { color: #0b7a2e; }
        &:light > .chart--run-d { color: #a0169a; }
        &:light > .chart--run-e { color: #007b86; }
        &:light > .chart--run-f { color: #b5140c; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows: list[Row] = []
        self._strips: dict[int, Strip] = {}
        self._drawn_size: Size | None = None
        self._drawn_state: object = None

    def data_state(self) -> object:
        """Return what the picture depends on, besides this class's own attributes."""
        raise NotImplementedError

    def picture(self) -> PictureT | None:
        """Return what to draw; None while there is nothing to show."""
        raise NotImplementedError

    def legend(self, picture: PictureT, width: int) -> list[Row]:
        """Return the rows above the picture."""
        raise NotImplementedError

    def state(self) -> object:
        """Return everything a drawing depends on but its size."""
        return self.data_state(), self.log_y, self.window, self.empty_text

    def drawing(self, width: int, height: int) -> list[Row]:
        """Return the legend and the rows of the picture, or a word on why there is none."""
        picture = self.picture()
        if picture is None:
            return centred(self.empty_text, width, height)
        from tui.charts.picture import draw

        legend = self.legend(picture, width)[: max(height - SMALLEST_CHART, 0)]
        frame = draw(picture, width, height - len(legend))
        return [*legend, *(frame.row(y) for y in range(height - len(legend)))]

    def flags(self, picture: PictureT, width: int) -> list[str]:
        """Return what the legend says of the axes."""
        from tui.charts.axes import RECENT_SHARE

        flags = []
        if self.log_y:
            positive = picture.can_be_logarithmic(width)
            flags.append("log" if positive else "no log: not all positive")
        if self.window == "recent":
            flags.append(f"last {RECENT_SHARE:.0%}")
        return flags

    def steps_shown(self, last: int, max_step: int | None = None) -> tuple[int, int]:
        """Return the ends of the horizontal axis, given the latest step and the run's last one."""
        from tui.charts.axes import full_range, recent_range

        return (recent_range if self.window == "recent" else full_range)(last, max_step)

    def toggle_log(self) -> None:
        self.log_y = not self.log_y

    def toggle_window(self) -> None:
        self.window = "recent" if self.window == "full" else "full"

    def watch_log_y(self) -> None:
        self.refresh_data()

    def watch_window(self) -> None:
        self.refresh_data()

    def watch_empty_text(self) -> None:
        self.refresh_data()

    def refresh_data(self) -> None:
        """Draw again if anything has changed since, and repaint the rows that differ."""
        if self.state() == self._drawn_state or not self.size:
            return
        if self._drawn_size != self.size:
            self.refresh()  # a resize or the first time: painting itself draws
            return
        before = self._rows
        self._draw()
        changed = [y for y, row in enumerate(self._rows) if row != before[y]]
        for y in changed:
            self._strips.pop(y, None)
        if changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def notify_style_update(self) -> None:
        """Forget strips in the colours of the last theme."""
        self._strips.clear()
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        """Return row `y`, drawing all of them first if the size is new."""
        if self._drawn_size != self.size:
            self._draw()
            self._strips.clear()
        strip = self._strips.get(y)
        if strip is None:
            row = self._rows[y] if y < len(self._rows) else []
            strip = self._strips[y] = self._strip(row)
        return strip

    def _draw(self) -> None:
        # Read first: what is added while we draw then counts as new.
        self._drawn_state = self.state()
        self._drawn_size = self.size
        self._rows = self.drawing(*self.size)

    def _strip(self, row: Row) -> Strip:
        segments = [
            Segment(visible_line(text), self.get_component_rich_style(f"chart--{style}"))
            for text, style in row
        ]
        blank = self.get_component_rich_style("chart--blank")
        return Strip(segments).adjust_cell_length(self.size.width, blank)


def length_of(row: Row) -> int:
    return sum(len(text) for text, _ in row)


def centred(text: str, width: int, height: int) -> list[Row]:
    rows: list[Row] = [[] for _ in range(height)]
    text = text[:width]
    if text and height:
        rows[height // 2] = [(" " * ((width - len(text)) // 2), "blank"), (text, "hint")]
    return rows
