"""Limits of a chart's axes: typed, told, remembered."""

from __future__ import annotations

import re

import pytest

from data.errors import InputError
from tests.tui.test_chart_grid import of_times, shown, timed
from tests.tui.test_snapshots import PAUSED, StillApp, recorded_run, still
from tui.control.limits import FREE, Limits, format_all, parse_all, parse_limits
from tui.control.preferences import PREFERENCES, Preferences, typed_value

__all__ = ["still"]  # a fixture


@pytest.mark.parametrize(
    ("typed", "limits"),
    [
        ("2..3.5", Limits((2.0, 3.5), None)),
        (" 2 .. ", Limits((2.0, None), None)),
        ("..3.5", Limits((None, 3.5), None)),
        ("-1e-3..1,000", Limits((-1e-3, 1000.0), None)),
        ("step 100..500", Limits(FREE, (100.0, 500.0))),
        ("2..3, Steps 1..2", Limits((2.0, 3.0), (1.0, 2.0))),
        ("auto", Limits(FREE, None)),
        ("", Limits(FREE, None)),
    ],
)
def test_limits_are_read(typed: str, limits: Limits) -> None:
    assert parse_limits(typed) == limits


@pytest.mark.parametrize(
    "typed",
    ["3", "..", "a..b", "3..2", "2..2", "nan..1", "1..inf", "1e999..", "1..2..3", "step 5..",
     "step ..5", "step -5..5", "step 1..2 step 3..4", "step", "2..3 step", "x" * 500],
)  # fmt: skip
def test_what_is_none_is_told_in_a_sentence(typed: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_limits(typed)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_what_is_remembered_is_read_again() -> None:
    limits = {"loss": (2.0, 3.5), "grad_norm": (None, 5.0), "speed": FREE}
    assert format_all(limits) == "loss=2..3.5,grad_norm=..5"
    close = {"tokens": (1_000_001.0, 1_000_002.0), "loss": (0.1 + 0.2, 0.4)}
    assert format_all(close) == "tokens=1000001..1000002,loss=0.3..0.4"
    assert parse_all(format_all(close))["tokens"] == (1_000_001.0, 1_000_002.0)
    assert parse_all("loss=2..3.5, grad_norm=..5,") == {
        "loss": (2.0, 3.5), "grad_norm": (None, 5.0)
    }  # fmt: skip


async def test_they_are_typed_shown_remembered_and_given_back() -> None:
    app = StillApp(PAUSED)
    async with app.run_test(size=(120, 40)) as pilot:
        recorded_run(app)
        await pilot.pause()
        chart = app.cockpit.chart
        await pilot.press("Z", *"1..9", "home", "delete", *"5", "enter")  # 5..9
        await pilot.pause()
        drawn = chart.shown()
        assert drawn and (drawn[1].field.scale.low, drawn[1].field.scale.high) == (5.0, 9.0)
        assert "limits 5..9" in chart.render_line(0).text
        assert app.preferences.get("chart.limits") == "loss=5..9"
        assert app.cockpit.focused is None
        await pilot.press("Z", "ctrl+u", *"step", "space", *"100..500", "enter")
        await pilot.pause()
        assert chart.view.zoom == (100.0, 500.0) and not chart.shown_limits
        await pilot.press("Z", "ctrl+u", *"3..2", "enter")
        await pilot.pause()
        assert app.cockpit.charts.has_focus_within, "the field stays, to be put right"
        await pilot.press("escape")
        assert app.cockpit.focused is None and chart.view.follow is False
        await pilot.press("Z", "ctrl+u", *"auto", "enter")
        await pilot.pause()
        assert not chart.shown_limits and app.preferences.get("chart.limits") == ""


async def test_each_chart_has_its_own_in_the_unit_it_shows() -> None:
    async with shown(store=timed()) as (grid, pilot):
        tile = of_times(grid)
        tile.limit(parse_limits("2..8"))
        await pilot.pause()
        drawn = tile.shown()
        assert drawn and (drawn[1].field.scale.low, drawn[1].field.scale.high) == (2.0, 8.0)
        assert tile.view.limits == pytest.approx((0.002, 0.008)), "of seconds: it shows ms"
        assert "limits 2..8" in tile.render_line(0).text
        assert grid.loss.view.limits == FREE
        told = grid.limits
        assert told == "step_time=0.002..0.008"
    async with shown() as (grid, pilot):
        grid.limit_as(told)
        grid.show(timed(), max_step=1000)
        await pilot.pause()
        assert grid.limits == told and of_times(grid).shown_limits == "2..8"


def test_limits_of_no_chart_are_refused_when_typed_but_not_of_a_chart_on_the_screen() -> None:
    told = "there is no chart 'grad_nrom': did you mean 'grad_norm'?"
    limits = PREFERENCES["chart.limits"]
    with pytest.raises(InputError, match=re.escape(told)):
        typed_value(limits, "loss=2..3,grad_nrom=..5")
    assert typed_value(limits, "loss=2..3,grad_norm=..5")
    Preferences().set(limits.key, "metric_of_a_newer_version=0..1")  # chosen with its own key
