"""A double click is on one screen: what follows the click that changes it does nothing."""

from __future__ import annotations

import pytest
from textual.events import MouseDown, MouseScrollDown, MouseScrollUp, MouseUp

from engine.protocol import State
from tests.tui.conftest import Open, Person
from tui.screens.runs import RunsScreen
from tui.widgets.charts_frame import ChartsFrame
from tui.widgets.field import FieldLabel
from tui.widgets.keys_footer import KeysFooter


def place_of(person: Person, action: str) -> tuple[int, int]:
    """Where the footer has the key of an action."""
    footer, x = person.app.screen.query_one(KeysFooter), 0
    for key in footer.keys:
        if key.action == action:
            return footer.region.x + x, footer.region.y
        x += key.width
    raise AssertionError(f"no {action} in {footer.keys}")


def click(person: Person, x: int, y: int, seconds: float = 0.0) -> None:
    """Press and release the mouse's button as a driver does; Pilot bypasses the app."""
    for kind in (MouseDown, MouseUp):
        event = kind(None, x, y, 0, 0, 1, False, False, False, x, y)
        event.time = seconds  # however long the test takes
        person.app.post_message(event)


@pytest.mark.parametrize("clicks", [2, 3])
@pytest.mark.parametrize("closed_between", [True, False])
async def test_the_rest_of_a_double_click_that_closes_a_screen_does_nothing(
    open_app: Open, clicks: int, closed_between: bool
) -> None:
    async with open_app() as person:
        person.app.preferences.set_key("runs.back", "escape")
        await person.press("r")
        await person.until(lambda: person.shows(RunsScreen))
        x, y = place_of(person, "leave")
        click(person, x, y)
        if closed_between:
            await person.until(lambda: person.app.screen is person.cockpit)
        below = person.cockpit.query_one(KeysFooter)._key_at(x)
        assert below and below.enabled, "a key of the cockpit is in that place"
        for number in range(1, clicks):
            click(person, x, y, number * 0.3)
        await person.until(lambda: person.app.screen is person.cockpit)
        await person.pilot.pause(0)
        assert person.app.screen is person.cockpit and person.status.state is State.IDLE
        assert person.cockpit.focused is None and not person.told()


async def test_other_clicks_each_count(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_app() as person:
        pressed: list[str] = []
        monkeypatch.setattr(person.app, "press_on", lambda screen, key: pressed.append(key))
        x, y = place_of(person, "start")
        click(person, x, y)
        click(person, x, y, 0.2)  # a double click on one screen
        await person.until(lambda: pressed == ["space"] * 2)
        await person.press("r")
        await person.until(lambda: person.shows(RunsScreen))
        below = person.app.screen.query_one(KeysFooter)._key_at(x)
        assert below and below.enabled
        click(person, x, y, 0.4)
        click(person, x, y, 1.0)  # later than a double click
        await person.until(lambda: len(pressed) > 2)
        assert pressed == ["space", "space", below.key]


async def test_a_click_on_a_label_goes_to_its_field(open_app: Open) -> None:
    async with open_app(size=(120, 40)) as person:
        labels = list(person.cockpit.samples.query(FieldLabel))
        assert [str(one.render()) for one in labels] == ["prompt", "temp", "top-k", "seed"]
        for label in labels:
            await person.pilot.click(label)
            assert person.cockpit.focused is not None
            assert person.cockpit.focused.region.x > label.region.x


async def test_pages_of_charts_turn_by_their_label_and_by_the_wheel(open_app: Open) -> None:
    async with open_app(size=(80, 24)) as person:
        await person.start_and_pause()
        await person.press("g")
        frame, charts = person.cockpit.query_one(ChartsFrame), person.cockpit.charts
        await person.until(lambda: "◂ 1/" in str(frame.border_subtitle), "pages")
        first, label = charts._shown, frame.label
        click(person, label.right - 1, label.y)
        await person.until(lambda: "◂ 2/" in str(frame.border_subtitle))
        assert charts._shown != first
        height = person.app.preferences.get("screen.chart_height")
        click(person, label.x, label.y)
        await person.until(lambda: "◂ 1/" in str(frame.border_subtitle))
        assert person.app.preferences.get("screen.chart_height") == height, "no drag"
        for kind, page in ((MouseScrollDown, 2), (MouseScrollUp, 1)):
            x, y = label.x, label.y
            person.app.post_message(kind(None, x, y, 0, 1, 0, False, False, False, x, y))
            await person.until(lambda p=page: f"◂ {p}/" in str(frame.border_subtitle))  # type: ignore[misc]
