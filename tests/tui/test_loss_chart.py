"""The loss chart in an app: what it shows, and that it repaints no more than it must."""

from __future__ import annotations

import math

import numpy as np
import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.strip import Strip

from engine.metrics import Column, MetricStore
from tui.charts.axes import full_range, recent_range
from tui.charts.raster import STYLES
from tui.text.numbers import format_loss
from tui.widgets.chart_widget import ChartWidget
from tui.widgets.loss_chart import LossChart


class RecordingChart(LossChart):
    """Remembers what it was asked to repaint; None stands for all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.repaints: list[set[int] | None] = []
        self.regions: list[Region] = []

    def refresh(self, *regions: Region, **options: bool) -> RecordingChart:
        self.regions += regions
        self.repaints.append({region.y for region in regions} if regions else None)
        super().refresh(*regions, **options)
        return self


class ChartApp(App[None]):
    def compose(self) -> ComposeResult:
        yield RecordingChart()

    @property
    def chart(self) -> RecordingChart:
        return self.query_one(RecordingChart)


def trained(steps: int = 1600) -> MetricStore:
    store = MetricStore()
    for step in range(steps):
        decay = math.exp(-step / 200)
        store.append("train_loss", step, 1.9 + 2.3 * decay + 0.05 * math.sin(step * 7.7))
        if step % 250 == 0:
            store.append("val_loss", step, 2.0 + 2.2 * decay)
    return store


def lines(chart: LossChart) -> list[str]:
    return [chart.render_line(y).text for y in range(chart.size.height)]


def strips(chart: LossChart) -> list[Strip]:
    return [chart.render_line(y) for y in range(chart.size.height)]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_it_shows_the_curves_and_their_latest_values(size: tuple[int, int]) -> None:
    app = ChartApp()
    async with app.run_test(size=size) as pilot:
        store = trained()
        app.chart.show(store, max_step=2000, val_label="val, 20 of 145 batches")
        await pilot.pause()
        shown = lines(app.chart)
        assert [len(line) for line in shown] == [size[0]] * size[1]
        assert f"train {format_loss(store.column('train_loss').last)}" in shown[0]
        assert f"val, 20 of 145 batches {format_loss(store.column('val_loss').last)}" in shown[0]
        assert "".join(shown[1:]).count("●") == 6, "the first is beyond the edge"
        assert shown[-1].split() == ["0", *shown[-1].split()[1:-1], "2k"]


def test_every_style_of_a_cell_has_its_colours() -> None:
    assert {f"chart--{style}" for style in STYLES} <= ChartWidget.COMPONENT_CLASSES


async def test_it_says_so_while_there_is_nothing_to_show() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "no steps yet" in lines(app.chart)[12]
        app.chart.empty_text = "no values yet"
        app.chart.show(MetricStore())
        assert "no values yet" in lines(app.chart)[12]
        app.chart.show(trained(10))
        assert "no values yet" not in "".join(lines(app.chart))


async def test_nothing_is_repainted_while_nothing_has_changed() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        store = trained()
        app.chart.show(store)
        await pilot.pause()
        app.chart.repaints.clear()
        app.chart.refresh_data()
        app.chart.show(store)
        assert app.chart.repaints == []


async def test_only_the_rows_that_differ_are_repainted() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        store = trained()
        app.chart.show(store, max_step=2000)
        await pilot.pause()
        before = strips(app.chart)
        app.chart.repaints.clear()
        for step in range(1600, 1640):
            store.append("train_loss", step, 1.9)
        app.chart.refresh_data()
        after = strips(app.chart)
        differ = {y for y, (old, new) in enumerate(zip(before, after, strict=True)) if old != new}
        assert app.chart.repaints == [differ]
        assert 0 in differ, "the legend shows the newest value"
        assert len(differ) < 6
        assert all(before[y] is after[y] for y in set(range(24)) - differ)


async def test_a_new_size_is_drawn_at_the_next_paint_down_to_a_few_cells() -> None:
    app = ChartApp()
    async with app.run_test(size=(120, 40)) as pilot:
        app.chart.show(trained())
        for width, height in [(80, 24), (30, 8), (10, 4), (1, 3), (120, 40)]:
            await pilot.resize_terminal(width, height)
            shown = lines(app.chart)
            assert [len(line) for line in shown] == [width] * height
            app.chart.refresh_data()
        assert "●" in "".join(shown)


async def test_another_theme_gives_other_colours_to_the_same_picture() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.chart.show(trained())
        app.theme = "textual-dark"
        await pilot.pause()
        dark, dark_text = strips(app.chart), lines(app.chart)
        app.theme = "textual-light"
        await pilot.pause()
        assert lines(app.chart) == dark_text
        assert all(old != new for old, new in zip(dark, strips(app.chart), strict=True))


async def test_the_recent_window_shows_the_last_fifth_and_says_so() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.chart.show(trained(1600))
        await pilot.pause()
        app.chart.toggle_window()
        shown = lines(app.chart)
        assert "last 20%" in shown[0]
        assert " 0 " not in shown[-1]
        assert "1.5k" in shown[-1]
        app.chart.toggle_window()
        assert "last 20%" not in lines(app.chart)[0]


async def test_a_logarithmic_axis_is_refused_aloud_where_it_would_lie() -> None:
    app = ChartApp()
    async with app.run_test(size=(100, 24)) as pilot:
        store = trained(200)
        app.chart.show(store)
        app.chart.toggle_log()
        await pilot.pause()
        assert lines(app.chart)[0].rstrip().endswith(" log")
        store.append("train_loss", 200, -1.0)
        app.chart.refresh_data()
        assert "no log: not all positive" in lines(app.chart)[0]


async def test_without_smoothing_only_raw_values_are_shown() -> None:
    app = ChartApp()
    async with app.run_test(size=(100, 24)) as pilot:
        app.chart.show(trained())
        await pilot.pause()
        assert "smoothed" in lines(app.chart)[0]
        app.chart.toggle_smooth()
        assert "smoothed" not in lines(app.chart)[0]


async def test_the_axis_reaches_as_far_as_the_stretch_that_was_left() -> None:
    app = ChartApp()
    async with app.run_test(size=(120, 24)) as pilot:
        store = trained(300)
        store.add_ghost("train_loss", np.arange(300, 800), np.full(500, 3.0))
        app.chart.show(store, max_step=350)  # it has an earlier end now
        await pilot.pause()
        assert lines(app.chart)[-1].split()[-1] == "800"


async def test_what_the_run_went_back_from_is_a_ghost() -> None:
    app = ChartApp()
    async with app.run_test(size=(120, 24)) as pilot:
        store = trained(600)
        app.chart.show(store, max_step=2000)
        await pilot.pause()
        assert "abandoned" not in lines(app.chart)[0]
        store.add_ghost("train_loss", np.arange(600, 1000), np.full(400, 3.0))
        app.chart.refresh_data()
        assert "─ ─ ─ abandoned" in lines(app.chart)[0]
        assert lines(app.chart)[-1].split()[-1] == "1k", "all of it is in the window"
        colour = app.chart.get_component_rich_style("chart--ghost").color
        faint = [
            segment.text
            for strip in strips(app.chart)[1:]
            for segment in strip
            if segment.style and segment.style.color == colour
        ]
        assert len("".join(faint)) > 20, "dotted"


async def test_the_run_it_was_forked_off_is_a_ghost_under_its_name() -> None:
    app = ChartApp()
    async with app.run_test(size=(120, 24)) as pilot:
        app.chart.show(trained(600), max_step=700)
        curve = Column()
        curve.extend(range(600, 5000), [2.5] * 4400)
        app.chart.show_parent("old-run", curve)
        await pilot.pause()
        assert "──  ── old-run" in lines(app.chart)[0]
        assert lines(app.chart)[-1].split()[-1] == "700", "no further than this run will come"
        await pilot.resize_terminal(64, 24)
        assert "──  ── old-run" in lines(app.chart)[0], "other details make room for it"
        app.chart.show_parent("", None)
        assert "old-run" not in lines(app.chart)[0]


@pytest.mark.parametrize("width", range(1, 90, 8))
async def test_the_legend_never_runs_over_the_edge(width: int) -> None:
    app = ChartApp()
    async with app.run_test(size=(width, 12)) as pilot:
        app.chart.show(trained(), val_label="val, 20 of 145 batches")
        await pilot.pause()
        assert len(lines(app.chart)[0]) == width


@pytest.mark.parametrize(
    ("last_step", "max_step", "expected"),
    [
        (0, None, (0, 100)),
        (0, 40, (0, 40)),
        (100, None, (0, 100)),
        (101, None, (0, 150)),
        (1_234, 2_000, (0, 1_500)),
        (1_600, 1_800, (0, 1_800)),
        (2_500, 1_800, (0, 3_000)),
        (0, 0, (0, 1)),
    ],
)
def test_the_axis_ends_at_a_round_step_or_where_the_run_does(
    last_step: int, max_step: int | None, expected: tuple[int, int]
) -> None:
    assert full_range(last_step, max_step) == expected


def test_the_recent_axis_moves_by_leaps() -> None:
    ranges = [recent_range(step) for step in range(10_000, 11_000)]
    assert all(first <= 0.8 * 10_999 and end > 10_000 for first, end in ranges)
    assert len(set(ranges)) <= 6
    assert recent_range(0, 10) == (0, 10)
