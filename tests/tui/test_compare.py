"""The compare screen: curves over each other, what differs, texts side by side."""

from __future__ import annotations

import asyncio
import math
import re
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from rich.cells import cell_len
from textual.app import App
from textual.containers import VerticalScroll
from textual.pilot import Pilot
from textual.widgets import Static

from engine.config.schema import read_config
from engine.runs.database import RunDatabase
from engine.runs.folder import RunLock
from tests.engine.run_folders import write_run, write_runs
from tests.tui.conftest import PATIENCE, Open, never_idle
from tui.app import STYLES
from tui.cli import main
from tui.control.remap import Keymap
from tui.screens import compare as screens_compare
from tui.screens.compare import CompareScreen
from tui.screens.help import TextScreen, help_screen, keys_of
from tui.terminal.visible import protect_screen
from tui.widgets.comparison_table import whole_columns
from tui.widgets.keys_footer import KeysFooter
from tui.widgets.samples_compare import Page

SIZES = {"80x24": (80, 24), "120x40": (120, 40), "200x50": (200, 50)}
QUICK = (
    "--preset", "tiny", "--set", "train.max_steps=4", "--set", "eval.interval=2",
    "--set", "eval.batches=1", "--set", "sample.max_tokens=12", "--set", "system.threads=1",
    "--set", "system.micro_batch_size=16",
)  # fmt: skip


class CompareApp(App[None]):
    """Nothing but the screen."""

    CSS_PATH = [STYLES / "app.tcss"]

    def __init__(self, paths: list[Path]) -> None:
        protect_screen()
        super().__init__()
        self.compare = CompareScreen(paths)
        self.animation_level = "none"

    def on_mount(self) -> None:
        self.push_screen(self.compare)


class Looker:
    """Presses keys and looks."""

    def __init__(self, app: CompareApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot, self.screen = app, pilot, app.compare

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause(0)

    async def until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come to be"
            await asyncio.sleep(0.01)
        await self.pilot.pause(0)

    def picture(self) -> str:
        chart = self.screen.chart
        return "\n".join(chart.render_line(y).text for y in range(chart.size.height))

    def title(self) -> str:
        return str(self.screen.query_one("#compare-chart").border_title)

    def table(self) -> dict[str, list[str]]:
        rows = (self.screen.table.get_row_at(i) for i in range(self.screen.table.row_count))
        return {str(label): [str(cell) for cell in cells] for label, *cells in rows}

    def note(self) -> str:
        return self.screen.note.text

    async def until_written(self) -> list[Page]:
        pages = self.screen.beside.pages
        await self.until(lambda: all(page.state == "done" for page in pages), "texts")
        self.screen.beside.refresh_text()
        await self.pilot.pause(0)
        return pages

    def texts(self) -> list[str]:
        columns = self.screen.beside.query(".page").results(VerticalScroll)
        return [str(column.query_one(Static).content) for column in columns]


Compare = Callable[..., AbstractAsyncContextManager[Looker]]


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch) -> Compare:
    """Opens the screen on some runs and waits until they are read."""
    never_idle(monkeypatch)

    @asynccontextmanager
    async def opened(*paths: Path, size: tuple[int, int] = (120, 40)) -> AsyncIterator[Looker]:
        app = CompareApp(list(paths))
        async with app.run_test(size=size) as pilot:
            looker = Looker(app, pilot)
            read = lambda: app.compare._readings or app.compare._problems  # noqa: E731
            await looker.until(read, "a reading")
            yield looker

    return opened


@pytest.fixture
def pair(runs_dir: Path) -> list[Path]:
    """Two runs that look as if they had been trained."""
    return [
        write_run(runs_dir, "calm", steps=200),
        write_run(runs_dir, "bold", steps=100, best_val_loss=1.7, step=100),
    ]


