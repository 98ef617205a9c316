"""Several runs on one chart: whose line is whose, and never a number plotext cannot take."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.color import ColorSystem
from textual.app import App, ComposeResult

from engine.metrics import Column, Mark
from engine.runs.curves import Axis
from tests.tui.test_charts import SERIES, cells, column
from tui.charts import raster
from tui.charts.axes import Scale, step_label, time_ticks
from tui.charts.canvas import Field, Layout
from tui.charts.overlay import Curve, Overlay, is_braille
from tui.charts.picture import draw
from tui.widgets.overlay_chart import LETTERS, OverlayChart

REPOSITORY = Path(__file__).parents[2]


def curve(place: int, values: Column, smooth: bool = True) -> Curve:
    return Curve(f"run-{place}", place, values, smooth)


@settings(max_examples=100, deadline=None, database=None)
@given(
    series=st.lists(st.tuples(SERIES, st.booleans(), st.integers(1, 10**6)), max_size=6),
    size=st.tuples(st.integers(0, 90), st.integers(0, 30)),
    window=st.tuples(st.integers(0, 10**7), st.integers(1, 10**8)),
    timed=st.booleans(),
    log_y=st.booleans(),
    marks=st.lists(st.builds(Mark, st.integers(0, 10**8), st.text(max_size=9)), max_size=3),
)
def any_overlay_is_drawn_in_the_size_asked_for(
    series: list[tuple[list[float], bool, int]],
    size: tuple[int, int],
    window: tuple[int, int],
    timed: bool,
    log_y: bool,
    marks: list[Mark],
) -> None:
    import plotext

    signal, handed = plotext.figure.signal, []

    def watch(x: list[float], y: list[float], **more: object) -> object:
        handed.extend([*x, *y])
        return signal(x, y, **more)

    plotext.figure.signal = watch
    try:
        first, span = window
        curves = [
            curve(place, column(values, [stride * i for i in range(len(values))]), smooth)
            for place, (values, smooth, stride) in enumerate(series)
        ]
        ticks = {"ticks": time_ticks} if timed else {}
        frame = draw(Overlay(curves, first, first + span, log_y=log_y, marks=marks, **ticks), *size)
    finally:
        plotext.figure.signal = signal
    assert all(map(math.isfinite, handed))
    assert frame.size == size
    assert all(len(row) == size[0] for row in frame.text())


def test_any_mix_of_runs_is_drawn_and_never_ends_the_process() -> None:
    # In a process of its own: a NaN that slips through to plotext would abort this one.
    name = any_overlay_is_drawn_in_the_size_asked_for.__name__
    result = subprocess.run(
        [
            sys.executable,
            "-W",
            "error::RuntimeWarning",
            "-c",
            f"from {__name__} import {name}; {name}()",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stderr == ""


# Whose line is whose


def test_each_run_has_its_colour_and_its_letter_at_the_end_of_its_line() -> None:
    low, high = column([2.0] * 300), column([3.0] * 500)
    frame = draw(Overlay([curve(0, low), curve(1, high)], 0, 600), 80, 24)
    for place, letter in enumerate("AB"):
        style = raster.FIRST_RUN + place
        ((y, x),) = [tuple(at) for at in np.argwhere(frame.characters == letter)]
        assert frame.styles[y, x] == style
        assert x == max(x for _, x in cells(frame, style))
    assert min(y for y, _ in cells(frame, raster.FIRST_RUN)) > 10
    assert max(y for y, _ in cells(frame, raster.FIRST_RUN + 1)) < 10


def lengths(curves: list[Curve], last: int = 300) -> list[int]:
    """How many cells each curve has, its letter among them."""
    frame = draw(Overlay(curves, 0, last), 80, 24)
    return [len(cells(frame, raster.FIRST_RUN + place)) for place in range(len(curves))]


def test_where_curves_run_through_the_same_cells_each_shows_in_turn() -> None:
    same = [curve(place, column([2.0] * 300)) for place in range(3)]
    shares = lengths(same)
    assert sum(shares) > 70 and max(shares) - min(shares) <= 3


def test_the_end_of_a_curve_beneath_another_is_not_taken_for_the_others() -> None:
    long, short = column([2.0] * 300), column([2.0] * 150)
    frame = draw(Overlay([curve(0, long), curve(1, short)], 0, 300), 80, 24)
    above, beneath = (
        {x for _, x in cells(frame, style)} for style in (raster.FIRST_RUN, raster.FIRST_RUN + 1)
    )
    end = max(beneath)
    assert frame.characters[11, end] == "B"
    assert len(beneath) > 15  # of about forty, half
    assert set(range(end + 1, max(above))) <= above


def test_curves_apart_have_all_their_cells() -> None:
    low, high = column([2.0] * 300), column([3.0] * 300)
    assert min(lengths([curve(0, low), curve(1, high)])) > 70


def test_discs_in_the_same_place_take_turns_too() -> None:
    steps = list(range(0, 301, 25))
    same = [curve(place, column([2.0] * len(steps), steps), False) for place in range(2)]
    frame = draw(Overlay(same, 0, 300), 80, 24)
    discs = [int(frame.styles[y, x]) for y, x in np.argwhere(frame.characters == "●")]
    assert len(discs) > 10
    assert min(discs.count(raster.FIRST_RUN + place) for place in range(2)) >= 3


def test_a_line_runs_through_the_cells_it_is_drawn_in() -> None:
    wave = [3 + math.sin(step / 9) + (math.nan if 90 < step < 120 else 0) for step in range(300)]
    overlay = Overlay([curve(0, column(wave), False)], 0, 300)
    frame = draw(overlay, 80, 24)
    layout = Layout.within(80, 24, Scale.around(2, 4, log=False).ticks(7))
    field = Field(0, 300, Scale.around(*overlay.extent(80), log=False), layout)
    steps, values, _ = overlay.curves[0].column.snapshot()
    through = field.line(steps, values, values).cells(layout)
    drawn = is_braille(layout.canvas_of(frame).characters)
    assert drawn.sum() > 100
    assert (drawn & ~through).sum() <= 2, "at corners, the two may choose different neighbours"


def test_a_mark_of_no_character_takes_a_cell() -> None:
    assert len(draw(Overlay([], 0, 1, marks=[Mark(0, "\0")]), 4, 1).text()[0]) == 4


def test_letters_do_not_cover_each_other() -> None:
    same = [curve(place, column([2.0] * 300)) for place in range(6)]
    for height in (24, 9):
        text = "".join(draw(Overlay(same, 0, 299), 80, height).text())
        assert all(text.count(letter) == 1 for letter in LETTERS)


def test_evaluations_are_discs_and_dense_curves_are_lines() -> None:
    sparse, dense = column([3.0, 2.0], [0, 300]), column([2.5] * 300)
    frame = draw(Overlay([curve(0, sparse, False), curve(1, dense)], 0, 300), 80, 24)
    discs = np.argwhere(frame.characters == "●")
    assert {int(frame.styles[y, x]) for y, x in discs} == {raster.FIRST_RUN}


def test_the_axis_is_for_what_is_drawn_and_not_for_the_noise_beneath() -> None:
    noise = np.random.default_rng(0).normal(0, 1, 2000)
    falling = np.linspace(4, 3, 2000) + noise * 0.5
    frame = draw(Overlay([curve(0, column(falling.tolist()))], 200, 2000), 80, 24)
    shown = [y for y, _ in cells(frame, raster.FIRST_RUN)]
    assert max(shown) - min(shown) > 13


def test_the_fall_within_the_first_column_does_not_push_the_rest_together() -> None:
    falling = [100.0 / (1 + step) + 3 - step / 50_000 for step in range(50_000)]
    frame = draw(Overlay([curve(0, column(falling))], 0, 50_000), 80, 24)
    shown = [y for y, _ in cells(frame, raster.FIRST_RUN)]
    assert max(shown) - min(shown) > 15


def test_times_are_labelled_in_the_unit_that_fits() -> None:
    def labels(last: int) -> list[str]:
        return [label for _, label in time_ticks(0, last, 4)]

    assert labels(40_000) == ["0", "10 s", "20 s", "30 s", "40 s"]
    assert labels(600_000) == ["0", "2.5 min", "5 min", "7.5 min", "10 min"]
    assert labels(4 * 3_600_000) == ["0", "1 h", "2 h", "3 h", "4 h"]
    assert step_label(2_500_000_000) == "2.5B"


# The widget


class OverlayApp(App[None]):
    def compose(self) -> ComposeResult:
        yield OverlayChart()

    @property
    def chart(self) -> OverlayChart:
        return self.query_one(OverlayChart)


def lines(chart: OverlayChart) -> list[str]:
    return [chart.render_line(y).text for y in range(chart.size.height)]


def some(count: int, name: str = "run") -> list[Curve]:
    return [
        Curve(f"{name}-{i}", i, column(np.linspace(4, 2 + i / 9, 200).tolist()), True)
        for i in range(count)
    ]


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light"])
async def test_six_runs_have_six_colours_in_16_colours_too(theme: str) -> None:
    app = OverlayApp()
    async with app.run_test(size=(120, 24)):
        app.theme = theme
        colours = [
            app.chart.get_component_rich_style(f"chart--{style}").color for style in raster.RUNS
        ]
        few = {one.downgrade(ColorSystem.STANDARD).number for one in colours if one}
        assert len(few) == len(raster.RUNS) == len(LETTERS)


async def test_the_legend_names_every_run_on_as_many_rows_as_it_takes() -> None:
    app = OverlayApp()
    async with app.run_test(size=(60, 24)) as pilot:
        app.chart.show(some(6, "a-rather-long-name"), Axis.STEPS)
        await pilot.pause()
        shown = lines(app.chart)
        assert [len(line) for line in shown] == [60] * 24
        assert all(f"{LETTERS[i]} ━━ a-rather-long-name-{i} " in "".join(shown) for i in range(6))


async def test_a_run_keeps_its_letter_when_others_are_hidden() -> None:
    app = OverlayApp()
    async with app.run_test(size=(100, 24)) as pilot:
        app.chart.show(some(3)[2:], Axis.STEPS)
        await pilot.pause()
        assert lines(app.chart)[0].startswith("C ━━ run-2")
        styles = {
            style for row in app.chart.drawing(100, 24) for _, style in row if "run-" in style
        }
        assert styles == {"run-c"}


async def test_a_log_axis_is_refused_aloud_and_zoom_shows_the_last_fifth() -> None:
    app = OverlayApp()
    async with app.run_test(size=(100, 24)) as pilot:
        app.chart.show([Curve("a", 0, column([1.0] * 300 + [-5.0] * 300), True)], Axis.STEPS)
        app.chart.log_y = True
        await pilot.pause()
        assert "no log: not all positive" in lines(app.chart)[0]
        app.chart.window = "recent"
        assert "last 20%" in lines(app.chart)[0]
        assert lines(app.chart)[-1].split()[0] != "0"


async def test_it_says_so_while_there_is_nothing_to_show() -> None:
    app = OverlayApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "reading the runs …" in lines(app.chart)[12]
        app.chart.show([Curve("a", 0, Column(), True)], Axis.TOKENS)
        app.chart.empty_text = "nothing was measured yet"
        assert "nothing was measured yet" in lines(app.chart)[12]
