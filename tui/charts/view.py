"""How one looks at charts. It imports nothing heavy: it is there before the first paint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

if TYPE_CHECKING:
    from tui.charts.window import Window

Unit: TypeAlias = Literal["steps", "tokens", "epochs", "time", "FLOPs"]
UNITS: tuple[Unit, ...] = ("steps", "tokens", "epochs", "time", "FLOPs")

Range: TypeAlias = Literal["robust", "full", "log"]
RANGES: tuple[Range, ...] = ("robust", "full", "log")

# Weights of the old average, as TensorBoard's slider; 0 is off.
SMOOTHINGS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99)

# Fewest steps that one can zoom in to.
NARROWEST = 4.0


class View(Struct, frozen=True):
    """What of charts is shown; those that share a view show the same steps.

    Args:
        zoom: The first and the last step that are shown; None shows all of them.
        follow: Whether a zoomed window moves along with the end of the run.
        recent: Without a zoom: only the last fifth of the steps.
        unit: Of the horizontal axis.
        log_x: Whether that is logarithmic.
        y: The range of the vertical axis: what matters, all, or all on a logarithmic axis.
        limits: Its ends, where they were chosen.
        smoothing: Weight of the old average; 0 shows only what was measured.
        references: Whether lines to compare with are drawn.
        cursor: The step whose values are read.
    """

    zoom: tuple[float, float] | None = None
    follow: bool = False
    recent: bool = False
    unit: Unit = "steps"
    log_x: bool = False
    y: Range = "robust"
    limits: tuple[float | None, float | None] = (None, None)
    smoothing: float = 0.9
    references: bool = True
    cursor: int | None = None

    def steps_shown(self, whole: tuple[float, float], end: float) -> tuple[float, float]:
        """Return the first and the last step to show.

        Args:
            whole: Those that are shown without a zoom.
            end: The latest step of the run.
        """
        if self.zoom is None:
            return whole
        first, last = self.zoom
        if self.follow:
            width = last - first
            first = max(end - width, whole[0])  # early on the end is nearer than the width
            last = first + width
        return first, max(last, first + 1.0)

    def zoomed(self, window: Window, whole: Window, factor: float, at: float) -> View:
        """Zoom in (a factor below 1) or out.

        Args:
            window: What is shown now.
            whole: What is shown without a zoom.
            factor: Of the width.
            at: The place that stays where it is, as a share of the width.
        """
        return self._between(window, whole, at - at * factor, at + (1.0 - at) * factor)

    def selected(self, window: Window, whole: Window, low: float, high: float) -> View:
        """Show what lies between two shares of the width."""
        return self._between(window, whole, min(low, high), max(low, high))

    def panned(self, window: Window, whole: Window, by: float) -> View:
        """Move by a share of the width, as far as there is something to see."""
        if self.zoom is None and not self.recent:
            return self  # everything is shown
        ends = [float(whole.shares(float(window.steps_at(share)))) for share in (0.0, 1.0)]
        width = ends[1] - ends[0]
        left = min(max(ends[0] + by * width, 0.0), max(1.0 - width, 0.0))
        zoom = float(whole.steps_at(left)), float(whole.steps_at(left + width))
        return replace(self, zoom=zoom, follow=False)

    def fitted(self) -> View:
        """Show all steps, on an axis whose ends are not chosen."""
        return replace(self, zoom=None, follow=False, recent=False, limits=(None, None))

    def following(self, window: Window) -> View:
        """Move along with the end, as wide as now; or stop doing so."""
        ends = float(window.steps_at(0.0)), float(window.steps_at(1.0))
        return replace(self, zoom=self.zoom or ends, recent=False, follow=not self.follow)

    def smoothed(self, by: int) -> View:
        """Smooth more or less."""
        near = min(range(len(SMOOTHINGS)), key=lambda at: abs(SMOOTHINGS[at] - self.smoothing))
        at = min(max(near + by, 0), len(SMOOTHINGS) - 1)
        return replace(self, smoothing=SMOOTHINGS[at])

    def _between(self, window: Window, whole: Window, low: float, high: float) -> View:
        first, last = float(window.steps_at(low)), float(window.steps_at(high))
        ends = float(whole.steps_at(0.0)), float(whole.steps_at(1.0))
        if last - first >= (ends[1] - ends[0]) * 0.999:
            return replace(self, zoom=None, recent=False, follow=False)
        if last - first < NARROWEST:
            middle = (first + last) / 2
            first, last = middle - NARROWEST / 2, middle + NARROWEST / 2
        width = last - first
        first = min(max(first, ends[0]), max(ends[1] - width, ends[0]))
        return replace(self, zoom=(first, first + width), follow=False)
