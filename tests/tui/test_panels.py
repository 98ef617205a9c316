"""The cockpit's panels: hidden, resized by key and by mouse, remembered; room for the curves."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.events import MouseDown, MouseMove, MouseUp
from textual.geometry import Offset
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from engine.protocol import Advised, State, Status
from tests.tui.test_snapshots import (
    PAUSED,
    StillApp,
    edit_wrongly,
    recorded_metrics,
    recorded_run,
    still,
)
from tui.control.preferences import Preferences
from tui.widgets.chart_widget import ChartWidget
from tui.widgets.keys_footer import KeysFooter

__all__ = ["still"]  # a fixture

SIZES = [(80, 24), (120, 40), (200, 50)]
AROUND_CURVES = 3  # the legend, the axis and its labels
ADVICE = Advised("plateau", "the loss has not fallen for 500 steps", "halve the rate", {})


def app_with(preferences: Preferences) -> StillApp:
    app = StillApp(PAUSED)
    app.preferences = preferences
    return app


async def begin(pilot: Pilot[int]) -> StillApp:
    app = pilot.app
    assert isinstance(app, StillApp)
    await pilot.pause()
    recorded_run(app)
    await pilot.pause()
    return app


# -- room ------------------------------------------------------------------------------------------


async def show_advice(pilot: Pilot[int]) -> None:
    assert isinstance(pilot.app, StillApp)
    pilot.app.cockpit.notice.advise(ADVICE)


async def warn(pilot: Pilot[int]) -> None:
    assert isinstance(pilot.app, StillApp)
    pilot.app.cockpit.say("the text was not available:\nanother one is used instead")


async def open_settings(pilot: Pilot[int]) -> None:
    await pilot.press("e")


async def do_nothing(pilot: Pilot[int]) -> None:
    """The state speaks for itself."""


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_the_curves_have_ten_rows_in_every_state(size: tuple[int, int]) -> None:
    async with StillApp(PAUSED).run_test(size=size) as pilot:
        app = await begin(pilot)
        for state in (State.RUNNING, State.PAUSED, State.FINISHED):
            app.control.stands_at = Status(state=state, step=10)  # type: ignore[attr-defined]
            for change in (do_nothing, show_advice, warn, open_settings, edit_wrongly):
                await change(pilot)
                await pilot.pause()
                assert app.cockpit.chart.size.height - AROUND_CURVES >= 10, (state, change)
                app.cockpit.leave_all_fields()
                app.cockpit.say("")


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_nothing_is_cut_off(size: tuple[int, int]) -> None:
    async with StillApp(PAUSED).run_test(size=size) as pilot:
        app = await begin(pilot)
        main = app.cockpit.query_one("#main").region
        for panel in ("#chart-frame", "#samples"):
            assert main.contains_region(app.cockpit.query_one(panel).region)


# -- by key ----------------------------------------------------------------------------------------


async def test_panels_are_hidden_one_after_the_other_and_stay_so() -> None:
    preferences = Preferences.load()
    async with app_with(preferences).run_test(size=(120, 40)) as pilot:
        app = await begin(pilot)
        shown = []
        for _ in range(4):
            await pilot.press("backslash")
            await pilot.pause()
            cockpit = app.cockpit
            shown.append((bool(cockpit.settings.display), bool(cockpit.samples.display)))
        assert shown == [(False, True), (True, False), (False, False), (True, True)]
        await pilot.press("backslash")
    async with app_with(Preferences.load()).run_test(size=(120, 40)) as pilot:
        app = await begin(pilot)
        assert not app.cockpit.settings.display
        await pilot.press("e")  # they are there when they are asked for
        assert app.cockpit.settings.display


async def test_keys_are_commands_again_when_the_panel_with_the_focus_is_hidden() -> None:
    async with app_with(Preferences()).run_test(size=(120, 40)) as pilot:
        app = await begin(pilot)
        await pilot.click(app.cockpit.settings.list, offset=(2, 2))
        assert app.cockpit.focused is app.cockpit.settings.list
        await pilot.press("backslash", "s")
        assert not app.cockpit.settings.display and app.cockpit.focused is None


async def test_a_prompt_in_a_hidden_panel_is_shown_and_typed_on_after_a_resize() -> None:
    async with app_with(Preferences()).run_test(size=(120, 40)) as pilot:
        app = await begin(pilot)
        await pilot.press("backslash", "backslash", "backslash", "p", "a")
        await pilot.resize_terminal(130, 40)
        await pilot.press("b")
        field = app.cockpit.focused
        assert isinstance(field, Input) and field.value == "ab" and app.cockpit.samples.display


async def test_on_a_narrow_screen_each_press_changes_what_is_seen() -> None:
    async with app_with(Preferences.load()).run_test(size=(80, 24)) as pilot:
        app = await begin(pilot)
        shown = []
        for _ in range(3):
            await pilot.press("backslash")
            await pilot.pause()
            shown.append(bool(app.cockpit.samples.display))
        assert shown == [False, True, False]


async def test_panels_are_resized_by_keys_and_stay_so() -> None:
    async with app_with(Preferences.load()).run_test(size=(120, 40)) as pilot:
        cockpit = (await begin(pilot)).cockpit
        width, height = cockpit.settings.outer_size.width, cockpit.chart.size.height
        await pilot.press("ctrl+left", "ctrl+down", "ctrl+down")
        await pilot.pause()
        assert cockpit.settings.outer_size.width == width + 4
        assert cockpit.chart.size.height > height
        chosen = cockpit.settings.outer_size, cockpit.chart.size
    async with app_with(Preferences.load()).run_test(size=(120, 40)) as pilot:
        cockpit = (await begin(pilot)).cockpit
        assert (cockpit.settings.outer_size, cockpit.chart.size) == chosen


@pytest.mark.parametrize("size", SIZES[:2], ids=str)
@pytest.mark.parametrize(
    ("key", "by", "limit"),
    [
        ("ctrl+down", 1, "the chart is as high as possible here"),
        ("ctrl+up", -1, "the chart is as low as possible here"),
    ],
)
async def test_each_press_changes_the_height_up_to_a_limit_which_is_told(
    size: tuple[int, int], key: str, by: int, limit: str
) -> None:
    preferences = Preferences()
    async with app_with(preferences).run_test(size=size) as pilot:
        cockpit = (await begin(pilot)).cockpit
        frame, footer = cockpit.query_one("#chart-frame"), cockpit.query_one(KeysFooter)
        while True:
            height, kept = frame.outer_size.height, preferences.get("screen.chart_height")
            await pilot.press(key)
            await pilot.pause()
            if footer.message:
                break
            assert (frame.outer_size.height - height) * by > 0
        assert footer.message == limit
        assert frame.outer_size.height == height
        assert preferences.get("screen.chart_height") == kept


@pytest.mark.parametrize("size", [(60, 16), *SIZES], ids=str)
async def test_whatever_was_preferred_leaves_room(size: tuple[int, int]) -> None:
    preferences = Preferences()
    preferences.set("screen.settings_width", 120)
    preferences.set("screen.chart_height", 90)
    async with app_with(preferences).run_test(size=size) as pilot:
        cockpit = (await begin(pilot)).cockpit
        await pilot.press("e", "ctrl+left", "ctrl+down")
        await pilot.pause()
        assert cockpit.chart.size.width >= 16
        assert cockpit.chart.size.height >= 5


# -- by mouse --------------------------------------------------------------------------------------


async def drag(pilot: Pilot[int], begin: Offset, end: Offset) -> None:
    """Press the button at one place, and let it go at another."""
    await pilot._post_mouse_events([MouseDown], None, begin, button=1)
    await pilot._post_mouse_events([MouseMove], None, end, button=1)
    await pilot._post_mouse_events([MouseUp], None, end, button=1)
    await pilot.pause()


async def test_borders_are_dragged() -> None:
    preferences = Preferences()
    async with app_with(preferences).run_test(size=(120, 40)) as pilot:
        cockpit = (await begin(pilot)).cockpit
        await drag(pilot, Offset(cockpit.settings.region.x, 10), Offset(70, 10))
        assert cockpit.settings.region.x == 70
        assert preferences.get("screen.settings_width") == 50
        bottom = cockpit.query_one("#chart-frame").region.bottom
        await drag(pilot, Offset(10, bottom - 1), Offset(10, bottom + 5))
        assert abs(cockpit.query_one("#chart-frame").region.bottom - (bottom + 5)) <= 1


# -- the projector ---------------------------------------------------------------------------------


def _rows(chart: ChartWidget) -> list[str]:
    return [chart.render_line(y).text for y in range(chart.size.height)]


async def test_a_projector_shows_chart_and_text_alone() -> None:
    async with StillApp(PAUSED).run_test(size=(120, 40)) as pilot:
        cockpit = (await begin(pilot)).cockpit
        await pilot.press("V")
        await pilot.pause()
        assert not cockpit.settings.display
        assert cockpit.samples.display
        assert cockpit.chart.size.width > 110
        text = "".join(_rows(cockpit.chart))
        assert "▀" in text or "▄" in text, "solid, as high as two dots"
        assert not any("\u2801" <= one <= "\u28ff" for one in text)
        footer = cockpit.query_one(KeysFooter).render_line(0).text
        assert "esc Everything" in footer, "a way out for the mouse"
        await pilot.press("escape")
        await pilot.pause()
        assert cockpit.settings.display


# -- the preferences, in the app -------------------------------------------------------------------


async def test_a_preference_is_chosen_from_its_values_and_applied_at_once(tmp_path: Path) -> None:
    async with app_with(Preferences.load()).run_test(size=(120, 40)) as pilot:
        app = await begin(pilot)
        await pilot.press("O")
        await pilot.pause()
        assert app.screen.query(".-values, .-field, #preferences")
        await pilot.press("enter", "down")  # the theme; nothing changes by looking
        assert Preferences.load().get("screen.theme") == "auto"
        await pilot.press("enter")
        await pilot.pause()
        assert Preferences.load().get("screen.theme") == "textual-dark"
        await pilot.press("delete", "escape")
        await pilot.pause()
        assert app.screen is app.cockpit
    assert Preferences.load().get("screen.theme") == "auto"


async def test_a_number_is_typed_and_checked() -> None:
    preferences = Preferences()
    async with app_with(preferences).run_test(size=(80, 24)) as pilot:
        app = await begin(pilot)
        await pilot.press("O", "down", "enter")  # the width of the settings
        await pilot.pause()
        field = app.focused
        assert isinstance(field, Input)
        await pilot.press("ctrl+u", *"500", "enter")
        await pilot.pause()
        assert app.focused is field  # with what was typed, to be corrected
        assert "must be 24 to 120" in str(app.screen.query_one("#told").render())
        await pilot.press("ctrl+u", *"50", "enter", "escape")
        await pilot.pause()
        assert app.screen is app.cockpit
    assert preferences.get("screen.settings_width") == 50


async def test_a_text_that_cannot_be_used_is_told_and_stays_to_be_corrected() -> None:
    preferences = Preferences()
    async with app_with(preferences).run_test(size=(80, 24)) as pilot:
        app = await begin(pilot)
        await pilot.press("O")
        await pilot.pause()
        rows = app.screen.query_one("#preferences", OptionList)
        rows.highlighted = rows.get_option_index("notify.webhook")
        await pilot.press("enter", *"http://example.org", "enter")
        await pilot.pause()
        field = app.focused
        assert isinstance(field, Input)
        assert field.value == "http://example.org"
        assert "must be an https address" in str(app.screen.query_one("#told").render())
        assert preferences.get("notify.webhook") == ""
        field.value = "https://example.org/hook"
        await pilot.press("enter")
        assert preferences.get("notify.webhook") == "https://example.org/hook"


# -- how curves are drawn --------------------------------------------------------------------------


async def test_charts_are_drawn_as_preferred_from_the_start() -> None:
    app = StillApp(PAUSED)
    app.preferences.set("chart.characters", "ascii")
    app.preferences.set("chart.smoothing", 0.5)
    app.preferences.set("chart.y_scale", "full")
    async with app.run_test(size=(200, 50)) as pilot:
        await begin(pilot)
        assert (app.cockpit.chart.view.smoothing, app.cockpit.chart.view.y) == (0.5, "full")
        recorded_metrics(app)
        await pilot.pause()
        charts = app.cockpit.query(ChartWidget)
        assert len(charts) > 1
        assert {(one.characters, one.view.smoothing) for one in charts} == {("ascii", 0.5)}


async def test_a_change_by_key_is_remembered_and_one_of_the_preferences_takes_effect() -> None:
    async with StillApp(PAUSED).run_test(size=(120, 40)) as pilot:
        app = await begin(pilot)
        get, chart = app.preferences.get, app.cockpit.chart
        await pilot.press("right_curly_bracket", "y")
        await pilot.pause()
        assert (get("chart.smoothing"), get("chart.y_scale")) == (0.95, "full")
        app.preferences.set("chart.smoothing", 0.5)
        app.preferences.set("chart.characters", "block")
        await pilot.pause()
        assert (chart.view.smoothing, chart.view.y) == (0.5, "full")
        assert chart.characters == "block"
        await pilot.press("m")
        await pilot.pause()
        assert (get("chart.smoothing"), get("chart.y_scale")) == (0, "full")


async def test_remembering_how_a_curve_is_drawn_lays_nothing_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with StillApp(PAUSED).run_test(size=(120, 40)) as pilot:
        app = await begin(pilot)
        await pilot.pause()
        laid_out: list[object] = []
        monkeypatch.setattr(app.cockpit, "_refresh_layout", lambda *a, **k: laid_out.append(a))
        await pilot.press("m", "y")
        await pilot.pause()
        assert app.preferences.get("chart.smoothing") == 0
        assert not laid_out


# -- the focus -------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["-projector", "-no-text"])
async def test_the_prompt_is_shown_while_it_has_the_focus(still: None, layout: str) -> None:
    app = app_with(Preferences())
    async with app.run_test(size=(80, 24)) as pilot:
        await begin(pilot)
        app.cockpit.add_class(layout)
        await pilot.press("p")
        await pilot.pause()
        assert isinstance(app.focused, Input)
        assert app.focused.region.area > 0


async def test_charts_that_are_not_shown_have_no_filter_and_no_limits(still: None) -> None:
    app = app_with(Preferences())
    async with app.run_test(size=(80, 24)) as pilot:
        await begin(pilot)
        await pilot.press("F", "slash", "Z")
        assert app.focused is None
        assert app.cockpit.why_not("filter_charts", ()) == "the charts are not shown now"
