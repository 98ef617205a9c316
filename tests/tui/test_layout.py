"""Nothing overlaps, nothing scrolls, from the smallest terminal to a large one."""

from __future__ import annotations

from functools import partial
from itertools import combinations

import pytest
from textual import events
from textual.geometry import Region
from textual.widgets import Static

from tests.tui.conftest import Open, Person
from tui.widgets.settings_panel import SettingsPanel


def parts(person: Person) -> dict[str, Region]:
    """Where the parts are that can be seen."""
    names = (
        "StatusBar",
        "Notice",
        "#chart-frame",
        "#samples",
        "#settings",
        "#too-small",
        "KeysFooter",
    )
    found = {name: person.cockpit.query_one(name) for name in names}
    return {name: part.region for name, part in found.items() if part.display and part.region}


def assert_whole(person: Person, *expected: str) -> None:
    """The parts lie side by side within the screen."""
    screen = person.cockpit
    assert (screen.max_scroll_x, screen.max_scroll_y) == (0, 0)
    seen = parts(person)
    assert set(expected) <= seen.keys()
    for name, region in seen.items():
        assert region.area > 0, name
        assert screen.region.contains_region(region), (name, region)
    for (one, first), (other, second) in combinations(seen.items(), 2):
        assert not first.overlaps(second), (one, other)
    inside = person.cockpit.query_one("#chart-frame").region
    assert inside.width >= 20 and inside.height >= 3


@pytest.mark.parametrize(
    ("size", "has_settings"),
    [((60, 16), False), ((80, 24), False), ((120, 40), True), ((200, 50), True)],
)
async def test_the_cockpit_is_whole(
    open_app: Open, size: tuple[int, int], has_settings: bool
) -> None:
    always = ("StatusBar", "#chart-frame", "#samples", "KeysFooter")
    async with open_app(size=size) as person:
        assert_whole(person, *always)
        assert ("#settings" in parts(person)) == has_settings

        person.cockpit.notice.say("a message of two lines\nthat takes some room", "error")
        await person.pilot.pause(0.05)
        assert_whole(person, *always, "Notice")

        await person.press("e")
        await person.pilot.pause(0.05)
        assert_whole(person, *always, "#settings")
        for part in ("#settings-list", "#setting-detail"):
            assert person.cockpit.query_one(part).region.height >= 3
        await person.press("escape")
        await person.pilot.pause(0.05)
        assert ("#settings" in parts(person)) == has_settings


async def test_a_long_message_leaves_room_for_chart_and_text_and_the_help_has_it_whole(
    open_app: Open,
) -> None:
    message = "one line of it\n" + "and another, too long for any terminal, " * 9 + "to its end"
    async with open_app(size=(80, 24)) as person:
        await person.start_and_pause()
        person.cockpit.say(message)
        await person.until(lambda: "Notice" in parts(person))
        assert person.cockpit.notice.region.height == 2
        shown = str(person.cockpit.notice.render()).splitlines()
        assert shown[0] == "one line of it"
        assert len(shown[1]) <= 78 and shown[1].endswith(" … ? shows all")
        assert person.cockpit.chart.region.height >= 13  # ten of curves; legend and axis
        assert person.cockpit.samples.view.region.height >= 1
        await person.press("question_mark")
        page = person.app.screen.query_one("#message", Static)
        assert message in str(page.render())
        await person.press("escape")
        await person.pilot.resize_terminal(80, 40)
        await person.until(lambda: person.cockpit.notice.region.height == 6, "more room")


async def test_a_terminal_too_small_gets_a_sentence_and_no_more(open_app: Open) -> None:
    async with open_app(size=(80, 24)) as person:
        await person.pilot.resize_terminal(40, 10)
        await person.until(lambda: "#too-small" in parts(person))
        assert parts(person).keys() == {"#too-small"}
        said = str(person.cockpit.query_one("#too-small").render())
        assert "this terminal is 40x10" in said
        assert "needs 60x16" in said
        for key in ("p", "e", "slash", "p"):  # which focus a field elsewhere
            await person.press(key)
            assert person.cockpit.focused is None

        await person.pilot.resize_terminal(80, 24)
        await person.until(lambda: "#too-small" not in parts(person))
        assert_whole(person, "StatusBar", "#chart-frame", "#samples", "KeysFooter")


async def test_the_chart_is_drawn_anew_after_a_resize(open_app: Open) -> None:
    async with open_app(size=(80, 24)) as person:
        await person.start_and_pause()
        for width, height in ((120, 40), (60, 16), (200, 50)):
            await person.pilot.resize_terminal(width, height)
            await person.until(partial(lambda width: person.cockpit.size.width == width, width))
            chart = person.cockpit.chart
            lines = [chart.render_line(y).text for y in range(chart.size.height)]
            assert {len(line) for line in lines} == {chart.size.width}
            assert any("┤" in line for line in lines)
            assert_whole(person, "#chart-frame", "#samples")


async def test_the_first_layout_is_that_of_the_size(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    widths: set[int] = set()

    def note(_: SettingsPanel, event: events.Resize) -> None:
        widths.add(event.size.width)

    monkeypatch.setattr(SettingsPanel, "on_resize", note, raising=False)
    async with open_app(size=(200, 50)) as person:
        await person.until(lambda: widths, "a layout")
        assert widths == {person.cockpit.settings.outer_size.width}
