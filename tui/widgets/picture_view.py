"""A picture of rows as a widget: styles by name, and clicks on parts of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rich.color import ColorSystem
from rich.color_triplet import ColorTriplet as Triplet
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
from tui.inside.looks import DARK, LIGHT, Colours, style_of

if TYPE_CHECKING:
    from tui.charts.heatmap import Ink
    from tui.inside.layout import Picture


def colours_of(variables: Mapping[str, str]) -> Colours:
    """Return the colours of a theme that has colours of its own."""
    behind = Color.parse(variables["background"])
    names = ("background", "foreground", "primary", "success", "error", "accent")
    return Colours(*(Triplet(*(behind + Color.parse(variables[one])).rgb) for one in names))


class PictureView(Widget):
    """Shows a picture that is drawn for its size; ``tui.inside.looks`` has its styles."""

    DEFAULT_CSS = "PictureView { height: 1fr; }"

    class Clicked(Message):
        """A part of the picture was clicked."""

        def __init__(self, what: tuple[str | int, ...], twice: bool) -> None:
            super().__init__()
            self.what, self.twice = what, twice

    def __init__(self, draw: Callable[[int, int], Picture], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._draw = draw
        self._picture: Picture | None = None
        self._colours: Colours | None = None  # of the theme

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
        self._colours = None
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
        app = self.app
        if self._colours is None:
            theme = app.current_theme
            own = LIGHT if not theme.dark else DARK  # of a terminal whose colours are not known
            self._colours = own if theme.ansi else colours_of(app.get_css_variables())
        return style_of(name, self._colours, known=not app.current_theme.ansi)
