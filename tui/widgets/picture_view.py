"""A picture of rows as a widget: styles by name, and clicks on parts of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.color import Color
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tui.charts.characters import detected, in_ascii
from tui.control.preferences import AUTO

if TYPE_CHECKING:
    from tui.charts.heatmap import Ink
    from tui.inside.layout import Picture

LEVELS = 16  # the highest of a heat map
DIFFERENCES = 8


class PictureView(Widget):
    """Shows a picture that is drawn for its size.

    Besides its component classes it knows the styles of heat maps, ``heat U L``, of shaded text,
    ``shade L``, and of differences, ``diff D``; each with ``mark`` before it for signs in that
    colour, or ``cursor`` behind it.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        *(
            f"picture--{name}"
            for name in ("ink", "dim", "title", "cursor", "bar", "good", "bad", "future", "heat")
        ),
        *(f"picture--{name}" for name in ("low", "middle", "high", "less", "more")),
    }
    DEFAULT_CSS = """
    PictureView {
        height: 1fr;
        & > .picture--ink { color: $foreground; }
        & > .picture--dim { color: $foreground 60%; }
        & > .picture--future { color: $foreground 40%; }
        & > .picture--title { color: $text-primary; text-style: bold; }
        & > .picture--cursor { text-style: reverse bold; }
        & > .picture--bar { color: $text-accent; }
        & > .picture--good { color: $text-success; text-style: bold; }
        & > .picture--bad { color: $text-error; text-style: bold; }
        & > .picture--heat { color: $foreground; }
        & > .picture--low { background: $background; }
        & > .picture--middle { background: $primary; }
        & > .picture--high { background: $foreground; }
        & > .picture--less { background: $success; }
        & > .picture--more { background: $error; }
    }
    """

    class Clicked(Message):
        """A part of the picture was clicked."""

        def __init__(self, what: tuple[str | int, ...], twice: bool) -> None:
            super().__init__()
            self.what, self.twice = what, twice

    def __init__(self, draw: Callable[[int, int], Picture], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._draw = draw
        self._picture: Picture | None = None
        self._styles: dict[str, Style] = {}

    @property
    def ink(self) -> Ink:
        """What pictures are made of on this terminal: colours, or characters with more ink."""
        app: Any = self.app
        characters = app.preferences.get("chart.characters")
        if characters == AUTO:
            characters = detected(os.environ)
        if characters == "ascii":
            return "ascii"
        few = app.color_depth is ColorSystem.STANDARD
        return "blocks" if few or app.no_color else "pixels"

    @property
    def picture(self) -> Picture:
        if self._picture is None:
            self._picture = self._draw(*self.size)
        return self._picture

    def redraw(self) -> None:
        """Draw it anew, and paint the rows that have changed."""
        before, self._picture = self._picture, None
        if before is None or not self.size:
            self.refresh()
            return
        after = self.picture.rows
        for row in range(self.size.height):
            was = before.rows[row] if row < len(before.rows) else []
            if was != (after[row] if row < len(after) else []):
                self.refresh(Region(0, row, self.size.width, 1))

    def on_resize(self) -> None:
        self._picture = None
        self.refresh()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles.clear()
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        if what := self.picture.target_at(event.y, event.x):
            self.post_message(self.Clicked(what, event.chain == 2))

    def render_line(self, y: int) -> Strip:
        rows = self.picture.rows
        row = rows[y] if y < len(rows) else []
        if self.ink == "ascii":
            row = [(in_ascii(text), name) for text, name in row]
        segments = [Segment(text, self._style(name)) for text, name in row]
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)

    def _style(self, name: str) -> Style:
        found = self._styles.get(name)
        if found is None:
            found = self._styles[name] = self._make_style(name)
        return found

    def _make_style(self, name: str) -> Style:
        kind, *rest = name.split()
        if kind == "mark":
            # signs below a text, in its colour
            behind = self._make_style(" ".join(rest)).bgcolor
            if rest[-1] == "cursor" or behind is None or behind.triplet is None:
                return self.get_component_rich_style("picture--ink")
            return self.rich_style + Style.from_color(behind)
        if rest and rest[-1] == "cursor":
            shaded = self._make_style(" ".join([kind, *rest[:-1]]))
            return shaded + self.get_component_rich_style("picture--cursor", partial=True)
        if kind == "heat" and len(rest) == 2:
            upper, lower = (self._colour(int(level)) for level in rest)
            return Style.from_color(upper.rich_color, lower.rich_color)
        if kind == "shade":
            return self._on(self._colour(int(rest[0])))
        if kind == "diff":
            return self._on(self._difference(int(rest[0])))
        return self.get_component_rich_style(f"picture--{kind}")

    def _on(self, behind: Color) -> Style:
        """Return a style for text on a colour."""
        return Style.from_color(behind.get_contrast_text(0.95).rich_color, behind.rich_color)

    def _background(self, name: str) -> Color:
        return self.get_component_styles(f"picture--{name}").background

    def _colour(self, level: int) -> Color:
        """Return the colour of a level of heat, from the background by a hue to the foreground."""
        share = level / LEVELS
        low, middle, high = map(self._background, ("low", "middle", "high"))
        if share <= 0.5:
            return low.blend(middle, share * 2, alpha=1.0)
        return middle.blend(high, share * 2 - 1, alpha=1.0)

    def _difference(self, level: int) -> Color:
        towards = self._background("less" if level < 0 else "more")
        return self._background("low").blend(towards, abs(level) / DIFFERENCES, alpha=1.0)
