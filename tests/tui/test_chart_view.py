"""Looking at a chart: cursor, zoom, pan, smoothing, units, characters, export; long curves."""

from __future__ import annotations

import csv
import dataclasses
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from msgspec.structs import replace
from textual.pilot import Pilot

from engine.metrics import Column, MetricStore
from engine.session.recorder import mark_entry
from tests.tui.test_loss_chart import ChartApp, RecordingChart, lines, trained
from tui.charts import raster
from tui.charts.characters import detected
from tui.charts.chart import Chart, Series, draw
from tui.charts.picture import Reference, paint_cursor
from tui.charts.reduction import BLOCK, FEW_ROWS, Reduction, reduction_of
from tui.charts.view import View
from tui.charts.window import Window, XAxis, axis_of
from tui.widgets.chart_export import export_chart
from tui.widgets.chart_widget import ChartWidget


async def shown(pilot: Pilot[None], store: MetricStore | None = None) -> RecordingChart:
    chart = pilot.app.query_one(RecordingChart)
    chart.show(store or trained(1600), max_step=1600)
    await pilot.pause()
    return chart


# The cursor


async def test_the_cursor_tells_the_values_and_the_events_of_its_step() -> None:
    async with ChartApp().run_test(size=(110, 24)) as pilot:
        store = trained(1600)
        store.add_mark(750, "batch_size 12→24")
        mark_entry(store, 750, "evaluated", {"val_loss": 2.05})
        chart = await shown(pilot, store)
        chart.view = replace(chart.view, cursor=750)
        told = lines(chart)
        _, values, _ = store.column("train_loss").snapshot()
        assert "step 750 " in told[0] and f"train {values[750]:.4f} (smoothed" in told[0]
        assert f"val {store.column('val_loss').snapshot()[1][3]:.4f}" in told[0]
        assert "batch_size 12→24" in "".join(told)
        assert "validation loss 2.0500 · the best so far" in "".join(told)
        assert " 750 " in told[-1]
        chart.clear_cursor()
        assert "smoothed" in lines(chart)[0]


async def test_keys_and_mouse_move_the_cursor_to_recorded_steps() -> None:
    async with ChartApp().run_test(size=(110, 24)) as pilot:
        chart = await shown(pilot)
        chart.move_cursor(-1)
        near_the_end = chart.view.cursor
        assert near_the_end is not None and near_the_end > 1550
        chart.move_cursor(-10)
        assert chart.view.cursor is not None and chart.view.cursor < near_the_end
        await pilot.hover(RecordingChart, offset=(58, 10))
        await pilot.click(RecordingChart, offset=(58, 10))
        pinned = chart.view.cursor
        await pilot.hover(RecordingChart, offset=(80, 10))
        assert chart.view.cursor == pinned, "a click holds it"


async def test_moving_the_cursor_repaints_little() -> None:
    async with ChartApp().run_test(size=(110, 24)) as pilot:
        chart = await shown(pilot)
        chart.move_cursor(-30)
        chart.regions.clear()
        chart.move_cursor(1)
        below = [region.width for region in chart.regions if 0 < region.y < 22]
        assert below and max(below) <= 2, "only the columns of the cursor, before and now"


# Zoom


async def test_the_wheel_zooms_at_the_pointer_and_dragging_pans() -> None:
    async with ChartApp().run_test(size=(106, 24)) as pilot:
        chart = await shown(pilot)
        chart.zoom(4, at=0.5)
        assert chart.view.zoom is not None
        first, last = chart.view.zoom
        assert (first + last) / 2 == pytest.approx(800, abs=2)
        assert last - first == pytest.approx(1600 * 0.8**4, rel=0.01)
        chart.pan(0.25)
        assert chart.view.zoom[0] > first
        chart.fit()
        assert chart.view.zoom is None


async def test_what_is_zoomed_stays_and_follows_only_if_told_to() -> None:
    async with ChartApp().run_test(size=(106, 24)) as pilot:
        store = trained(1600)
        chart = await shown(pilot, store)
        chart.zoom(6, at=1.0)
        stays = chart.view.zoom
        store.extend("train_loss", range(1600, 3000), [1.9] * 1400)
        chart.refresh_data()
        assert chart.shown() and chart.view.zoom == stays
        chart.follow()
        window = chart.shown()[0].window  # type: ignore[index]
        assert window.last == 2999


