"""Charts as cells: the right size whatever the data, and the data in the right cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.metrics import Column, Mark, Values
from tui.charts import raster
from tui.charts.axes import Scale, nice_values, value_labels
from tui.charts.canvas import spread, thin
from tui.charts.chart import Chart, Series, draw, value_at
from tui.charts.picture import Reference
from tui.charts.raster import ChartFrame, braille_masks
from tui.charts.view import UNITS
from tui.charts.window import Window, XAxis, step_label

nan, inf = math.nan, math.inf


def column(values: list[float], steps: list[int] | None = None) -> Column:
    result = Column()
    result.extend(steps or range(len(values)), values)
    return result


def chart(
    train: Column,
    val: Column | None = None,
    first: float = 0,
    last: float = 100,
    marks: Sequence[Mark] = (),
    ghosts: Sequence[Column] = (),
    **options: Any,
) -> Chart:
    """The loss chart of the cockpit; everything is in the window unless it is said otherwise."""
    series = [
        Series(train, raster.TRAIN, name="train", raw=raster.RAW),
        Series(Column() if val is None else val, raster.VAL, "sparse", "val"),
        *(Series(ghost, raster.GHOST, "ghost", "abandoned") for ghost in ghosts),
    ]
    options.setdefault("y", "full")
    return Chart(series, Window(first, last), marks=marks, **options)


def painted(chart: Chart, width: int, height: int) -> ChartFrame:
    return draw(chart, width, height).frame


def cells(frame: ChartFrame, style: int) -> list[tuple[int, int]]:
    """Return the (row, column) of every cell of one style."""
    return [(int(y), int(x)) for y, x in np.argwhere(frame.styles == style)]


def rows(frame: ChartFrame, style: int) -> list[int]:
    return [y for y, _ in cells(frame, style)]


def canvas_left(frame: ChartFrame) -> int:
    """Return the first column right of the vertical axis."""
    return cells(frame, raster.AXIS)[0][1] + 1


# Whatever the data

ODD_VALUES = st.sampled_from([nan, inf, -inf, 0.0, 1.0, 1e300, -1e300, 1.7e308, 5e-324, 1e16])
SERIES = (
    st.lists(ODD_VALUES | st.floats(0, 10), max_size=40)
    | st.lists(st.floats(), max_size=200)
    | st.builds(lambda value, count: [value] * count, st.floats(), st.integers(1, 50))
)


LIMIT = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@settings(max_examples=40, deadline=None, database=None)
@given(data=st.data())
def test_any_mix_of_values_is_drawn_in_the_size_asked_for(data: st.DataObject) -> None:
    draws = data.draw
    train, val = draws(SERIES), draws(SERIES)
    stride = draws(st.sampled_from([1, 3, 10**6]))
    first, span = draws(st.integers(-5, 60)), draws(st.integers(1, 400))
    axis = XAxis(draws(st.sampled_from(UNITS)), draws(st.sampled_from([1.0, 1e-3, 1e12])))
    window = Window(float(axis.of(first)), float(axis.of(first + span)), axis, draws(st.booleans()))
    marks = st.builds(Mark, st.integers(0, 300), st.text("lr 0.1", max_size=12), st.text("bc"))
    width, height = draws(st.integers(0, 90)), draws(st.integers(0, 30))
    one = Chart(
        [
            Series(
                column(train),
                raster.TRAIN,
                raw=raster.RAW,
                place=draws(st.sampled_from([None, 0, 30])),
            ),
            Series(column(val, [stride * i for i in range(len(val))]), raster.VAL, "sparse"),
            Series(column(draws(SERIES)), raster.FIRST_RUN, transform=np.exp),
            *(Series(column(one), raster.GHOST, "ghost") for one in draws(st.lists(SERIES))),
        ],
        window,
        draws(st.sampled_from([0.0, 0.9, 0.99])),
        draws(st.sampled_from(["robust", "full", "log"])),
        (draws(LIMIT), draws(LIMIT)),
        draws(st.lists(marks, max_size=5)),
        [Reference(draws(st.floats(allow_nan=False)), "ln V")],
        reached=draws(st.none() | st.integers(0, 1000)),
    )
    before = None
    with np.errstate(over="ignore"):  # of exp, as the store's owner would
        for _ in range(2):
            drawing = draw(one, width, height, before)
            before = drawing.field.scale
            assert before.low < before.high
            assert drawing.frame.size == (width, height)
            assert all(len(row) == width for row in drawing.frame.text())


# Where things lie


def test_a_falling_loss_falls_on_the_screen() -> None:
    frame = painted(chart(column(np.linspace(4, 2, 500).tolist()), Column(), 0, 500), 80, 24)
    train = cells(frame, raster.TRAIN)
    by_column = sorted((x, y) for y, x in train)
    assert by_column[0][1] < 4
    assert by_column[-1][1] > 17
    assert [y for _, y in by_column] == sorted(y for _, y in by_column)


def test_an_evaluation_lies_at_its_step_and_value() -> None:
    # 0..10 over 20 rows of canvas: 2 % of room below and above, so 5 is in the very middle.
    frame = painted(chart(Column(), column([0.0, 5.0, 10.0], [0, 50, 100]), 0, 100), 83, 22)
    discs = [(int(y), int(x)) for y, x in np.argwhere(frame.characters == "●")]
    left = canvas_left(frame)
    assert [x for _, x in discs] == [82, left + (83 - left) // 2, left]
    top, middle, bottom = [y for y, _ in discs]
    assert top <= 1 and bottom >= 18
    assert middle in (9, 10)
    assert len(cells(frame, raster.VAL)) > 40, "the evaluations are joined by a line"


def test_raw_values_and_their_average_agree_where_there_is_no_noise() -> None:
    values = [2.0] * 300
    smooth = painted(chart(column(values), Column(), 0, 300), 60, 20)
    raw = painted(chart(column(values), Column(), 0, 300, smoothing=0.0), 60, 20)
    assert set(rows(smooth, raster.TRAIN)) == set(rows(raw, raster.TRAIN))
    # but for the first column, where the line starts at the last row of the column
    left = canvas_left(raw) + 1
    assert (smooth.characters[:, left:] == raw.characters[:, left:]).all()


def test_a_constant_series_lies_flat_in_the_middle() -> None:
    frame = painted(chart(column([3.0] * 100), Column(), 0, 100), 60, 23)
    assert set(rows(frame, raster.TRAIN)) <= {10, 11}


def test_a_single_point_can_be_seen() -> None:
    frame = painted(chart(column([3.0]), Column(), 0, 100), 60, 20)
    assert len(cells(frame, raster.TRAIN)) == 1


def test_an_empty_chart_has_axes_and_nothing_else() -> None:
    frame = painted(chart(Column(), Column(), 0, 100), 60, 20)
    assert set(np.unique(frame.styles)) == {raster.BLANK, raster.AXIS, raster.TICK}


def test_noise_is_raw_and_faint_and_never_hides_the_lines() -> None:
    noise = np.random.default_rng(0).normal(3, 0.5, 5000).tolist()
    alone = painted(chart(column(noise), column([3.0, 3.0], [0, 5000]), 0, 5000), 80, 24)
    assert len(cells(alone, raster.RAW)) > 500
    curves = cells(alone, raster.VAL) + cells(alone, raster.TRAIN)
    assert {x for _, x in curves} == set(range(canvas_left(alone), 80))


def test_values_that_are_not_finite_leave_a_gap_and_a_sign_above_it() -> None:
    values = [2.0] * 40 + [nan] * 20 + [2.0] * 40
    frame = painted(chart(column(values), Column(), 0, 100), 106, 20)
    left = canvas_left(frame)
    assert left == 6, "one column of the canvas is one step"
    signs = [x - left for y, x in cells(frame, raster.BAD) if y == 0]
    line = {x - left for _, x in cells(frame, raster.TRAIN)}
    assert signs == list(range(40, 60))
    assert line == {*range(40), *range(60, 100)}


def test_a_value_that_is_not_finite_does_not_move_the_axis() -> None:
    values = np.linspace(4, 2, 100).tolist()
    sound = painted(chart(column(values), Column(), 0, 100), 60, 20)
    values[50] = inf
    spoilt = painted(chart(column(values), Column(), 0, 100), 60, 20)
    assert [row[:5] for row in sound.text()] == [row[:5] for row in spoilt.text()]


def test_several_seeds_are_a_mean_between_the_lowest_and_the_highest() -> None:
    seeds = [column([level] * 100) for level in (1.0, 1.5, 3.5)]
    for smooth in (True, False):
        series = Series.of_seeds("seeds", 0, seeds, smooth=smooth)
        assert series.band is not None
        ends = (series.column, *series.band)
        assert [set(one.snapshot()[1].round(9).tolist()) for one in ends] == [{2.0}, {1.0}, {3.5}]
        frame = painted(Chart([series], Window(0, 99), y="full"), 60, 20)
        band = {y for y, row in enumerate(frame.styles) if (row == series.style).sum() > 40}
        assert len(band) >= 10 and band == set(range(min(band), max(band) + 1))


def test_a_ghost_is_faint_and_beneath_the_curve() -> None:
    falling = np.linspace(4, 2, 500).tolist()
    level = column([3.0] * 250, list(range(250, 500)))
    frame = painted(chart(column(falling), Column(), 0, 500, ghosts=[level]), 80, 24)
    alone = painted(chart(column(falling), Column(), 0, 500), 80, 24)
    assert cells(frame, raster.TRAIN) == cells(alone, raster.TRAIN), "the curve hides the ghost"
    ghost = cells(frame, raster.GHOST)
    assert len({y for y, _ in ghost}) == 1 and min(x for _, x in ghost) > 35


def test_a_ghost_that_went_astray_does_not_flatten_the_curve() -> None:
    curve = column(np.linspace(4, 2, 100).tolist())
    astray = column(np.geomspace(2, 1e6, 100).tolist())
    frame = painted(chart(curve, Column(), 0, 100, ghosts=[astray]), 80, 24)
    train, ghost = rows(frame, raster.TRAIN), rows(frame, raster.GHOST)
    assert ghost and max(train) - min(train) >= 10, "at least half of the rows are the curve's"


def test_a_ghost_is_seen_below_what_the_curve_has_reached() -> None:
    curve = column(np.linspace(4, 3, 50).tolist())
    earlier = column(np.linspace(3, 2.6, 50).tolist(), list(range(50, 100)))
    frame = painted(chart(curve, Column(), 0, 100, ghosts=[earlier]), 80, 24)
    assert len({x for _, x in cells(frame, raster.GHOST)}) >= 36


def test_marks_stand_at_their_steps_and_the_newest_is_named() -> None:
    marks = [Mark(20, "old"), Mark(50, "lr 3e-4"), Mark(900, "beyond")]
    frame = painted(chart(column([2.0] * 100), Column(), 0, 100, marks), 106, 20)
    left = canvas_left(frame)
    assert [x - left for x, sign in enumerate(frame.text()[-2]) if sign == "◆"] == [20, 50]
    assert "┊ lr 3e-4 " in frame.text()[0]
    assert "old" not in "".join(frame.text())


def test_marks_of_one_step_are_all_named_or_counted() -> None:
    marks = [Mark(20, "old"), Mark(50, "learning_rate 0.001→0.0003"), Mark(50, "batch_size 12→240")]
    curve = column([2.0] * 100)
    roomy = painted(chart(curve, Column(), 0, 100, marks), 124, 20)
    assert "┊ learning_rate 0.001→0.0003, batch_size 12→240 " in roomy.text()[0]
    narrow = painted(chart(curve, Column(), 0, 100, marks), 70, 20)
    assert "learning_rate 0.001→0.0003 +1 " in narrow.text()[0]
    assert "batch_size" not in "".join(narrow.text())


def test_a_logarithmic_axis_needs_positive_values() -> None:
    positive = chart(column([0.1, 1.0, 10.0, 100.0]), Column(), 0, 4, y="log")
    labels = "".join(painted(positive, 60, 20).text())
    assert "0.1" in labels and "100" in labels
    with_zero = chart(column([0.0, 1.0, 10.0]), Column(), 0, 3, y="log")
    plain = chart(column([0.0, 1.0, 10.0]), Column(), 0, 3)
    assert painted(with_zero, 60, 20).text() == painted(plain, 60, 20).text()


def test_the_axis_stands_still_while_the_extremes_creep() -> None:
    scale = Scale.around(1.80, 4.20)
    seen = set()
    for low in np.linspace(1.80, 1.20, 60):
        scale = Scale.around(float(low), 4.20, before=scale)
        seen.add((scale.low, scale.high))
    assert len(seen) <= 5


def test_the_axis_is_narrowed_only_when_much_of_it_is_empty() -> None:
    before = Scale.around(1.0, 4.2)
    assert Scale.around(1.0, 3.4, before=before) == before
    assert Scale.around(1.0, 2.0, before=before).high < 2.5


@pytest.mark.parametrize("limits", [{"floor": 0.0}, {"ceiling": 0.0}, {"ceiling": -1.0}])
def test_no_logarithmic_axis_ends_at_a_limit_that_has_no_logarithm(
    limits: dict[str, float],
) -> None:
    scale = Scale.around(1.0, 4.2, log=True, **limits)  # type: ignore[arg-type]
    assert not scale.log and scale.low < scale.high


def test_chosen_limits_are_the_ends_of_the_axis() -> None:
    scale = Scale.around(1.0, 4.2, floor=1.2, ceiling=2.0)
    assert (scale.low, scale.high) == (1.2, 2.0)
    low, high = 10.0 ** Scale.around(1, 9, log=True, floor=0.5).low, 10.0
    assert low == pytest.approx(0.5) and high


@given(low=st.floats(5e-324, 1.7e308), high=st.floats(5e-324, 1.7e308), log=st.booleans())
def test_every_scale_has_room_and_ticks(low: float, high: float, log: bool) -> None:
    scale = Scale.around(min(low, high), max(low, high), log=log)
    assert scale.low < scale.high
    assert all(0 <= place <= 1 for place, _ in scale.ticks(6))


# Ticks


def test_steps_are_labelled_shortly() -> None:
    assert [label for _, label in Window(0, 2000).ticks(4)] == ["0", "500", "1k", "1.5k", "2k"]
    assert [step_label(n) for n in (7, 999, 12_500, 1_200_000)] == ["7", "999", "12.5k", "1.2M"]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([2.0, 3.0, 4.0], ["2", "3", "4"]),
        ([1.5, 2.0, 2.5], ["1.5", "2.0", "2.5"]),
        ([1.85, 1.9], ["1.85", "1.90"]),
        ([0.0, 1e300], ["0", "1e300"]),
        ([], []),
    ],
)
def test_losses_have_as_many_decimals_as_they_need(values: list[float], labels: list[str]) -> None:
    assert value_labels(values) == labels


@given(low=st.floats(-1e6, 1e6), span=st.floats(1e-3, 1e6), most=st.integers(2, 12))
def test_ticks_are_within_the_axis_and_not_too_many(low: float, span: float, most: int) -> None:
    values = nice_values(low, low + span, most)
    assert 1 <= len(values) + 1 <= most + 2
    assert all(low - span * 1e-3 <= value <= low + span * 1.001 for value in values)


# Braille


def test_a_high_value_lights_the_top_dot_and_a_low_one_the_bottom_dot() -> None:
    high = braille_masks(np.array([1.0, nan]), np.array([1.0, nan]), rows=2, columns=1)
    low = braille_masks(np.array([nan, 0.0]), np.array([nan, 0.0]), rows=2, columns=1)
    assert high.tolist() == [[0x01], [0x00]]
    assert low.tolist() == [[0x00], [0x80]]


def test_a_wide_range_lights_every_dot_between() -> None:
    full = braille_masks(np.array([0.0, 0.5]), np.array([1.0, 1.0]), rows=2, columns=1)
    assert full.tolist() == [[0xFF], [0x47 | 0x08]]


def test_braille_goes_beneath_what_is_there() -> None:
    frame = ChartFrame.blank(2, 1)
    frame.write(0, 0, "x", raster.TRAIN)
    frame.lay_braille_beneath(np.array([[0xFF, 0x01]], dtype=np.uint8), raster.RAW)
    assert frame.row(0) == [("x", "train"), ("⠁", "raw")]


# Thinning


def test_thinning_keeps_the_last_finite_row_of_each_column() -> None:
    values = np.array([1.0, 2.0, nan, 4.0, nan, nan, 7.0, 8.0])
    rows, begins, *_ = thin(values, np.array([0, 2, 4, 6, 8]))
    assert rows.tolist() == [1, 3, 7]
    assert begins.tolist() == [True, False, True]


def test_empty_columns_do_not_break_a_line() -> None:
    _, begins, *_ = thin(np.ones(3), np.array([0, 1, 1, 1, 2, 2, 3]))
    assert begins.tolist() == [True, False, False]


def test_chosen_points_keep_their_distance_and_include_the_last() -> None:
    columns = np.array([0, 1, 4, 5, 8, 9])
    assert columns[spread(columns, apart=4)].tolist() == [1, 5, 9]


@pytest.mark.parametrize("smoothing", [0.0, 0.9])
@pytest.mark.parametrize("rows", [60, 5000])
@pytest.mark.parametrize("change", ["adds rows", "goes back"])
def test_a_run_that_changes_while_it_is_drawn_is_drawn_as_it_was(
    change: str, rows: int, smoothing: float
) -> None:
    train, changes = column([2.0 + math.sin(step / 9) for step in range(rows)]), 0

    def meanwhile(values: Values) -> Values:  # called between two looks at the column
        nonlocal changes
        changes += 1
        if change == "adds rows":
            train.extend(range(rows * changes, rows * (changes + 1)), [2.0] * rows)
        else:
            train.truncate(rows // 2 - changes)
        return values

    series = Series(train, raster.TRAIN, name="train", raw=raster.RAW, transform=meanwhile)
    frame = painted(Chart([series], Window(0, rows), smoothing=smoothing), 90, 20)
    assert changes and cells(frame, raster.TRAIN)


def test_a_dense_curve_has_no_value_beyond_its_end() -> None:
    series = Series(column([3.0, 2.0, 1.0]), raster.TRAIN, name="train")
    assert value_at(series, 2, 0.0)[:2] == (2, 1.0)
    assert value_at(series, 3, 0.5) == (None, None, None)
