"""Several runs on one chart: whose line is whose."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from rich.color import ColorSystem
from textual.app import App, ComposeResult

from engine.metrics import Column
from engine.runs.curves import Axis
from tests.tui.test_charts import cells, column
from tui.charts import raster
from tui.charts.characters import translate_frame
from tui.charts.chart import Chart, Series, draw, spread_out
from tui.charts.raster import ChartFrame
from tui.charts.window import Window, XAxis, step_label
from tui.widgets.overlay_chart import OverlayChart

LETTERS = "ABCDEF"


@pytest.mark.parametrize("kind", ["level", "noisy"])
@pytest.mark.parametrize("place", range(6))
def test_the_stroke_of_a_run_tells_it_without_colours(place: int, kind: str) -> None:
    noise = np.random.default_rng(0).normal(0, 0.15 if kind == "noisy" else 0, 2000)
    values = column((3.0 + noise).tolist())
    pattern = raster.STROKES[raster.stroke_of(place)].pattern
    run = curve(place, values)
    for characters in ("braille", "block", "ascii"):
        shown = Chart([run], Window(0, 1999), limits=(1.0, 5.0))
        frame = draw(shown, 80, 24).frame
        translate_frame(frame, characters)
        drawn = cells(frame, run.style)
        left, right = 7, max(x for _, x in drawn) - 1  # there is its letter
        seen = "".join("━" if any(x == at for _, x in drawn) else " " for at in range(left, right))
        assert seen in pattern * 80


def test_no_two_of_36_runs_have_both_hue_and_stroke_in_common() -> None:
    runs = [curve(place, column([1.0])) for place in range(36)]
    assert len({(run.style, run.stroke) for run in runs}) == 36
    assert len({run.stroke for run in runs[:6]}) == 6


def test_a_steep_line_is_dashed_downwards_and_nowhere_lost() -> None:
    run = curve(2, column([4.0] * 100 + [1.0] * 200))  # dotted: each second cell
    frame = painted([run], 0, 300, 80, 24)
    drawn = cells(frame, run.style)
    rows = sorted({y for y, _ in drawn})
    assert rows[-1] - rows[0] > 15
    assert {b - a for a, b in pairwise(rows)} <= {1, 2}


def curve(place: int, values: Column, smooth: bool = True) -> Series:
    return Series.of_run(f"run-{place}", place, values, smooth=smooth)


def painted(curves: list[Series], first: int, last: int, width: int, height: int) -> ChartFrame:
    return draw(Chart(curves, Window(first, last)), width, height).frame


# Whose line is whose


def test_each_run_has_its_colour_and_its_letter_at_the_end_of_its_line() -> None:
    low, high = column([2.0] * 300), column([3.0] * 500)
    frame = painted([curve(0, low), curve(1, high)], 0, 600, 80, 24)
    for place, letter in enumerate("AB"):
        style = raster.FIRST_RUN + place
        ((y, x),) = [tuple(at) for at in np.argwhere(frame.characters == letter)]
        assert frame.styles[y, x] == style
        assert x == max(x for _, x in cells(frame, style))
    assert min(y for y, _ in cells(frame, raster.FIRST_RUN)) > 10
    assert max(y for y, _ in cells(frame, raster.FIRST_RUN + 1)) < 10


def lengths(curves: list[Series], last: int = 300) -> list[int]:
    """How many cells each curve has, its letter among them."""
    frame = painted(curves, 0, last, 80, 24)
    return [len(cells(frame, raster.FIRST_RUN + place)) for place in range(len(curves))]


def test_where_curves_run_through_the_same_cells_each_shows_in_turn() -> None:
    same = [curve(place, column([2.0] * 300)) for place in range(3)]
    shares = lengths(same)
    assert sum(shares) > 70 and min(shares) >= 10


def test_the_end_of_a_curve_beneath_another_is_not_taken_for_the_others() -> None:
    long, short = column([2.0] * 300), column([2.0] * 150)
    frame = painted([curve(0, long), curve(1, short)], 0, 300, 80, 24)
    above, beneath = (
        {x for _, x in cells(frame, style)} for style in (raster.FIRST_RUN, raster.FIRST_RUN + 1)
    )
    end = max(beneath)
    assert frame.characters[11, end] == "B"
    assert len(beneath) > 15  # of about forty, half
    assert set(range(end + 1, max(above))) <= above


def test_curves_apart_have_all_their_cells() -> None:
    low, high = column([2.0] * 300), column([3.0] * 300)
    drawn = lengths([curve(0, low), curve(1, high)])
    assert drawn[0] > 70 and drawn[1] >= 70 * 4 // 6, "the second one is dashed"


def test_discs_in_the_same_place_take_turns_too() -> None:
    steps = list(range(0, 301, 25))
    same = [curve(place, column([2.0] * len(steps), steps), False) for place in range(2)]
    frame = painted(same, 0, 300, 80, 24)
    discs = [int(frame.styles[y, x]) for y, x in np.argwhere(frame.characters == "●")]
    assert len(discs) > 10
    assert min(discs.count(raster.FIRST_RUN + place) for place in range(2)) >= 3


def test_letters_do_not_cover_each_other() -> None:
    same = [curve(place, column([2.0] * 300)) for place in range(6)]
    for height in (24, 9):
        text = "".join(painted(same, 0, 299, 80, height).text())
        assert all(text.count(letter) == 1 for letter in LETTERS)


def test_of_many_curves_that_end_close_together_the_upper_has_the_upper_letter() -> None:
    ends = [column([3.0, 2.0 - 0.01 * place]) for place in range(10)]
    for height in (24, 16):
        rows = painted([curve(at, one) for at, one in enumerate(ends)], 0, 1, 80, height).text()
        lines = ["".join(row) for row in rows]
        found = [
            next(y for y, line in enumerate(lines) if letter in line) for letter in "ABCDEFGHIJ"
        ]
        assert found == sorted(found) and len(set(found)) == 10


@pytest.mark.parametrize(
    ("wanted", "rows", "found"),
    [
        ([3, 9], 12, [3, 9]),
        ([5, 5, 5], 12, [4, 5, 6]),
        ([11, 11, 11], 12, [9, 10, 11]),
        ([0, 0, 6, 7, 7], 12, [0, 1, 6, 7, 8]),
        ([1, 1, 1], 2, [0, 1, 1]),
    ],
)
def test_letters_that_end_together_lie_around_their_place(
    wanted: list[int], rows: int, found: list[int]
) -> None:
    assert spread_out(wanted, rows) == found


def test_evaluations_are_discs_and_dense_curves_are_lines() -> None:
    sparse, dense = column([3.0, 2.0], [0, 300]), column([2.5] * 300)
    frame = painted([curve(0, sparse, False), curve(1, dense)], 0, 300, 80, 24)
    discs = np.argwhere(frame.characters == "●")
    assert {int(frame.styles[y, x]) for y, x in discs} == {raster.FIRST_RUN}


def test_the_axis_is_for_what_is_drawn_and_not_for_the_noise_beneath() -> None:
    noise = np.random.default_rng(0).normal(0, 1, 2000)
    falling = np.linspace(4, 3, 2000) + noise * 0.5
    frame = painted([curve(0, column(falling.tolist()))], 200, 2000, 80, 24)
    shown = [y for y, _ in cells(frame, raster.FIRST_RUN)]
    assert max(shown) - min(shown) > 13


def test_the_fall_within_the_first_column_does_not_push_the_rest_together() -> None:
    falling = [100.0 / (1 + step) + 3 - step / 50_000 for step in range(50_000)]
    frame = painted([curve(0, column(falling))], 0, 50_000, 80, 24)
    shown = [y for y, _ in cells(frame, raster.FIRST_RUN)]
    assert max(shown) - min(shown) > 15


def test_times_are_labelled_in_the_unit_that_fits() -> None:
    def labels(last: int) -> list[str]:
        return [label for _, label in Window(0, last / 1000, XAxis("time", 0.001)).ticks(4)]

    assert labels(40_000) == ["0", "10 s", "20 s", "30 s", "40 s"]
    assert labels(600_000) == ["0", "5 min", "10 min"]
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


def some(count: int, name: str = "run") -> list[Series]:
    return [
        Series.of_run(
            f"{name}-{i}", i, column(np.linspace(4, 2 + i / 9, 200).tolist()), smooth=True
        )
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
        parts = [
            f"{LETTERS[i]} {raster.STROKES[i].sample} a-rather-long-name-{i} " for i in range(6)
        ]
        assert all(part in "".join(shown) for part in parts)


async def test_a_run_keeps_its_letter_when_others_are_hidden() -> None:
    app = OverlayApp()
    async with app.run_test(size=(100, 24)) as pilot:
        app.chart.show(some(3)[2:], Axis.STEPS)
        await pilot.pause()
        assert lines(app.chart)[0].startswith("C ━ ━ ━ run-2")
        styles = {
            style for row in app.chart.drawing(100, 24) for _, style in row if "run-" in style
        }
        assert styles == {"run-c"}


async def test_a_log_axis_is_refused_aloud_and_zoom_shows_the_last_fifth() -> None:
    app = OverlayApp()
    async with app.run_test(size=(100, 24)) as pilot:
        app.chart.show(
            [Series.of_run("a", 0, column([1.0] * 300 + [-5.0] * 300), smooth=True)], Axis.STEPS
        )
        app.chart.toggle_log()
        await pilot.pause()
        assert "no log: not all positive" in lines(app.chart)[0]
        app.chart.toggle_window()
        assert "last 20%" in lines(app.chart)[0]
        assert lines(app.chart)[-1].split()[0] != "0"


async def test_it_says_so_while_there_is_nothing_to_show() -> None:
    app = OverlayApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "reading the runs …" in lines(app.chart)[12]
        app.chart.show([Series.of_run("a", 0, Column(), smooth=True)], Axis.TOKENS)
        app.chart.empty_text = "nothing was measured yet"
        assert "nothing was measured yet" in lines(app.chart)[12]