async def test_a_view_that_charts_share_shows_the_same_steps() -> None:
    seen: list[View] = []

    class Listening(ChartApp):
        def on_chart_widget_view_changed(self, message: ChartWidget.ViewChanged) -> None:
            seen.append(message.view)

    async with Listening().run_test(size=(106, 24)) as pilot:
        chart = await shown(pilot)
        chart.zoom(2)
        chart.smooth(1)
        await pilot.pause()
        assert [one.smoothing for one in seen] == [0.9, 0.95] and seen[-1] == chart.view


def test_zooming_ends_at_a_few_steps_and_at_the_whole_run() -> None:
    whole = window = Window(0, 1000)
    view = View()
    for _ in range(60):
        view = view.zoomed(window, whole, 0.8, 0.3)
        window = Window(*view.steps_shown((0, 1000), 1000))
    assert window.last - window.first == pytest.approx(4)
    for _ in range(60):
        view = view.zoomed(window, whole, 1.25, 0.3)
        window = Window(*view.steps_shown((0, 1000), 1000))
    assert view.zoom is None


# Range


def spiked() -> Chart:
    values = 2.0 + np.exp(-np.arange(2000) / 150)
    values[1200] = 1000.0
    column = Column()
    column.extend(range(2000), values)
    return Chart([Series(column, raster.TRAIN, raw=raster.RAW)], Window(0, 2000), 0.9)


def test_a_spike_flattens_nothing_and_is_told_at_the_edge() -> None:
    drawing = draw(spiked(), 100, 24)
    assert drawing.field.scale.high < 5
    edge = drawing.frame.text()[0]
    assert "▲" in edge and "1000" in edge
    full = draw(dataclasses.replace(spiked(), y="full"), 100, 24)
    assert full.field.scale.high >= 1000


def test_a_logarithmic_axis_has_two_labels_at_least() -> None:
    for low, high in ((1.4, 1.5), (1.9, 2.2), (1.0, 9.0), (0.02, 700.0), (3e-9, 4e9)):
        column = Column()
        column.extend(range(100), np.geomspace(low, high, 100))
        chart = Chart([Series(column, raster.TRAIN)], Window(0, 100), y="log")
        drawing = draw(chart, 80, 14)
        labelled = [row for row in drawing.frame.text() if "┤" in row]
        assert len(labelled) >= 2, (low, high)


def test_a_line_that_leaves_the_window_is_cut_off_at_its_edge() -> None:
    column = Column()
    column.extend([0, 500, 1000], [0.0, 5.0, 10.0])
    one = Series(column, raster.VAL, "sparse")
    frame = draw(Chart([one], Window(200, 300), limits=(0.0, 10.0)), 86, 22).frame
    rows = {int(y) for y, x in np.argwhere(frame.styles == raster.VAL)}
    assert len(np.unique(np.argwhere(frame.styles == raster.VAL)[:, 1])) == 80, "from edge to edge"
    assert rows == {14, 15, 16}


def test_training_is_drawn_above_validation_where_they_meet() -> None:
    train, val = Column(), Column()
    train.extend(range(1000), [2.0] * 1000)
    val.extend(range(0, 1000, 10), [2.0] * 100)
    series = [Series(train, raster.TRAIN, raw=raster.RAW), Series(val, raster.VAL, "sparse")]
    frame = draw(Chart(series, Window(0, 1000)), 100, 20).frame
    assert (frame.styles == raster.TRAIN).sum() > 75


def test_lines_of_reference_are_drawn_where_they_are_within_the_range() -> None:
    references = [Reference(2.2, "bigram"), Reference(4.17, "ln V")]
    frame = draw(dataclasses.replace(spiked(), references=references), 100, 24).frame
    told = "\n".join(frame.text())
    assert "bigram 2.2" in told and "ln V" not in told


