"""The grid of charts: where they are, what keys and mouse do, what is remembered."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import combinations, pairwise
from typing import Any

import pytest
from msgspec.structs import replace
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Static

from engine.config.schema import OptimConfig
from engine.metrics import MetricStore
from tui.widgets.chart_grid import LARGE_TURNS, TURNS, ChartGrid, arrangement
from tui.widgets.chart_widget import ChartWidget
from tui.widgets.metric_chart import MetricChart, Plan

RECORDED = ("learning_rate", "grad_norm", "tokens_per_second", "memory_host", "cpu_load", "mfu")


def recorded(steps: int = 200) -> MetricStore:
    store = MetricStore()
    store.references = {"uniform_loss": 4.17, "bigram_loss": 2.45}
    for step in range(1, steps + 1):
        store.append("train_loss", step, 1.5 + 2.5 * math.exp(-step / 40))
        store.append("learning_rate", step, 1e-3)
        for name in RECORDED[1:]:
            store.append(name, step, 0.5 + 0.1 * math.sin(step))
    for step in (100, 200):
        store.append("val_loss", step, 1.9)
    return store


def timed() -> MetricStore:
    """A run whose steps took 34 ms."""
    store = recorded()
    for name, seconds in (("data", 2e-4), ("forward", 9.7e-3), ("backward", 0.0213)):
        store.extend(f"time_{name}", range(1, 201), [seconds] * 200)
    store.extend("time_optimizer", range(1, 201), [2.1e-3] * 200)
    return store


def of_times(grid: ChartGrid) -> MetricChart:
    return next(one for one in grid.query(MetricChart) if one.kind.name == "step_time")


class GridApp(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.orders: list[str] = []
        self.pages: list[str] = []

    def compose(self) -> ComposeResult:
        yield ChartGrid()

    def on_chart_grid_chosen(self, message: ChartGrid.Chosen) -> None:
        self.orders.append(message.order)

    def on_chart_grid_arranged(self, message: ChartGrid.Arranged) -> None:
        self.pages.append(message.pages)


@asynccontextmanager
async def shown(
    width: int = 150, height: int = 26, store: MetricStore | None = None, mode: str = "grid"
) -> AsyncIterator[tuple[ChartGrid, Pilot[None]]]:
    app = GridApp()
    async with app.run_test(size=(width, height)) as pilot:
        grid = app.query_one(ChartGrid)
        grid.mode = mode  # type: ignore[assignment]
        plan = Plan(OptimConfig(learning_rate=1e-3, warmup_steps=0, schedule="linear"), 1000)
        grid.show(store or recorded(), max_step=1000, plan=plan)
        await pilot.pause()
        while any(one._drawn_size != one.size for one in grid._shown):
            await pilot.pause()
        yield grid, pilot


async def until_drawn(grid: ChartGrid, pilot: Pilot[None]) -> None:
    """Wait for the charts that take over the view of another."""
    await pilot.pause()
    while grid._behind:
        await pilot.pause()


def names(grid: ChartGrid) -> list[str]:
    """The charts that are on the screen, as they stand there."""
    tiles = [one for one in grid.query(MetricChart) if one.display]
    order = sorted(tiles, key=lambda one: (one.region.y, one.region.x))
    return [*["loss"][: grid.loss.display], *(one.kind.name for one in order)]


@pytest.mark.parametrize("width", [58, 78, 99, 100, 150, 250])
@pytest.mark.parametrize("height", [6, 10, 14, 20, 26, 60])
def test_charts_are_large_enough_and_do_not_overlap(width: int, height: int) -> None:
    plan = arrangement(width, height)
    places = [*plan.tiles, *([plan.loss] if plan.loss else [])]
    whole = Region(0, 0, width, height)
    assert all(whole.contains_region(one) for one in places)
    assert not any(one.overlaps(other) for one, other in combinations(places, 2))
    assert all(one.width >= 28 and one.height >= min(7, height) for one in places)
    assert max(one.bottom for one in places) == height
    assert max(one.right for one in places) == width
    lefts = {one.x for one in plan.tiles}
    rows = {one.y for one in plan.tiles}
    assert len(plan.tiles) == len(lefts) * len(rows)  # aligned


@pytest.mark.parametrize("size", [(78, 20), (99, 26), (150, 26), (150, 20), (250, 60), (78, 10)])
@pytest.mark.parametrize("count", range(1, 20))
def test_no_page_is_mostly_empty(size: tuple[int, int], count: int) -> None:
    plan, most = arrangement(*size, count), arrangement(*size)
    charts = count - (plan.loss is not None)  # that is on each page
    each, columns = len(plan.tiles), len({one.x for one in plan.tiles})
    pages = max(math.ceil(charts / each), 1)
    assert pages <= max(math.ceil(charts / len(most.tiles)), 1)
    last = charts - (pages - 1) * each
    assert not charts or each - last <= pages * (columns - 1) + pages - 1
    assert all(one.width >= 28 and one.height >= min(7, size[1]) for one in plan.tiles)


def test_a_narrow_and_low_place_has_one_chart_at_a_time() -> None:
    assert arrangement(78, 10) == (None, [Region(0, 0, 78, 10)])


async def test_a_wide_grid_has_the_loss_and_a_chart_of_everything_that_is_recorded() -> None:
    async with shown() as (grid, _):
        assert names(grid) == [
            "loss", "learning_rate", "grad_norm", "speed", "load", "memory", "mfu",
            "bits_per_byte", "perplexity",
        ]  # fmt: skip
        assert grid.loss.size.width > 50
        assert grid.loss.size.height == 26


async def test_a_chart_has_its_title_and_the_latest_value() -> None:
    async with shown() as (grid, _):
        headings = {
            one.kind.name: "".join(text for text, _ in one.drawing(*one.size)[0])
            for one in grid.query(MetricChart)
            if one.display
        }
    assert headings["learning_rate"].split() == ["learning", "rate", "0.001"]
    assert headings["mfu"].endswith(" %")
    assert headings["load"].endswith(" %")


async def test_an_axis_has_the_prefix_of_the_latest_value() -> None:
    store = MetricStore()
    for step in range(1, 200):
        store.append("train_loss", step, 2.0)
        speed_of_step = 10_000.0 + 2000.0 * math.sin(step / 20)
        store.append("tokens_per_second", step, 90_000.0 if step == 100 else speed_of_step)
    async with shown(store=store) as (grid, _):
        speed = next(one for one in grid.query(MetricChart) if one.kind.name == "speed")
        rows = ["".join(text for text, _ in row) for row in speed.drawing(*speed.size)]
    assert rows[0].endswith("k")
    assert any(row.lstrip().startswith("10k") for row in rows), rows
    assert any("90k ▲" in row or "▲ 90k" in row for row in rows), rows


async def test_a_page_has_what_fits_and_the_next_one_the_rest() -> None:
    async with shown(78, 20) as (grid, pilot):
        first = names(grid)
        assert len(first) == 4
        grid.move(-1)  # the last one
        await pilot.pause()
        assert names(grid)[-1] == "perplexity"
        assert not set(names(grid)) & set(first)
        app = pilot.app
        assert isinstance(app, GridApp) and app.pages[-1] == "3/3"
        for page, charts in ((1, first), (2, None), (3, None), (1, first)):
            grid.turn_page(1)
            await pilot.pause()
            assert app.pages[-1] == f"{page}/3" and charts in (None, names(grid))
        grid.turn_page(-1)
        await pilot.pause()
        assert names(grid)[-1] == "perplexity"


async def test_the_loss_alone_is_as_large_as_all_of_them() -> None:
    async with shown(mode="loss") as (grid, pilot):
        assert names(grid) == ["loss"]
        assert grid.loss.size == grid.size
        grid.toggle_grid()
        await pilot.pause()
        assert len(names(grid)) > 2
        grid.toggle_grid()
        await pilot.pause()
        assert names(grid) == ["loss"]


async def test_the_selected_chart_is_maximised_and_back() -> None:
    async with shown() as (grid, pilot):
        grid.move(2)
        await pilot.pause()
        assert grid.current.title == "gradient norm"
        grid.maximise()
        await pilot.pause()
        assert names(grid) == ["grad_norm"]
        assert grid.current.size == grid.size
        grid.move(1)  # the next one, as large
        await pilot.pause()
        assert names(grid) == ["speed"]
        assert grid.back()
        await pilot.pause()
        assert len(names(grid)) > 2
        assert not grid.back()


async def test_a_double_click_maximises_a_chart_and_a_click_selects_it() -> None:
    async with shown() as (grid, pilot):
        tile = next(one for one in grid.query(MetricChart) if one.kind.name == "memory")
        await pilot.click(tile, offset=(20, 4))
        assert grid.current is tile
        await pilot.click(tile, offset=(20, 4), times=2)
        await pilot.pause()
        assert names(grid) == ["memory"]


async def test_all_charts_have_the_same_steps_and_the_same_cursor() -> None:
    async with shown() as (grid, pilot):
        tile = next(one for one in grid.query(MetricChart) if one.display)
        tile.look(replace(tile.view, cursor=77, zoom=(50.0, 150.0), y="full"))
        await until_drawn(grid, pilot)
        charts = [grid.loss, *grid.query(MetricChart)]
        assert {(one.view.cursor, one.view.zoom) for one in charts} == {(77, (50.0, 150.0))}
        assert {one.view.y for one in charts if one is not tile} == {"robust", "log"}  # its own
        windows = {
            (one.shown_window.first, one.shown_window.last)
            for one in charts
            if one.display and one.shown_window
        }
        assert windows == {(50.0, 150.0)}


async def test_after_a_key_the_charts_are_drawn_and_painted_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with shown() as (grid, pilot):
        await until_drawn(grid, pilot)
        tile, *others = (one for one in grid.query(MetricChart) if one.display)
        drawn: list[ChartWidget] = []
        painted: list[int] = []
        draw, paint = ChartWidget._draw, pilot.app._display

        def note_drawn(chart: ChartWidget) -> None:
            drawn.append(chart)
            draw(chart)

        def note_painted(screen: Screen[object], update: Any) -> None:
            painted.append(len(drawn))
            paint(screen, update)

        monkeypatch.setattr(ChartWidget, "_draw", note_drawn)
        monkeypatch.setattr(pilot.app, "_display", note_painted)
        tile.toggle_smooth()
        assert drawn == [tile]
        await until_drawn(grid, pilot)
        assert drawn == [tile, grid.loss, *others]
        # each is painted before the next is drawn; the screen may take two together
        assert all(after - before <= 2 for before, after in pairwise([0, *painted]))


async def test_a_filter_is_typed_and_ended() -> None:
    async with shown() as (grid, pilot):
        grid.filter()
        await pilot.press(*"grad")
        await pilot.pause()
        assert names(grid) == ["loss", "grad_norm"]
        await pilot.press("enter")
        await pilot.pause()
        assert pilot.app.focused is None
        assert names(grid) == ["loss", "grad_norm"]
        assert grid.back()
        await pilot.pause()
        assert len(names(grid)) > 2


async def test_charts_of_single_layers_are_there_for_who_looks_for_them() -> None:
    store = recorded()
    for layer in range(2):
        for part in ("", ".attention.qkv"):
            store.append(f"health/grad_norm/blocks.{layer}{part}", 100, 0.1)
    async with shown(store=store) as (grid, pilot):
        every = names(grid)
        assert not any(name.startswith("health") for name in every)
        grid.words = "health"
        await pilot.pause()
        assert names(grid) == ["loss", "health/grad_norm",
                               "health/grad_norm/blocks.0.attention.qkv",
                               "health/grad_norm/blocks.1.attention.qkv"]  # fmt: skip
        grid.words = ""
        await pilot.pause()
        assert names(grid) == every
        assert not any(one.kind.group == "health" for one in grid.query(MetricChart))


async def test_a_filter_that_finds_nothing_says_what_to_do() -> None:
    async with shown() as (grid, pilot):
        grid.words = "zzz"
        await pilot.pause()
        told = str(grid.query_one("#no-chart", Static).render())
        assert told.startswith("no chart has 'zzz' in its name") and "esc shows all" in told
        assert not grid.loss.display and names(grid) == []
        grid.words = "perplexity"
        await pilot.pause()
        assert not grid.query_one("#no-chart").display and names(grid) == ["loss", "perplexity"]
        grid.words = "nats val_loss"
        await pilot.pause()
        grid.words = "perplexity | memory"
        await pilot.pause()
        assert names(grid) == ["loss", "memory", "perplexity"]
        grid.words = "val_loss"  # the loss has it
        await pilot.pause()
        assert grid.loss.display


@pytest.mark.parametrize("width", [28, 36, 60, 100])
async def test_a_small_chart_of_several_curves_names_their_values(width: int) -> None:
    async with shown(store=timed()) as (grid, _):
        tile = of_times(grid)
        rows = ["".join(text for text, _ in row) for row in tile.drawing(width, 8)[:2]]
        told = " ".join(rows)
        named = re.findall(r"━ ?([a-z]+) [\d.]+", told)
        left_out = sum(map(int, re.findall(r"\+(\d)", told)))
        assert named and len(named) == told.count("━") == len(tile.kind.metrics) - left_out
        assert left_out == 0 or width < 60
        assert all(len(row) <= width for row in rows)


async def test_values_of_several_curves_stand_below_their_title_and_nothing_beside_it() -> None:
    async with shown(store=timed()) as (grid, _):
        title, values = (
            "".join(text for text, _ in row) for row in of_times(grid).drawing(30, 8)[:2]
        )
        assert title.rstrip() == "time per step · ms"
        assert re.fullmatch(r"(━[a-z]+ [\d.]+ )+\+\d\s*", values)


async def test_the_frame_names_what_is_shown_and_the_keys_to_the_rest() -> None:
    async with shown(78, 17) as (grid, pilot):
        told: list[str] = []
        for mode in ("loss", "grid", "one"):
            grid.mode = mode
            await pilot.pause()
            title, ways, _ = grid._titles(0, 1)
            told.append(f"{title}: {ways}")
        assert told == [
            "loss: g all charts · \\ more room",
            "all charts: j next · g loss alone · \\ more room",
            "loss: j next · enter all charts · \\ more room",
        ]


async def test_leaving_the_field_of_the_filter_closes_it() -> None:
    async with shown() as (grid, pilot):
        grid.filter()
        await pilot.press("m", "f", "u")
        await pilot.pause()
        grid.end_field(keep=False)
        await pilot.pause()
        assert pilot.app.focused is None and not grid.words
        assert grid.loss.size.height == 26


async def test_the_order_and_what_is_hidden_is_told_and_taken_over() -> None:
    async with shown() as (grid, pilot):
        app = pilot.app
        assert isinstance(app, GridApp)
        grid.move(2)
        grid.move_chart(-1)
        await pilot.pause()
        assert names(grid)[1:3] == ["grad_norm", "learning_rate"]
        grid.hide_chart()
        await pilot.pause()
        assert names(grid)[1] == "learning_rate"
        told = app.orders[-1]
    async with shown() as (grid, pilot):
        grid.arrange_as(told)
        await pilot.pause()
        assert names(grid)[1:3] == ["learning_rate", "speed"]
        grid.show_all()
        await pilot.pause()
        assert names(grid)[1:4] == ["learning_rate", "grad_norm", "speed"]


@pytest.mark.parametrize("order", ["", ",,", "-", "speed,nonsense,-speed", "-loss", "x" * 5000])
async def test_any_order_that_somebody_wrote_shows_the_charts(order: str) -> None:
    async with shown() as (grid, pilot):
        grid.arrange_as(order)
        await pilot.pause()
        assert {"loss", "learning_rate"} <= set(names(grid))


async def test_a_metric_that_appears_later_gets_its_chart() -> None:
    store = recorded()
    async with shown(store=store) as (grid, pilot):
        assert "temperature" not in names(grid)
        store.append("cpu_temperature", 200, 55.0)
        grid.refresh_data(everything=False)
        await pilot.pause()
        assert "temperature" in names(grid)


async def test_charts_are_drawn_again_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    async with shown() as (grid, _):
        drawn: list[str] = []
        for one in (grid.loss, *grid.query(MetricChart)):
            name = one.kind.name if isinstance(one, MetricChart) else "loss"
            monkeypatch.setattr(one, "refresh_data", lambda name=name: drawn.append(name))
        turns = []
        for _ in range(TURNS):
            drawn.clear()
            grid.refresh_data(everything=False)
            turns.append(list(drawn))
        often = Counter(name for turn in turns for name in turn)
        assert often.pop("loss") == TURNS // LARGE_TURNS
        assert often == dict.fromkeys(names(grid)[1:], 1)
        assert max(map(len, turns)) <= 2


async def test_a_chart_alone_is_drawn_as_often_as_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    async with shown(mode="loss") as (grid, _):
        drawn: list[ChartGrid] = []
        monkeypatch.setattr(grid.loss, "refresh_data", lambda: drawn.append(grid))
        for _ in range(TURNS):
            grid.refresh_data(everything=False)
        assert len(drawn) == TURNS // LARGE_TURNS


async def test_the_schedule_ahead_is_a_faint_curve_to_the_end() -> None:
    async with shown() as (grid, _):
        tile = next(one for one in grid.query(MetricChart) if one.kind.name == "learning_rate")
        chart = tile.chart()
        assert chart
        ahead = chart.series[-1]
        assert (ahead.kind, ahead.column.last_step) == ("ghost", 999)
        assert ahead.column.last == pytest.approx(1e-6, abs=2e-4)
        low, high = chart.limits
        assert low == 0 and high == pytest.approx(1.05e-3)


async def test_hostile_values_are_drawn() -> None:
    store = MetricStore()
    for step, value in enumerate([math.nan, math.inf, -math.inf, 1e300, -1e300, 0.0, 5e-324]):
        for name in ("train_loss", "val_loss", *RECORDED, "of another version"):
            store.append(name, step, value)
    async with shown(store=store) as (grid, pilot):
        for size in ((150, 26), (60, 7), (40, 3)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            for _ in range(len(grid.listed())):
                grid.move(1)
                await pilot.pause()
