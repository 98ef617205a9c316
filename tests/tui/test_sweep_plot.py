"""The plot of a figure over a setting."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from textual.widgets import Static

from tests.engine.run_folders import write_run
from tests.tui.conftest import Open, Person
from tests.tui.test_runs_screen import here, look, told
from tui.charts.sweep import Axis, Point, Spread, SweepPlot, draw_sweep
from tui.screens.runs import RunsScreen
from tui.screens.sweep_plot import SweepPlotScreen

RATES = (1e-3, 3e-3, 1e-2, 3e-2)
LOSSES = (2.4, 1.6, 1.9, 3.0)


def text(plot: SweepPlot) -> list[str]:
    return ["".join(part for part, _ in row) for row in plot.rows]


def test_points_stand_where_their_values_are() -> None:
    points = [Point(x, y, sign) for x, y, sign in zip(RATES, LOSSES, "ABCD", strict=True)]
    plot = draw_sweep(points, Axis(), 80, 20)
    lines = text(plot)
    assert all(len(line) == 80 for line in lines) and len(lines) == 20
    for (x, y), sign in zip(plot.places, "ABCD", strict=True):
        assert lines[y][x] == sign
    columns, rows = zip(*plot.places, strict=True)
    assert plot.is_log
    assert list(columns) == sorted(columns)
    steps = [after - before for before, after in pairwise(columns)]
    assert max(steps) - min(steps) <= 3, "factors are distances"
    assert sorted(range(4), key=lambda i: rows[i]) == [3, 0, 2, 1], "the lowest at the bottom"
    best = plot.places[1]
    assert lines[best[1]][best[0] - 1] == "★"
    assert "0.01" in lines[-1]


def test_each_value_of_a_second_setting_has_a_line_of_its_own() -> None:
    points = [Point(x, y + line, "●", line=line) for line in (0, 1)
              for x, y in zip(RATES, LOSSES, strict=True)]  # fmt: skip
    lines = text(draw_sweep(points, Axis(), 80, 20))
    assert sum(line.count("·") for line in lines) > 30
    assert sum(line[9:].count("-") for line in lines) > 30
    with_seeds = draw_sweep(points, Axis(), 80, 20, spreads=[Spread(1e-3, 2.5, 2.4, 3.4)])
    assert not any("-" in line[9:] for line in text(with_seeds)), "one line through the means"


def test_large_values_are_labelled_without_powers() -> None:
    points = [Point(x, y) for x, y in ((64, 1200.0), (128, 1500.0), (1024, 2000.0))]
    labels = text(draw_sweep(points, Axis(), 80, 20))
    assert "1000" in labels[-1].split() and not any("e+" in line for line in labels)


@pytest.mark.parametrize("size", [(80, 20), (20, 6), (5, 2), (1, 1)])
@pytest.mark.parametrize(
    "points",
    [
        [(1.0, 2.0)],
        [(1.0, 2.0), (1.0, 2.0)],
        [(0.0, 1e-9), (1e9, 1e9)],
        [(-5.0, -1.0), (5.0, 1e308)],
        [(1e-300, 0.0), (1e300, 0.0)],
    ],
)
def test_strange_points_are_drawn_within_the_plot(
    points: list[tuple[float, float]], size: tuple[int, int]
) -> None:
    width, height = size
    plot = draw_sweep([Point(x, y) for x, y in points], Axis(), width, height, 0)
    assert len(plot.rows) == height
    assert all(len(line) in (0, width) for line in text(plot))


def test_values_that_are_no_numbers_label_the_axis() -> None:
    plot = draw_sweep([Point(0, 1), Point(1, 2)], Axis(("adamw", "muon")), 60, 12)
    assert text(plot)[-1].split() == ["adamw", "muon"]
    assert not plot.is_log


@pytest.fixture
def swept(runs_dir: Path) -> list[Path]:
    return [
        write_run(runs_dir, f"run-{place}", 1.7e9 + place, best_val_loss=loss,
                  settings={"optim.learning_rate": rate, "model.n_layer": 1 + place % 2})
        for place, (rate, loss) in enumerate(zip(RATES, LOSSES, strict=True))
    ]  # fmt: skip


def note(person: Person) -> str:
    return str(person.app.screen.query_one("#sweep-run", Static).render())


async def test_the_runs_are_plotted_over_what_differs(open_app: Open, swept: list[Path]) -> None:
    async with open_app(size=(80, 24)) as person:
        await look(person)
        await person.press("x")
        plot = person.app.screen
        assert isinstance(plot, SweepPlotScreen)
        frame = plot.query_one("#sweep-frame")
        assert frame.border_title == "best val over optim.learning_rate · 4 runs"
        assert str(frame.border_subtitle).startswith("n_layer · 1  - 2 · ")
        await person.until(lambda: note(person).startswith("B run-1"), "the best run first")
        assert "optim.learning_rate 0.003 · best val 1.600 · n_layer 2" in note(person)
        await person.press("right")
        assert note(person).startswith("C run-2")
        await person.press("x", "v")
        assert frame.border_title == "last val over model.n_layer · 4 runs"
        assert [plot.chart.letter_of(str(one)) for one in swept] == list("ABCD"), "as before"
        await person.press("end", "enter")
        runs = person.app.screen
        assert isinstance(runs, RunsScreen)
        assert here(runs) in ("run-1", "run-3"), "two layers"


def test_seeds_have_their_mean_in_a_band_and_the_line_goes_through_means() -> None:
    points = [Point(0, y, sign) for y, sign in ((1.0, "A"), (2.0, "B"), (4.5, "C"))]
    points += [Point(1, 3.0, "D")]
    spread = Spread(0, 2.5, 1.0, 4.5)
    plot = draw_sweep(points, Axis(("off", "on")), 60, 24, None, [spread])
    column, (lowest, highest) = plot.places[0][0], (plot.places[at][1] for at in (0, 2))
    drawn = "".join(line[column] for line in text(plot)[highest : lowest + 1])
    assert set(drawn) == set("ABC┃╋") and drawn[0] == "C" and drawn[-1] == "A"
    mean = next(y for y, line in enumerate(text(plot)) if line[column] == "╋")
    assert abs(mean - (lowest + (highest - lowest) * 1.5 / 3.5)) <= 1
    dots = [y for y, line in enumerate(text(plot)) if "·" in line]
    assert min(dots) >= plot.places[3][1] and max(dots) <= mean


async def test_a_key_shows_the_mean_of_seeds(open_app: Open, runs_dir: Path) -> None:
    for rate, losses in ((1e-3, (2.0, 2.2)), (1e-2, (1.5, 1.7))):
        for seed, loss in enumerate(losses):
            settings = {"optim.learning_rate": rate, "train.seed": seed}
            write_run(runs_dir, f"run-{rate:g}-{seed}", best_val_loss=loss, settings=settings)
    async with open_app(size=(120, 30)) as person:
        await look(person)
        await person.press("x")
        plot = person.app.screen
        assert isinstance(plot, SweepPlotScreen)
        await person.until(lambda: "run-0.01-0" in note(person), "the best run")
        assert "mean" not in note(person)
        await person.press("m")
        assert "mean of 2 seeds 1.600 (1.500 to 1.700)" in note(person)
        assert plot.chart._plot and sum(line.count("╋") for line in text(plot.chart._plot)) == 2
        await person.press("x")  # over the seeds themselves
        assert plot.key == "train.seed" and plot.chart.spreads == []
        await person.press("m")
        assert "no two runs of one value differ in the seed alone" in told(person)


async def test_a_click_goes_to_a_point_and_a_second_one_to_its_run(
    open_app: Open, swept: list[Path]
) -> None:
    async with open_app(size=(80, 24)) as person:
        await look(person)
        await person.press("x")
        plot = person.app.screen
        assert isinstance(plot, SweepPlotScreen) and plot.chart._plot is not None
        place = plot.chart._plot.places[3]
        await person.pilot.click(plot.chart, offset=place)
        assert note(person).startswith("D run-3")
        await person.pilot.click(plot.chart, offset=place, times=2)
        runs = person.app.screen
        assert isinstance(runs, RunsScreen) and here(runs) == "run-3"


async def test_marked_runs_keep_their_letters(open_app: Open, swept: list[Path]) -> None:
    async with open_app() as person:
        await look(person)
        await person.press("end", "space", "up", "space", "x")  # the oldest is A
        plot = person.app.screen
        assert isinstance(plot, SweepPlotScreen)
        assert {plot.chart.letter_of(run.path) for run in plot.runs} == {"A", "B"}
        assert [run.name for run in plot.runs if plot.chart.letter_of(run.path) == "A"] == ["run-0"]


async def test_runs_that_do_not_differ_are_not_plotted(open_app: Open, runs_dir: Path) -> None:
    for name in ("a", "b"):
        write_run(runs_dir, name)
    async with open_app() as person:
        screen = await look(person)
        await person.press("x")
        assert person.app.screen is screen
        assert "differ in no setting" in told(person)
