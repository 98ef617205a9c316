"""The runs screen with settings: preview, columns of settings, filters while typing, marks."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Static

from engine.runs.database import RunDatabase
from tests.engine.run_folders import write_run
from tests.tui.conftest import Open, Person
from tests.tui.test_runs_screen import details, heading, here, look, names
from tui.control.preferences import Preferences
from tui.control.run_previews import MOST_KEPT, RunPreviews
from tui.screens.columns_dialog import ColumnsDialog
from tui.screens.runs import RunsScreen

RATES = {"a": 1e-3, "b": 2e-3, "c": 1e-2}


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.screens.runs.REFRESH_SECONDS", 0.05)
    monkeypatch.setattr("tui.screens.runs.PREVIEW_SECONDS", 0.001)


@pytest.fixture
def swept(runs_dir: Path) -> list[Path]:
    """Three runs that differ in the learning rate, c the youngest; each has written a text."""
    runs = []
    for place, (name, rate) in enumerate(RATES.items()):
        settings = {"optim.learning_rate": rate}
        run = write_run(runs_dir, name, 1.7e9 + place, steps=50 + place, settings=settings,
                        best_val_loss=3.0 - place)  # fmt: skip
        database = RunDatabase(run / "run.db")
        database.add_sample(0, 50, 2.5, {"prompt": ""}, f"\n{name} writes this")
        database.close()
        runs.append(run)
    return runs


async def look_at_settings(person: Person) -> RunsScreen:
    screen = await look(person)
    configs = lambda: all(run.config for run in screen.view.runs or ())  # noqa: E731
    await person.until(configs, "the settings")
    return screen


def words(screen: RunsScreen) -> str:
    return str(screen.preview.text.render())


def problem(screen: RunsScreen) -> str:
    return str(screen.query_one("#problem", Static).render())


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
async def test_the_preview_has_the_curve_the_text_and_what_differs(
    open_app: Open, swept: list[Path], size: tuple[int, int]
) -> None:
    async with open_app(size=size) as person:
        screen = await look_at_settings(person)
        await person.until(lambda: "c writes this" in words(screen), "the text")
        chart = screen.preview.chart
        assert "train 0.077" in chart.render_line(0).text, "4 / 52"
        assert chart.size.height >= 6
        assert "unlike preset tiny  lr 0.01 (0.003)" in details(screen)
        await person.press("down")
        await person.until(lambda: "b writes this" in words(screen), "the next text")
        assert "lr 0.002 (0.003)" in details(screen)
        await person.press("p")
        assert not chart.region.height
        assert "lr 0.002 (0.003)" in details(screen)


async def test_what_was_read_is_shown_again_at_once(
    open_app: Open, swept: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_app() as person:
        screen = await look_at_settings(person)
        await person.until(lambda: "c writes" in words(screen))
        await person.press("down")
        await person.until(lambda: "b writes" in words(screen))
        monkeypatch.setattr(RunPreviews, "read", None)  # nothing is read any more
        await person.press("up")
        assert "c writes" in words(screen)


def test_only_the_latest_previews_are_kept(runs_dir: Path) -> None:
    from engine.runs.summary import RunSummary

    previews = RunPreviews()
    runs = [RunSummary(f"/gone/{number}", str(number), "stopped") for number in range(40)]
    for run in runs:
        previews.read(run)
    assert sum(previews.known(run) is not None for run in runs) == MOST_KEPT


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
async def test_a_problem_is_shown_in_full_with_the_way_out_first(
    open_app: Open, swept: list[Path], size: tuple[int, int]
) -> None:
    (swept[2] / "config.toml").write_text("[model]\nn_layer = 'many'\nn_hed = 3\n")
    async with open_app(size=size) as person:
        screen = await look(person)
        await person.until(lambda: screen.table.runs[0].problem, "the problem")
        assert here(screen) == "c"
        lines = details(screen).splitlines()
        assert lines[1].startswith("gpt-tui verify c --repair"), "it comes first"
        told = " ".join(details(screen).split())
        assert "model.n_layer must be a whole number, not 'many'" in told
        assert "n_hed" in told
        assert screen.preview.details.region.bottom <= size[1] - 1
        assert all(len(line) <= screen.preview.details.size.width for line in lines)


async def test_settings_that_differ_are_columns_that_sort(
    open_app: Open, swept: list[Path]
) -> None:
    async with open_app(size=(120, 40)) as person:
        screen = await look_at_settings(person)
        header = screen.table.render_line(0).text
        assert " lr " in header and "layers" not in header
        assert "0.01" in screen.table.render_line(1).text
        await person.pilot.click(screen.table, offset=(header.index(" lr ") + 1, 0))
        assert names(screen) == "a b c"
        assert heading(screen).count("by lr ▲") == 1
        await person.pilot.click(screen.table, offset=(header.index(" lr ") + 1, 0))
        assert names(screen) == "c b a"


async def test_any_column_can_be_chosen(open_app: Open, swept: list[Path]) -> None:
    async with open_app(size=(120, 40)) as person:
        screen = await look_at_settings(person)
        await person.press("C", *"n_head", "enter")
        dialog = person.app.screen
        assert isinstance(dialog, ColumnsDialog) and "heads" in dialog.chosen
        await person.press("ctrl+u", *"state", "enter", "escape")
        assert "model.n_head" in screen.table.columns
        assert "optim.learning_rate" in screen.table.columns, "those shown stay chosen"
        assert "state" not in screen.table.columns
        await person.press("C", "ctrl+r")
        assert screen.table.columns[:2] == ["name", "state"]
        assert "model.n_head" not in screen.table.columns


async def test_a_filter_of_figures_works_as_it_is_typed(open_app: Open, swept: list[Path]) -> None:
    async with open_app() as person:
        screen = await look_at_settings(person)
        await person.press("slash")
        assert "such as lr>1e-3" in problem(screen)
        await person.press(*"lr", "greater_than_sign", "1", "full_stop", *"5e", "minus", "3")
        assert names(screen) == "c b"
        await person.press("space", *"bes")
        assert names(screen) == "c b", "the beginning of a term hides nothing"
        await person.press("t")
        assert problem(screen) == "best<2"
        await person.press("less_than_sign")
        assert problem(screen) == "best< needs a value: best<2"
        assert names(screen) == "c b", "what makes no sense changes nothing"
        await person.press("enter")
        assert screen.editor.has_class("-open"), "and is not accepted"
        await person.press("2", "enter")
        assert names(screen) == "c"
        await person.press("slash", "ctrl+u", *"lrr", "equals_sign", "1")
        assert "did you mean lr?" in problem(screen)


async def test_marks_have_letters_that_stay_and_are_set_by_key_and_mouse(
    open_app: Open, swept: list[Path]
) -> None:
    async with open_app() as person:
        screen = await look_at_settings(person)

        def letters() -> str:
            return "".join(screen.table.render_line(1 + row).text[1] for row in range(3))

        await person.pilot.click(screen.table, offset=(1, 2))
        assert (letters(), here(screen)) == (" A ", "b")
        await person.press("home", "space")
        assert letters() == "BA "
        await person.press("S")
        assert letters() == " AB", "a letter belongs to its run"
        await person.press("S", "a")
        assert letters() == "BAC"
        await person.press("a")
        assert letters() == "   "
        await person.pilot.click(screen.table, offset=(5, 1))
        await person.pilot.click(screen.table, offset=(5, 3), shift=True)
        assert letters() == "ABC"
        await person.pilot.click(screen.table, offset=(5, 2), control=True)
        assert letters() == "A C"
        assert "2 marked" in heading(screen)


async def test_columns_order_and_preview_are_remembered(
    open_app: Open, swept: list[Path], tmp_path: Path
) -> None:
    preferences = Preferences(tmp_path / "preferences.toml")
    async with open_app(size=(120, 40), preferences=preferences) as person:
        screen = await look_at_settings(person)
        await person.press("S", "p", "C", *"n_head", "enter", "escape")
        await person.until(lambda: "model.n_head" in screen.table.columns, "the column")
        columns = screen.table.columns
    again = Preferences.load(tmp_path / "preferences.toml")
    async with open_app(size=(120, 40), preferences=again) as person:
        screen = await look_at_settings(person)
        assert names(screen) == "a b c"
        assert screen.table.columns == columns and "model.n_head" in columns
        assert not screen.preview.chart.region.height
