"""Painting only what has changed: Textual's compositor renders all between the changes, too."""

from __future__ import annotations

from collections.abc import Iterable

from textual._compositor import ChopsUpdate, Compositor
from textual.geometry import Region
from textual.strip import Strip


class ChangesCompositor(Compositor):
    """Renders, for an update of a part of the screen, only the rows of widgets that are in it.

    Textual 8.2 renders each widget within the rectangle around all changes. A status line at the
    top and a chart at the bottom change a few times a second, so that this is the whole screen.
    """

    _changes: tuple[Region, ...] = ()

    def render_partial_update(self) -> ChopsUpdate | None:
        self._changes = tuple(self._dirty_regions)
        try:
            return super().render_partial_update()
        finally:
            self._changes = ()

    def _get_renders(
        self, crop: Region | None = None
    ) -> Iterable[tuple[Region, Region, list[Strip]]]:
        if not self._changes:
            yield from super()._get_renders(crop)
            return
        for widget, (region, clip) in self.visible_widgets.items():
            seen = region.intersection(clip)
            rows = [change.line_span for change in self._changes if seen and seen.overlaps(change)]
            if not rows:
                continue
            top = max(min(first for first, _ in rows), seen.y)
            bottom = min(max(after for _, after in rows), seen.bottom)
            part = Region(seen.x, top, seen.width, bottom - top)
            yield region, part, widget.render_lines(part.translate(-region.offset))