def test_of_two_lines_in_one_row_the_first_is_drawn_and_labels_cover_no_curve() -> None:
    near = [Reference(2.2, "best run"), Reference(2.2001, "nanoGPT"), Reference(2.25, "bigram")]
    frame = draw(dataclasses.replace(spiked(), references=near), 100, 24).frame
    plain = draw(spiked(), 100, 24).frame
    told = "\n".join(frame.text())
    assert "best run 2.2" in told and "nanoGPT" not in told and told.count("bigram 2.25") == 1
    curve = plain.styles == raster.TRAIN
    assert (frame.characters[curve] == plain.characters[curve]).all()


@pytest.mark.parametrize("columns", range(50, 60))
def test_a_line_of_reference_keeps_its_value_where_there_is_little_room(columns: int) -> None:
    one = [Reference(2.49, "lecture: multi-head")]
    frame = draw(dataclasses.replace(spiked(), references=one), columns, 24).frame
    for line in frame.text():
        assert "lecture" not in line or "2.49" in line


def test_words_at_the_cursor_leave_the_value_beside_a_sign_at_the_edge() -> None:
    chart = spiked()
    drawing = draw(chart, 100, 24)
    top = "".join(drawing.frame.characters[0])
    value = top[top.index("▲") + 1 :].split()[0]
    for word in ("sampled", "evaluated, best so far"):
        for column in range(drawing.field.layout.columns):
            frame = drawing.frame.copy()
            step = int(drawing.field.window.borders(drawing.field.layout.columns)[column])
            paint_cursor(frame, drawing.field, step, f"{step}", [word])
            told = frame.text()
            beside = abs(column - (top.index(value) - drawing.field.layout.left)) < 6
            assert value in told[0] or beside, "the line of the cursor itself may cross it"
            assert any(word[:4] in line for line in told[:4])


# The horizontal axis


def test_the_axis_counts_what_the_run_has_recorded() -> None:
    store = trained(1000)
    assert axis_of(store, "time", {}) is None
    store.extend("wall_time", range(1000), 1.7e9 + 2.0 * np.arange(1000))
    store.extend("tokens", range(1000), 100.0 * np.arange(1000))
    time = axis_of(store, "time", {})
    epochs = axis_of(store, "epochs", {"epochs": 1e-4})
    assert time and epochs
    assert time.of(500.0) == pytest.approx(1000)
    assert time.steps_at(np.array([1000.0])) == pytest.approx([500])
    assert epochs.of(1000.0) == pytest.approx(10)
    assert [label for _, label in Window(0, 1998, time).ticks(5)][-1] == "30 min"


def test_hostile_times_make_no_axis_or_a_rising_one() -> None:
    column = Column()
    column.extend(range(5), [np.nan, 3.0, 1.0, np.inf, 9.0])
    axis = XAxis.recorded("time", column)
    assert axis and (np.diff(axis.of(np.arange(8.0))) >= 0).all()
    assert XAxis.recorded("time", Column()) is None


async def test_the_units_go_round_and_log_is_possible() -> None:
    async with ChartApp().run_test(size=(106, 24)) as pilot:
        store = trained(1000)
        store.extend("train_seconds", range(1000), 0.5 * np.arange(1000))
        chart = await shown(pilot, store)
        chart.cycle_unit()
        assert "over time" in lines(chart)[0] and "min" in lines(chart)[-1]
        chart.toggle_log_x()
        assert "log x" in lines(chart)[0]
        chart.cycle_unit()
        assert chart.view.unit == "steps"


# Long curves


def test_averages_and_extremes_of_blocks_are_those_of_all_values() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=FEW_ROWS + 5 * BLOCK + 7)
    values[random.random(len(values)) < 0.01] = np.nan
    column, reduction = Column(0.97), Reduction()
    for part in np.array_split(np.arange(len(values)), 7):
        column.extend(part, values[part])
        reduction.read(column)
        reduction.averages(part[-1:], 0.97)
    rows = np.sort(random.integers(0, len(values), 300))
    np.testing.assert_allclose(
        reduction.averages(rows, 0.97), column.snapshot()[2][rows], rtol=1e-9, atol=1e-9
    )
    low, high, bad = reduction.extremes(rows)
    for at, (begin, end) in enumerate(pairwise(rows.tolist())):
        among = values[begin:end]
        finite = among[np.isfinite(among)]
        assert bad[at] == (len(finite) < len(among))
        if finite.size:
            assert (low[at], high[at]) == (finite.min(), finite.max())