@pytest.fixture
def trained(runs_dir: Path, tmp_path: Path) -> list[Path]:
    """Two runs of a few steps that can write."""
    text = tmp_path / "rhyme.txt"
    text.write_text("one [b]fish, two fish,\nred fish, blue fish.\n" * 60)
    for name, rate in (("calm", "0.003"), ("bold", "0.01")):
        options = ("--name", name, "--set", f"optim.learning_rate={rate}", "--json")
        assert main(["train", *QUICK, "--data", str(text), *options]) == 0
    return [runs_dir / "calm", runs_dir / "bold"]


# The chart


async def test_the_runs_are_drawn_over_each_other(compare: Compare, pair: list[Path]) -> None:
    async with compare(*pair) as looker:
        await looker.until(lambda: "A ━━━━━━ calm" in looker.picture(), "the legend")
        lines = looker.picture().splitlines()
        assert "B ━━  ━━ bold" in lines[0]
        ends = {letter: max(line.find(letter) for line in lines[1:]) for letter in "AB"}
        assert 0 < ends["B"] < ends["A"], "100 steps are fewer than 200"


@pytest.mark.parametrize("size", [(60, 16), (40, 10)])
@pytest.mark.parametrize("keys", [(), ("p", "escape")])
async def test_in_a_small_terminal_no_key_is_cut_or_covered(
    compare: Compare, pair: list[Path], keys: tuple[str, ...], size: tuple[int, int]
) -> None:
    async with compare(*pair, size=size) as looker:
        await looker.press(*keys)
        footer = looker.screen.query_one(KeysFooter)
        await looker.until(lambda: len(footer.keys) >= 4, "the keys")
        assert {"close"} <= {key.action for key in footer.keys}
        assert cell_len(footer.render().plain.rstrip()) <= size[0]


async def test_a_long_value_leaves_room_for_the_other_runs(
    compare: Compare, runs_dir: Path
) -> None:
    runs = [write_run(runs_dir, name) for name in ("short", "long")]
    config = read_config(runs[1] / "config.toml").replace({"sample.prompt": "word " * 999 + "end"})
    (runs[1] / "config.toml").write_text(tomli_w.dumps(config.to_dict()))
    async with compare(*runs) as looker:
        assert looker.table()["sample.prompt"] == [
            "(empty)",
            "word word word word … word word word end",
        ]


async def test_keys_choose_what_is_drawn_over_what(compare: Compare, pair: list[Path]) -> None:
    async with compare(*pair) as looker:
        titles = []
        for key in "xxxxvv":
            before = looker.title()
            await looker.press(key)
            changed = partial(lambda before: looker.title() != before, before)
            await looker.until(changed, "another title")
            titles.append(looker.title().removeprefix("compare · "))
        assert titles == [
            "training loss (smoothed) over tokens",
            "training loss (smoothed) over epochs",
            "training loss (smoothed) over training time",
            "training loss (smoothed) over steps",
            "validation loss over steps",
            "training loss (smoothed) over steps",
        ]
        await looker.press("v")
        await looker.until(lambda: "A ●━━━━━ calm" in looker.picture(), "discs")
        await looker.press("x")
        await looker.until(lambda: "80k" in looker.picture().splitlines()[-1], "tokens")


async def test_a_cursor_has_exact_values_and_what_is_shown_is_exported(
    compare: Compare, pair: list[Path]
) -> None:
    async with compare(*pair) as looker:
        await looker.until(lambda: "A ━━━━━━ calm" in looker.picture(), "the legend")
        await looker.press("comma", "less_than_sign", "less_than_sign")
        read = re.compile(r"step \d+  ━━━━━━ A \d\.\d{4} ")
        await looker.until(lambda: read.match(looker.picture()), "the values at the cursor")
        await looker.press("x")
        await looker.until(lambda: "A ━━━━━━ calm" in looker.picture(), "no cursor over tokens")
        await looker.press("full_stop")
        await looker.until(lambda: re.match(r"[\d.]+k tokens ", looker.picture()), "tokens")
        await looker.press("E")
        exported = pair[0] / "charts" / "training-loss-1.csv"
        await looker.until(exported.exists, "the file")


