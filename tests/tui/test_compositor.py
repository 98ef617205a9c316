"""An update writes what Textual's own compositor would write, and renders no other widget."""

from __future__ import annotations

import random

import pytest
from textual._compositor import Compositor
from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.screens.keyed import KeyedScreen
from tui.terminal.compositor import ChangesCompositor
from tui.widgets.keys_footer import KeysFooter


class Numbered(Widget):
    """Fills its rows with a letter, and notes which rows are asked for."""

    def __init__(self, letter: str) -> None:
        super().__init__(id=letter)
        self.asked: list[Region] = []

    def render_lines(self, crop: Region) -> list[Strip]:
        self.asked.append(crop)
        return super().render_lines(crop)

    def render(self) -> str:
        letter = self.id or ""
        return "\n".join(f"{letter}{row} " * 40 for row in range(60))


class Mosaic(KeyedScreen[None]):
    """Widgets beside, within and above each other, one of them scrolled."""

    def compose(self) -> ComposeResult:
        yield from (Numbered(letter) for letter in "abc")
        yield VerticalScroll(Numbered("e"))
        yield Numbered("d")
        yield KeysFooter()


class MosaicApp(App[None]):
    CSS = """
    Mosaic { layers: default above; overflow: hidden; layout: grid; grid-size: 2 3; }
    #d { layer: above; width: 20; height: 6; offset: 10 4; border: round red; }
    #e { height: 60; width: 50; }
    """

    def get_default_screen(self) -> Mosaic:
        return Mosaic()


@pytest.mark.parametrize("seed", range(8))
async def test_an_update_is_that_of_textual(seed: int) -> None:
    chance = random.Random(seed)
    async with MosaicApp().run_test(size=(70, 30)) as pilot:
        await pilot.pause()
        screen = pilot.app.screen
        screen.query_one(VerticalScroll).scroll_to(y=7, animate=False)
        await pilot.pause()
        ours = screen._compositor
        assert isinstance(ours, ChangesCompositor)
        for _ in range(20):
            regions = {
                Region(chance.randrange(70), chance.randrange(30), 1 + size, 1 + size % 4)
                for size in chance.sample(range(30), chance.randint(1, 4))
            }
            regions = {one.intersection(screen.region) for one in regions}
            ours._dirty_regions = set(regions)
            written = ours.render_partial_update()
            ours._dirty_regions = set(regions)
            expected = Compositor.render_partial_update(ours)
            assert written is not None and expected is not None
            console = pilot.app.console
            assert written.render_segments(console) == expected.render_segments(console)


async def test_only_the_rows_that_changed_are_rendered() -> None:
    async with MosaicApp().run_test(size=(70, 30)) as pilot:
        await pilot.pause()
        widgets = {one.id: one for one in pilot.app.screen.query(Numbered)}
        for one in widgets.values():
            one.asked.clear()
        first, last = widgets["a"], widgets["c"]
        pilot.app.screen._compositor._dirty_regions = {
            Region(first.region.x, first.region.y + 1, 5, 1),
            Region(last.region.x, last.region.y + 2, 5, 2),
        }
        pilot.app.screen._compositor.render_partial_update()
        assert first.asked == [Region(0, 1, first.region.width, 1)]
        assert last.asked == [Region(0, 2, last.region.width, 2)]
        assert not widgets["b"].asked and not widgets["e"].asked