def test_what_is_kept_of_a_column_is_forgotten_when_it_is_truncated() -> None:
    column = Column()
    column.extend(range(2 * FEW_ROWS), [1.0] * 2 * FEW_ROWS)
    reduction_of(column).averages(np.array([2 * FEW_ROWS - 1]), 0.9)
    column.truncate(FEW_ROWS)
    column.extend(range(FEW_ROWS + 1, 2 * FEW_ROWS), [5.0] * (FEW_ROWS - 1))
    reduction = reduction_of(column)
    assert reduction.extremes(np.array([0, 2 * FEW_ROWS])).high == [5.0]
    assert reduction.averages(np.array([2 * FEW_ROWS - 1]), 0.9) == pytest.approx(5.0)


# Characters


@pytest.mark.parametrize(
    ("environ", "characters"),
    [
        ({"LANG": "en_US.UTF-8", "TERM": "xterm-256color"}, "braille"),
        ({"LANG": "C.UTF-8", "TERM": "linux"}, "block"),
        ({"LANG": "C", "TERM": "xterm"}, "ascii"),
        ({"LC_ALL": "de_DE.ISO-8859-1", "LANG": "en_US.UTF-8"}, "ascii"),
        ({"LANG": "en_US.utf8", "TERM": "vt100"}, "ascii"),
        ({}, "braille"),
    ],
)
def test_the_characters_are_those_a_terminal_can_show(
    environ: dict[str, str], characters: str
) -> None:
    assert detected(environ) == characters


async def test_a_chart_is_made_of_the_characters_that_are_asked_for() -> None:
    async with ChartApp().run_test(size=(100, 24)) as pilot:
        chart = await shown(pilot)
        chart.characters = "ascii"
        assert "".join(lines(chart)).isascii()
        chart.characters = "block"
        told = "".join(lines(chart))
        assert not any("\u2800" <= one <= "\u28ff" for one in told) and set(told) & set("▘▝▖▗▚▞█")


# Export


async def test_what_is_seen_is_exported_to_the_run(tmp_path: Path) -> None:
    async with ChartApp().run_test(size=(100, 24)) as pilot:
        chart = await shown(pilot)
        chart.zoom(4, at=0.5)
        await pilot.pause()
        written = export_chart(chart, tmp_path)
        again = export_chart(chart, tmp_path)
        assert {one.parent for one in written} == {tmp_path / "charts"}
        assert not set(written) & set(again), "an export replaces no other"
        picture = ElementTree.fromstring(written[0].read_text(encoding="utf-8"))
        assert picture.tag.endswith("svg")
        with written[1].open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert chart.view.zoom
        steps = [int(row["step"]) for row in rows if row["series"] == "train"]
        assert chart.view.zoom[0] <= steps[0] and steps[-1] <= chart.view.zoom[1]
        assert len(steps) == steps[-1] - steps[0] + 1


@pytest.mark.parametrize(
    "title",
    [
        "../../evil",
        "/etc/evil",
        "a/b",
        "a\0b",
        "\x1b]0;x\x07<&>\ufffe",
        "\udc80",
        "x" * 300,
        "..",
        "",
    ],
)
async def test_a_title_of_any_kind_names_a_file_in_the_run(tmp_path: Path, title: str) -> None:
    run = tmp_path / "runs/one"
    run.mkdir(parents=True)
    async with ChartApp().run_test(size=(100, 24)) as pilot:
        chart = await shown(pilot)
        chart.title = title
        (run / "charts").mkdir()
        for written in (export_chart(chart, run), export_chart(chart, run)):
            assert {one.parent for one in written} == {run / "charts"}
            ElementTree.parse(written[0])
    outside = [one for one in tmp_path.rglob("*") if one.is_file() and run not in one.parents]
    assert outside == []


@pytest.mark.parametrize(
    ("end", "shown_steps"), [(900, (500, 900)), (400, (0, 400)), (0, (0, 400))]
)
def test_following_never_shows_what_is_before_the_run(
    end: float, shown_steps: tuple[float, float]
) -> None:
    assert View(zoom=(100.0, 500.0), follow=True).steps_shown((0, 1000), end) == shown_steps
