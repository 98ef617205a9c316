"""The panels of the cockpit: hidden, resized and remembered; a mode for a projector."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from textual import events
from textual.geometry import Offset
from textual.screen import Screen

from data.errors import InputError
from tui.control.preferences import PREFERENCES, Preferences
from tui.widgets.chart_grid import ChartGrid
from tui.widgets.charts_frame import ChartsFrame

if TYPE_CHECKING:
    _Base = Screen[None]
else:
    _Base = object

# which panels are beside the chart: settings, text
LAYOUTS = ((True, True), (False, True), (True, False), (False, False))
HEIGHT_FOR_TEN = 22  # of a screen with room for ten rows of curves and some text
WIDTH, HEIGHT = "screen.settings_width", "screen.chart_height"
AT_LIMIT = "the {} as {} as possible here"
NAMES = ("screen.settings", "screen.text")


class Panels(_Base):
    """Sizes of the cockpit's panels, by key and by dragging the borders between them."""

    _dragged = ""  # the preference that a drag changes

    @property
    def _preferences(self) -> Preferences:
        preferences: Preferences = self.app.preferences  # type: ignore[attr-defined]
        return preferences

    def arrange_panels(self, changed: str = "") -> None:
        """Put the preferred layout into effect, as far as there is room.

        Args:
            changed: The preference that has changed; empty if it may be any.
        """
        if not self.is_attached or changed not in ("", WIDTH, HEIGHT, *NAMES):
            return
        get, width = self._preferences.get, self.size.width
        self.hide_panels(self.size.height)
        chosen = min(get(WIDTH), width - 40)
        self.query_one("#settings").styles.width = chosen if chosen >= 24 else None
        share = get(HEIGHT)
        self.query_one("#chart-frame").styles.height = f"{share}fr" if share else None
        self.query_one("#samples").styles.height = f"{100 - share}fr" if share else None

    def hide_panels(self, height: int, update: bool = True) -> None:
        """Have the classes for the panels that are hidden, and for a low screen.

        Args:
            height: Of the screen.
            update: Whether styles follow; else they are computed later.
        """
        get = self._preferences.get
        self.set_class(not get(NAMES[0]), "-no-settings", update=update)
        self.set_class(not get(NAMES[1]), "-no-text", update=update)
        self.set_class(height < HEIGHT_FOR_TEN, "-tiny", update=update)

    def _remember(self, name: str, value: object) -> None:
        try:
            self._preferences.set(name, value)
        except InputError as error:
            self.notify(f"this is not remembered: {error}", severity="warning")
        self.arrange_panels(name)

    def action_next_layout(self) -> None:
        """Hide the settings, the text or both, or show them again."""
        settings, text = (bool(self._preferences.get(name)) for name in NAMES)
        narrow = self.has_class("-narrow")  # the settings are not beside the chart there
        layouts = [one for one in LAYOUTS if one[0] == settings or not narrow]
        following = layouts[(layouts.index((settings, text)) + 1) % len(layouts)]
        for name, shown in zip(NAMES, following, strict=True):
            self._remember(name, shown)

    def action_resize_settings(self, columns: int) -> None:
        """Make the settings wider, or narrower."""
        settings = self.query_one("#settings")
        if not settings.display:
            return
        now = settings.outer_size.width
        wanted = max(24, min(now + columns, self.size.width - 40))
        if (wanted - now) * columns > 0:
            self._set_within(WIDTH, wanted)
        else:
            self.notify(AT_LIMIT.format("settings are", "wide" if columns > 0 else "narrow"))

    def action_resize_chart(self, percent: int) -> None:
        """Make the chart higher, or lower."""
        chart, samples = self.query_one("#chart-frame"), self.query_one("#samples")
        if not samples.display:
            return
        now = chart.outer_size.height
        both = now + samples.outer_size.height
        least, one = chart.styles.min_height, cast(Any, PREFERENCES[HEIGHT])
        lowest = max(least.value if least else 0, both * one.minimum / 100)
        rows = max(1, round(both * abs(percent) / 100)) * (1 if percent > 0 else -1)
        wanted = max(lowest, min(now + rows, both * one.maximum // 100))
        if (wanted - now) * percent > 0:  # a share of part of a row counts as none: round up
            self._set_within(HEIGHT, math.ceil(100 * wanted / both))
        else:
            self.notify(AT_LIMIT.format("chart is", "high" if percent > 0 else "low"))

    def _set_within(self, name: str, value: float) -> None:
        one: Any = PREFERENCES[name]
        self._remember(name, int(min(max(value, one.minimum), one.maximum)))

    def action_preferences(self) -> None:
        """Open the preferences."""
        from tui.screens.preferences import PreferencesScreen

        self.app.push_screen(PreferencesScreen(self._preferences))

    def action_projector(self) -> None:
        """Show the chart and the text alone, large and in high contrast; or all again."""
        on = not self.has_class("-projector")
        self.set_class(on, "-projector")
        charts = self.query_one(ChartGrid)
        charts.enlarge(on)
        if on:
            charts.mode = "loss"
        self.app.use_high_contrast(on)  # type: ignore[attr-defined]
        self.refresh_bindings()

    action_leave_projector = action_projector

    # -- by mouse --------------------------------------------------------------------------------

    def border_at(self, at: Offset) -> str:
        """Return the preference that dragging this place changes; empty for none."""
        settings, chart = self.query_one("#settings"), self.query_one("#chart-frame")
        samples = self.query_one("#samples")
        main, edges = settings.region, (chart.region.bottom - 1, samples.region.y)
        if settings.display and at.x == main.x and main.y <= at.y < main.bottom:
            return WIDTH
        if self.query_one(ChartsFrame).label.contains_point(at):
            return ""
        if samples.display and at.x < chart.region.right and at.y in edges:
            return HEIGHT
        return ""

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self._dragged = self.border_at(event.screen_offset)
        if self._dragged:
            self.capture_mouse()
            event.stop()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        at = event.screen_offset
        if self._dragged == WIDTH:
            self.query_one("#settings").styles.width = self._width_at(at)
        elif self._dragged == HEIGHT:
            share = self._share_at(at)
            self.query_one("#chart-frame").styles.height = f"{share}fr"
            self.query_one("#samples").styles.height = f"{100 - share}fr"

    def on_mouse_up(self, event: events.MouseUp) -> None:
        dragged, self._dragged = self._dragged, ""
        if dragged:
            self.release_mouse()
            at = event.screen_offset
            value = self._width_at(at) if dragged == WIDTH else self._share_at(at)
            self._set_within(dragged, value)

    def _width_at(self, at: Offset) -> int:
        return max(24, min(self.query_one("#main").region.right - at.x, self.size.width - 40))

    def _share_at(self, at: Offset) -> int:
        left = self.query_one("#left").region
        return max(20, min(round(100 * (at.y - left.y) / max(left.height, 1)), 90))