async def test_every_metric_that_a_run_has_recorded_can_be_compared(
    compare: Compare, pair: list[Path]
) -> None:
    database = RunDatabase(pair[1] / "run.db")
    database.import_metric("memory_host", np.arange(1, 101), np.full(100, 2.5e9))
    database.close()
    async with compare(*pair) as looker:
        await looker.press("V")
        await looker.until(lambda: looker.title().startswith("compare · memory"), "the metric")
        await looker.until(lambda: "bold 2.5 GB" in looker.picture(), "its unit")


async def test_zoom_and_log_say_so(compare: Compare, pair: list[Path]) -> None:
    async with compare(*pair) as looker:
        await looker.press("y", "z")
        await looker.until(lambda: "last 20%" in looker.picture(), "the zoom")
        assert "log" in looker.picture().splitlines()[0]


async def test_a_run_is_hidden_and_the_others_keep_their_letters(
    compare: Compare, pair: list[Path]
) -> None:
    async with compare(*pair) as looker:
        await looker.until(lambda: "A ━━━━━━ calm" in looker.picture(), "the legend")
        await looker.press("1")
        assert looker.picture().startswith("B ━━  ━━ bold")
        await looker.press("2")
        assert "all runs are hidden" in looker.picture()
        await looker.press("1", "6")
        assert looker.picture().startswith("A ━━━━━━ calm")


async def test_where_a_run_was_forked_off_another_is_marked(
    compare: Compare, pair: list[Path], runs_dir: Path
) -> None:
    parent = {"run": "calm", "step": 60, "branch": 0}
    child = write_run(runs_dir, "child", steps=150, parent=parent)
    async with compare(*pair, child) as looker:
        await looker.until(lambda: "C forked off" in looker.picture(), "the mark")
        await looker.press("1")
        assert "forked" not in looker.picture(), "its parent is hidden"


async def test_a_run_in_training_is_followed(compare: Compare, pair: list[Path]) -> None:
    lock = RunLock(pair[1])
    async with compare(*pair) as looker:
        await looker.until(lambda: "100/1,000" in looker.table()["steps"], "the table")
        assert "(live)" in looker.table()["state"][1]
        columns = dict(looker.screen.table.columns)
        database = RunDatabase(pair[1] / "run.db")
        database.add_metrics(0, [("train_loss", step, 2.0) for step in range(101, 151)])
        database.set_meta(summary=database.meta()["summary"] | {"step": 150})
        database.close()
        await looker.until(lambda: "150/1,000" in looker.table()["steps"], "the new step")
        assert looker.screen._readings[pair[1]].column.last_step == 150
        assert looker.screen.table.columns == columns, "the table was not built anew"
        untouched = looker.screen._readings[pair[0]]
        lock.release()
        await looker.until(lambda: "(live)" not in looker.table()["state"][1], "the end")
        assert looker.screen._readings[pair[0]] is untouched, "what rests is not read again"


