"""What the screens of pictures have in common: one view at a time, chosen by tabs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from textual import getters
from textual.screen import ScreenResultType

from tui.screens.keyed import KeyedScreen
from tui.widgets.picture_view import PictureView


class Movable(Protocol):
    """A view in which one can move."""

    def move(self, by: int) -> None: ...

    def go_down(self, by: int) -> None: ...


class PictureScreen(KeyedScreen[ScreenResultType]):
    """Shows one of several views in a ``PictureView``."""

    AUTO_FOCUS = ""

    picture = getters.query_one(PictureView)

    @property
    def views(self) -> Mapping[str, Movable]:
        """All views by name, in the order of their tabs."""
        raise NotImplementedError

    @property
    def shown(self) -> str:
        """The name of the view that is shown."""
        raise NotImplementedError

    def refresh_picture(self) -> None:
        for picture in self.query(PictureView):  # none before it is built
            picture.redraw()
        self.refresh_bindings()

    def action_show(self, view: str) -> None:
        raise NotImplementedError

    def action_next_view(self, by: int) -> None:
        names = list(self.views)
        self.action_show(names[(names.index(self.shown) + by) % len(names)])

    def action_move(self, by: int) -> None:
        self.views[self.shown].move(by)
        self.refresh_picture()

    def action_go_down(self, by: int) -> None:
        self.views[self.shown].go_down(by)
        self.refresh_picture()