async def test_a_reading_that_takes_long_is_waited_for(
    compare: Compare, pair: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = RunLock(pair[1])
    go_on, read, reading = threading.Event(), [], screens_compare.read_in_view

    def slow(path: Path, *others: Any) -> Any:
        read.append(path)
        assert go_on.wait(PATIENCE)
        return reading(path, *others)

    async with compare(*pair) as looker:
        await looker.until(lambda: "(live)" in looker.table()["state"][1], "the table")
        monkeypatch.setattr(screens_compare, "read_in_view", slow)
        await looker.until(lambda: read, "another look at what is live")
        for _ in range(5):
            looker.screen.refresh_runs()
        go_on.set()
        await looker.until(lambda: looker.screen._next_look < math.inf, "the end of it")
        assert read == pair, "each was read once"
        lock.release()


# The table


async def test_the_table_has_what_differs_and_the_best_in_bold(
    compare: Compare, trained: list[Path]
) -> None:
    async with compare(*trained) as looker:
        await looker.until(looker.table, "the table")
        table = looker.table()
        assert [key for key in table if "." in key] == ["optim.learning_rate"]
        assert table["optim.learning_rate"] == ["0.003", "0.01"]
        assert table["steps"] == ["4/4", "4/4"]
        screen = looker.screen
        losses = [run.summary.best_val_loss for run in screen.runs]
        row = list(table).index("best val")
        bold = [cell.style == "bold" for cell in screen.table.get_row_at(row)[1:]]
        best = min(loss for loss in losses if loss is not None)
        assert bold == [loss == best for loss in losses]


async def test_what_cannot_be_read_is_named_and_the_rest_is_shown(
    compare: Compare, pair: list[Path]
) -> None:
    (pair[1] / "run.db").write_bytes(b"not a database at all" * 100)
    async with compare(*pair) as looker:
        await looker.until(lambda: "'bold' cannot be compared" in looker.note(), "the note")
        assert looker.picture().startswith("A ━━━━━━ calm")
        assert len(looker.screen.table.columns) == 2


async def test_nothing_to_read_at_all(compare: Compare, runs_dir: Path) -> None:
    async with compare(runs_dir / "gone", runs_dir / "gone-too") as looker:
        assert "'gone' cannot be compared" in looker.note()
        await looker.press("s", "v", "x", "escape")
        assert looker.app.screen is not looker.screen


async def test_more_runs_than_colours_have_letters_of_their_own(
    compare: Compare, runs_dir: Path
) -> None:
    paths = [write_run(runs_dir, f"run-{i}", steps=20) for i in range(8)]
    async with compare(*paths) as looker:
        await looker.until(lambda: "A ━━━━━━ run-0" in looker.picture(), "the legend")
        styles = [looker.screen._name_of(path).spans[0].style for path in paths]
        assert styles[6] == styles[0] != styles[1]
        names = [str(column.label) for column in looker.screen.table.ordered_columns][1:]
        assert names[-1] == "H run-7"
        assert "H" in looker.picture(), "at the end of its curve"


async def test_a_long_legend_scrolls_to_the_selected_run(compare: Compare, runs_dir: Path) -> None:
    paths = [write_run(runs_dir, f"run-{i}", steps=20) for i in range(20)]
    async with compare(*paths, size=(80, 24)) as looker:
        await looker.until(lambda: "run-0 " in looker.picture(), "the legend")
        assert "run-19" not in looker.picture()
        await looker.press("end", *["right"] * 20)
        await looker.until(lambda: "T ━━━━ ━ run-19" in looker.picture(), "its end")


async def test_what_does_not_fit_is_left_out_aloud(
    compare: Compare, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screens_compare, "MOST_RUNS", 3)
    paths = [write_run(runs_dir, f"run-{i}", steps=20) for i in range(5)]
    async with compare(*paths) as looker:
        await looker.until(lambda: "the last 2 are left out" in looker.note(), "the note")
        assert len(looker.screen.runs) == 3


async def test_the_selected_run_is_hidden_and_shown_alone(
    compare: Compare, pair: list[Path]
) -> None:
    async with compare(*pair) as looker:
        await looker.until(lambda: "B ━━  ━━ bold" in looker.picture(), "the legend")
        await looker.press("right", "space")
        assert "bold" not in looker.picture()
        await looker.press("o")
        assert "bold" in looker.picture() and "calm" not in looker.picture()
        await looker.press("o")
        assert "bold" in looker.picture() and "calm" in looker.picture()
        header = looker.screen.table.region.offset
        await looker.pilot.click(offset=(header.x + 24, header.y))
        await looker.until(lambda: "calm" not in looker.picture(), "a click on its name hides it")


async def test_chart_and_table_are_shown_together_or_alone(
    compare: Compare, pair: list[Path]
) -> None:
    async with compare(*pair) as looker:

        def shown() -> tuple[bool, bool]:
            chart, table = looker.screen.chart, looker.screen.table
            return chart.region.height > 5, table.region.height > 5

        found = [shown()]
        for _ in range(3):
            await looker.press("c")
            found.append(shown())
        assert found == [(True, True), (True, False), (False, True), (True, True)]


async def test_results_come_before_settings(compare: Compare, runs_dir: Path) -> None:
    runs = [write_run(runs_dir, str(n), settings={"model.n_layer": n}) for n in (1, 2)]
    async with compare(*runs) as looker:
        labels = list(looker.table())
        assert labels[0] == "best val"
        assert labels[-2:] == ["settings that differ", "model.n_layer"]


async def test_seeds_are_summed_up(compare: Compare, runs_dir: Path) -> None:
    runs = [
        write_run(runs_dir, f"run-{seed}", settings={"train.seed": seed}, best_val_loss=loss)
        for seed, loss in ((1, 1.5), (2, 1.7))
    ]
    other = write_run(runs_dir, "other", settings={"model.n_layer": 3})
    async with compare(*runs, other) as looker:
        told = "A, B differ in the seed alone: best val 1.600 ± 0.141"
        await looker.until(lambda: told in looker.note(), "the note")


async def test_a_note_that_is_cut_says_so_and_the_help_has_all_of_it(
    compare: Compare, runs_dir: Path
) -> None:
    runs = [
        write_run(
            runs_dir, f"run-{seed}-{width}", settings={"train.seed": seed, "model.n_embd": width}
        )
        for width in (16, 32)
        for seed in (1, 2)
    ]
    async with compare(*runs, size=(80, 24)) as looker:
        await looker.until(lambda: looker.screen.note.is_cut, "what is cut")
        shown = str(looker.screen.note.render()).splitlines()
        assert len(shown) == looker.screen.note.region.height == 1
        assert shown[0].endswith(" … ? shows all")
        assert isinstance(page := help_screen(looker.screen, Keymap()), TextScreen)
        assert page.told == looker.note() and "\n" in page.told
        await looker.press("c", "c")  # the table alone
        await looker.until(lambda: not looker.screen.note.is_cut, "room for it")


async def test_seeds_are_drawn_as_their_mean_by_a_key(compare: Compare, runs_dir: Path) -> None:
    runs = [
        write_run(runs_dir, f"run-{seed}", steps=100, settings={"train.seed": seed})
        for seed in (1, 2, 3)
    ]
    other = write_run(runs_dir, "other", steps=100, settings={"model.n_layer": 3})
    async with compare(*runs, other) as looker:
        for key, names in (
            ("m", ["mean of 3 seeds", "other"]),
            ("1", ["mean of 2 seeds", "other"]),  # without the one that is hidden
            ("m", ["run-2", "run-3", "other"]),
        ):
            await looker.press(key)
            assert [one.name for one in looker.screen._series()] == names
            assert all(f"━ {name}" in looker.picture() for name in names)


async def test_without_other_seeds_the_key_says_why_it_does_nothing(
    compare: Compare, pair: list[Path]
) -> None:
    async with compare(*pair) as looker:
        assert looker.screen.why_not("toggle_seeds", ()) == ""
        config = read_config(pair[1] / "config.toml").replace({"optim.learning_rate": 0.01})
        (pair[1] / "config.toml").write_text(tomli_w.dumps(config.to_dict()))
        looker.screen._read_soon(looker.screen._view)  # type: ignore[arg-type]
        told = "no two runs differ in the seed alone"
        await looker.until(lambda: looker.screen.why_not("toggle_seeds", ()) == told, "the reason")


# Texts


async def test_texts_are_those_that_sample_writes(
    compare: Compare, trained: list[Path], capfd: pytest.CaptureFixture[str]
) -> None:
    alone = []
    for run in trained:
        capfd.readouterr()
        assert main(["sample", str(run), "--prompt", "red [b]", "--seed", "1"]) == 0
        alone.append(capfd.readouterr().out)
    async with compare(*trained) as looker:
        await looker.press("p", *"red", "space", "left_square_bracket", "b")
        await looker.press("right_square_bracket")
        field = looker.screen.beside.prompt
        await looker.until(lambda: field.value == "red [b]", "what was typed")
        assert looker.screen._below == "beside", "s, x and v are letters in the field"
        await looker.press("enter")
        await looker.until_written()
        assert looker.texts() == alone, "brackets are no markup"
        titles = [str(one.border_title) for one in looker.screen.beside.query(".page")]
        assert titles[0].startswith("A calm · step ")


async def test_again_writes_with_the_next_seed(compare: Compare, trained: list[Path]) -> None:
    async with compare(*trained) as looker:
        await looker.press("s")
        first = [page.text for page in await looker.until_written()]
        assert "seed 1" in str(looker.screen.query_one("#how", Static).content)
        await looker.press("t", "s")
        assert [page.text for page in looker.screen.beside.pages] == first, "only looked at again"
        await looker.press("s")
        second = [page.text for page in await looker.until_written()]
        assert "seed 2" in str(looker.screen.query_one("#how", Static).content)
        assert all(map(len, first)) and first != second


async def test_a_run_that_cannot_write_says_why(compare: Compare, pair: list[Path]) -> None:
    async with compare(*pair) as looker:  # their checkpoints are no checkpoints
        await looker.press("s")
        pages = await looker.until_written()
        assert all(page.problem for page in pages)
        assert looker.texts() == [page.problem for page in pages]


async def test_a_column_whose_text_is_not_mounted_yet_is_filled_later(
    compare: Compare, trained: list[Path]
) -> None:
    async with compare(*trained) as looker:
        await looker.press("s")
        await looker.until_written()
        written, beside = looker.texts(), looker.screen.beside
        column = beside.query(".page").first(VerticalScroll)
        await column.query_one(Static).remove()
        beside.refresh_text()
        await column.mount(Static())
        beside.refresh_text()
        assert looker.texts() == written


async def test_closing_breaks_the_texts_off(
    compare: Compare, trained: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with compare(*trained) as looker:
        settings = looker.screen.runs[0].sampling()
        endless: dict[str, Any] = {**vars(settings), "max_tokens": 10**6}
        looker.screen.beside._settings = type(settings)(**endless)
        await looker.press("s")
        pages = looker.screen.beside.pages
        await looker.until(lambda: len(pages[0].text) > 5, "some text")
        writing = looker.screen.beside._writing
        assert writing is not None and not writing.is_finished
        await looker.press("escape")
        await looker.until(lambda: writing.is_finished, "the end of the thread")
        assert pages[1].state == "waiting"


async def test_help_names_the_keys(compare: Compare, pair: list[Path]) -> None:
    async with compare(*pair) as looker:
        assert (
            dict(keys_of(looker.screen, Keymap()))["x"]
            == "over steps, tokens, epochs or training time"
        )


# A fork in the cockpit


async def test_the_chart_of_a_fork_shows_its_parent(open_app: Open, trained: list[Path]) -> None:
    options = ("--at", "2", "--name", "child", "--set", "train.max_steps=3")
    assert main(["fork", "calm", *options]) == 0
    async with open_app(size=(120, 40), run=trained[0].with_name("child")) as person:
        chart = person.cockpit.chart

        def legend() -> str:
            return chart.render_line(0).text

        await person.until(lambda: "──  ── calm" in legend(), "the parent's ghost")
        picture = "".join(chart.render_line(y).text for y in range(chart.size.height))
        assert "forked from calm" in picture


# Pictures


def ready(*keys: str, texts: bool = False) -> Callable[[Pilot[None]], Any]:
    """The runs are read, some keys pressed, and, if wanted, texts written."""

    async def prepare(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, CompareApp)
        looker = Looker(app, pilot)
        table = app.compare.table  # which counts its rows when it is idle
        await looker.until(lambda: table.virtual_size.height > table.row_count > 0, "the table")
        for key in keys:
            before = looker.title()
            await looker.press(key)
            if key in "xv":
                changed = partial(
                    lambda before: (
                        looker.title() != before
                        and all(r.view == app.compare._view for r in app.compare._readings.values())
                    ),
                    before,
                )
                await looker.until(changed, "the other view")
        if texts:
            app.compare._switch_to("beside")
            beside = app.compare.beside
            beside.pages = [
                Page(run.path, f"{'ABC'[i]} {run.name}", 900, f"{run.name} writes [b]so\n" * 9,
                     state="done")
                for i, run in enumerate(app.compare.runs)
            ]  # fmt: skip
            beside._lay_out()
            await pilot.pause()
            beside.refresh_text()
        await pilot.pause()

    return prepare


@pytest.fixture
def three(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> CompareApp:
    """Three runs that stand still."""
    monkeypatch.setattr("tui.screens.compare.REFRESH_SECONDS", 3600)
    monkeypatch.setattr("tui.widgets.samples_compare.TEXT_SECONDS", 3600)
    monkeypatch.delenv("NO_COLOR", raising=False)
    runs = [
        learned(runs_dir, "calm", 1000, 1.72),
        learned(runs_dir, "bold", 600, 1.95, optim__learning_rate=0.03, train__batch_size=8),
        learned(runs_dir, "calm-fork", 800, 1.60, optim__learning_rate=0.001,
                parent={"run": "calm", "step": 300, "branch": 0}),
    ]  # fmt: skip
    return CompareApp(runs)


def learned(
    runs_dir: Path, name: str, steps: int, floor: float, parent: Any = None, **changes: Any
) -> Path:
    """A run whose loss falls towards a floor, with some settings of its own."""
    losses = [floor + 2.4 * math.exp(-step / 150) for step in range(1, steps + 1)]
    best: dict[str, Any] = {"best_val_loss": floor + 0.1, "best_step": steps - 40, "step": steps}
    path = write_run(runs_dir, name, parent=parent, **best)
    config = read_config(path / "config.toml").replace(
        {key.replace("__", "."): value for key, value in changes.items()}
    )
    (path / "config.toml").write_text(tomli_w.dumps(config.to_dict()))
    database = RunDatabase(path / "run.db")
    rows = [("train_loss", step, loss) for step, loss in enumerate(losses, 1)]
    rows += [("val_loss", step, losses[step - 1] + 0.1) for step in range(100, steps + 1, 100)]
    database.add_metrics(0, rows)
    database.close()
    return path


@pytest.mark.parametrize("size", SIZES)
def test_picture_of_the_table(
    snap_compare: Callable[..., bool], three: CompareApp, size: str
) -> None:
    assert snap_compare(three, terminal_size=SIZES[size], run_before=ready())


@pytest.mark.parametrize("size", SIZES)
def test_picture_of_the_texts(
    snap_compare: Callable[..., bool], three: CompareApp, size: str
) -> None:
    assert snap_compare(three, terminal_size=SIZES[size], run_before=ready("v", "x", texts=True))


@pytest.mark.parametrize(
    ("widths", "room", "expected"),
    [
        ([19, 16, 22, 16], 81, [19, 16, 22, 16]),  # all fit, with their padding
        ([19, 16, 22, 16, 16], 79, [19, 27, 27, 27, 27]),  # two whole ones of the four
        ([19, 15, 15, 15, 15], 79, [20, 17, 17, 17, 17]),
        ([19, 90, 90], 79, [19, 56, 56]),  # longer than all the room there is: cut there
        ([19, 20, 20], 21, [19, 20, 20]),
    ],
)
def test_no_run_is_cut_at_the_edge_of_the_table(
    widths: list[int], room: int, expected: list[int]
) -> None:
    assert whole_columns(widths, room, 2) == expected


async def test_of_many_runs_the_selected_one_is_shown_whole(
    compare: Compare, runs_dir: Path
) -> None:
    runs = write_runs(runs_dir, [f"one-of-many-{number}" for number in range(12)])
    async with compare(*runs, size=(80, 24)) as looker:
        table = looker.screen.table
        await looker.until(lambda: len(table.columns) == 13, "the table")
        for number in range(1, 12):
            await looker.press("right")
            shown, fixed = table._get_column_region(number + 1), table._get_fixed_offset().left
            left = shown.x - table.scroll_offset.x
            assert table.selected == number
            assert fixed <= left and left + shown.width <= table.size.width
            assert (left - fixed) % shown.width == 0, "nothing is cut before it"
        beside = looker.screen.beside
        page = Page(runs[0], "A")
        assert str(beside._words(page)) == "comes after the one before it"
        page.state = "loading"
        assert str(beside._words(page)) == "loading PyTorch …"
