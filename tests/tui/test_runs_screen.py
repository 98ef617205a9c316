"""The runs screen, on run folders that nothing was trained for, and on some that were."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from textual.widgets import Input, Markdown, Static

from engine.protocol import RunOpened, State, Warned
from engine.runs.folder import RunLock
from engine.runs.notes import read_notes, set_note
from engine.runs.summary import RunSummary, read_summary
from engine.runs.transfer import list_trash
from tests.engine.run_folders import write_run, write_runs
from tests.tui.conftest import Open, Person
from tui.control.keymap import GROUPS
from tui.control.runs_view import Order
from tui.screens.cockpit import CockpitScreen
from tui.screens.compare import CompareScreen
from tui.screens.dialogs import OpenRunDialog
from tui.screens.help import TextScreen
from tui.screens.runs import RunsScreen
from tui.widgets.run_details import RunDetails
from tui.widgets.runs_columns import columns_of, fitting


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the next look at the folder."""
    monkeypatch.setattr("tui.screens.runs.REFRESH_SECONDS", 0.05)


@pytest.fixture
def five(runs_dir: Path) -> list[Path]:
    """Runs a to e, each younger than the one before."""
    losses = {"a": 2.0, "b": 1.5, "c": 3.0, "d": None, "e": 2.5}
    return [
        write_run(runs_dir, name, 1.7e9 + 1000 * place, best_val_loss=value, step=100 - place)
        for place, (name, value) in enumerate(losses.items())
    ]


async def look(person: Person) -> RunsScreen:
    """Press r, and wait until all is there."""
    await person.press("r")
    screen = person.app.screen
    assert isinstance(screen, RunsScreen)
    await person.until(lambda: screen.view.runs is not None and screen.view.sizes, "the runs")
    return screen


async def test_the_run_of_the_cockpit_is_open_here_and_another_one_elsewhere(
    open_app: Open, runs_dir: Path
) -> None:
    other = write_run(runs_dir, "other", 1.7e9)
    async with open_app(size=(120, 40)) as person:
        await person.start_and_pause()
        lock = RunLock(other)
        try:
            screen = await look(person)
            await person.until(lambda: "(open here)" in details(screen), "the own run")
            await person.press("end")
            await person.until(
                lambda: "(open in another program)" in details(screen), "the other run"
            )
        finally:
            lock.release()


def names(screen: RunsScreen) -> str:
    return " ".join(run.name for run in screen.table.runs)


def heading(screen: RunsScreen) -> str:
    return str(screen.query_one("#heading", Static).render())


def details(screen: RunsScreen) -> str:
    return screen.query_one(RunDetails).render().plain


def here(screen: RunsScreen) -> str:
    """The run under the cursor."""
    assert screen.table.current
    return screen.table.current.name


def told(person: Person) -> str:
    return person.told()


async def test_a_name_of_100_characters_leaves_room_for_the_other_facts(
    open_app: Open, runs_dir: Path
) -> None:
    long, parent = "n" * 100, "p" * 100
    write_run(runs_dir, long, parent={"run": parent, "step": 50, "branch": 0})
    async with open_app(size=(80, 24)) as person:
        screen = await look(person)
        first, *_, last = details(screen).splitlines()
        name, state, step, *_ = first.split(" · ")
        assert name.startswith("nnn") and name.endswith("…")
        assert "finished" in state and step.startswith("step ")
        origin, folder, *_ = last.split(" · ")
        assert origin.startswith("forked from ppp") and origin.endswith("… at step 50")
        assert folder.endswith("…") and len(last) <= 78


async def test_a_thousand_runs_are_listed_and_scrolled(
    open_app: Open, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.screens.runs.REFRESH_SECONDS", 3600)
    write_runs(runs_dir, [f"run-{number}" for number in range(1000)])
    async with open_app(size=(120, 40)) as person:
        screen = await look(person)
        assert len(screen.table.runs) == 1000
        assert heading(screen).startswith("1,000 runs · ")
        await person.press("s")  # by name
        assert here(screen) in ("run-0", "run-999")
        await person.press("home")
        assert here(screen) == "run-0"
        await person.press("pagedown", "pagedown")
        height = screen.table.size.height
        assert screen.table.cursor == 2 * (height - 2)
        await person.press("end")
        assert here(screen) == "run-999"
        assert screen.table.scroll_offset.y == 1000 - (height - 1)
        line = screen.table.render_line(height - 1).text
        assert line.split()[:3] == ["run-999", "✓", "finished"]
        await person.press("slash", *"run-99")
        assert len(screen.table.runs) == 11


async def test_the_newest_run_comes_first_and_any_column_sorts(
    open_app: Open, five: list[Path]
) -> None:
    async with open_app(size=(300, 50)) as person:
        screen = await look(person)
        assert names(screen) == "e d c b a"
        await person.press("S")
        assert names(screen) == "a b c d e"
        while screen.view.order.by != "best":
            await person.press("s")
        assert names(screen) == "b a e c d"  # what has no loss comes last
        await person.press("S")
        assert names(screen) == "c e a b d"
        header = screen.table.render_line(0).text
        assert "best▼" in header
        await person.pilot.click(screen.table, offset=(header.index("step") + 1, 0))
        assert (screen.view.order, names(screen)) == (Order("step", True), "a b c d e")
        await person.pilot.click(screen.table, offset=(header.index("step") + 1, 0))
        assert names(screen) == "e d c b a"
        await person.pilot.click(screen.table, offset=(header.index("disk") + 1, 0))
        assert screen.view.order == Order("disk", True)
        await person.pilot.click(screen.table, offset=(header.index("note") + 1, 0))
        assert screen.view.order == Order("disk", True)  # there is no order of notes


async def test_a_filter_works_as_it_is_typed(open_app: Open, five: list[Path]) -> None:
    set_note(five[1], "the best")
    async with open_app() as person:
        screen = await look(person)
        await person.press("slash", *"note:best")
        assert names(screen) == "b"
        assert "5 runs · 1 match note:best" in heading(screen)
        await person.press("escape")
        assert names(screen) == "e d c b a"
        await person.press("slash", *"nothing", "enter")
        assert names(screen) == ""
        assert "esc shows all" in str(screen.query_one("#empty", Static).render())
        await person.press("escape")
        assert names(screen) == "e d c b a"
        await person.press("escape")
        assert isinstance(person.app.screen, CockpitScreen)


async def test_tags_and_note_are_edited_in_place(open_app: Open, five: list[Path]) -> None:
    async with open_app() as person:
        screen = await look(person)
        await person.press("down", "t", *"good, lr:3e-4", "enter")
        assert read_notes(five[3]).tags == ("good", "lr:3e-4")
        await person.until(lambda: "good lr:3e-4" in details(screen))
        await person.press("t", *" no!", "enter")
        assert "'no!' cannot be a tag" in str(screen.query_one("#problem", Static).render())
        assert person.app.screen.query_one(Input).value == "good lr:3e-4 no!"  # not lost
        await person.press("escape")
        assert read_notes(five[3]).tags == ("good", "lr:3e-4")
        await person.press("n", *"slower", "enter")
        assert read_notes(five[3]).note == "slower"
        await person.press("n", *" u d s", "escape")  # letters, not keys; and thought better of
        assert read_notes(five[3]).note == "slower"
        assert here(screen) == "d"


async def test_a_run_is_renamed_under_the_cursor(open_app: Open, five: list[Path]) -> None:
    async with open_app(size=(200, 50)) as person:
        screen = await look(person)
        await person.press("down", "R", "ctrl+u", *"a", "enter")
        assert "already a run 'a'" in str(screen.query_one("#problem", Static).render())
        await person.press("1", "enter")
        await person.until(lambda: names(screen) == "e a1 c b a")
        assert here(screen) == "a1"
        await person.until(lambda: "formerly d" in details(screen))


async def test_deleted_runs_go_and_come_back(
    open_app: Open, five: list[Path], runs_dir: Path
) -> None:
    async with open_app() as person:
        screen = await look(person)
        await person.press("down", "delete")
        assert names(screen) == "e c b a"
        assert here(screen) == "c"
        assert "d moved to the trash: u brings it back" in told(person)
        await person.press("space", "space", "backspace")
        assert names(screen) == "e c b a"
        assert "again moves the 2 marked runs to the trash" in told(person)
        await person.press("backspace")
        assert "2 runs moved to the trash: u brings them back" in told(person)
        assert names(screen) == "e a"
        assert len(list_trash(runs_dir)) == 3
        await person.press("u")
        await person.until(lambda: names(screen) == "e c b a")
        await person.press("u")
        await person.until(lambda: names(screen) == "e d c b a")
        assert "u" not in person.footer()


async def test_marked_runs_out_of_sight_are_not_deleted(open_app: Open, five: list[Path]) -> None:
    async with open_app() as person:
        screen = await look(person)
        await person.press("space", "slash", *"name:a", "enter", "delete")
        await person.until(lambda: names(screen) == "")
        await person.press("escape")
        assert names(screen) == "e d c b"
        assert "1 marked" in heading(screen)


async def test_what_was_deleted_can_be_brought_back_later(open_app: Open, five: list[Path]) -> None:
    async with open_app() as person:
        await look(person)
        await person.press("S", "delete", "escape")
        screen = await look(person)
        assert names(screen) == "a b c d"  # the order is remembered, too
        await person.press("u")
        await person.until(lambda: names(screen) == "a b c d e")


async def test_a_run_in_training_stays(open_app: Open, five: list[Path]) -> None:
    lock = RunLock(five[4])
    async with open_app() as person:
        screen = await look(person)
        await person.press("delete")
        assert "'e' is being trained by another program" in told(person)
        assert names(screen) == "e d c b a"
    lock.release()


async def test_the_cursor_stays_on_its_run_whatever_comes_and_goes(
    open_app: Open, five: list[Path], runs_dir: Path
) -> None:
    async with open_app() as person:
        screen = await look(person)
        await person.press("down", "down")
        write_run(runs_dir, "f", 1.8e9)
        await person.until(lambda: names(screen) == "f e d c b a")
        assert here(screen) == "c"
        (five[4]).rename(runs_dir.parent / "gone")
        await person.until(lambda: names(screen) == "f d c b a")
        assert here(screen) == "c"
        five[2].rename(runs_dir.parent / "gone-too")
        await person.until(lambda: names(screen) == "f d b a")
        assert here(screen) == "b"


async def test_a_run_without_change_is_not_painted_again(
    open_app: Open, five: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_app() as person:
        screen = await look(person)
        painted: list[int] = []
        monkeypatch.setattr(screen.table, "_refresh_row", painted.append)
        set_note(five[2], "look")
        await person.until(lambda: painted, "the change")
        assert set(painted) == {2}


async def test_enter_opens_a_run_paused(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        first = person.run
        await person.press("w")
        await person.press("n", "enter")
        await person.until(lambda: len(person.heard(RunOpened)) == 2)
        await person.until(lambda: person.status.step >= 2)
        second = person.run
        assert first != second
        screen = await look(person)
        await person.press("home")
        assert here(screen) == second.name
        await person.press("R", *"x", "enter")
        assert "is open in the cockpit" in str(screen.query_one("#problem", Static).render())
        await person.press("escape", "delete")
        assert "cannot be deleted now" in told(person)
        await person.press("enter")  # it is there already
        assert person.shows(CockpitScreen)

        await look(person)
        await person.press("end", "enter")
        assert person.shows(OpenRunDialog)
        await person.press("escape")
        assert person.shows(RunsScreen)
        assert person.status.state is State.RUNNING
        await person.press("enter", "enter")
        await person.until(lambda: person.run == first)
        assert isinstance(person.app.screen, CockpitScreen)
        await person.until_state(State.PAUSED)
        kept = read_summary(second)
        assert kept.state == "stopped"
        assert kept.step >= 2
        assert list((second / "checkpoints").glob(f"step-{kept.step:08}"))


async def test_edits_are_not_carried_into_another_run_unasked(
    open_app: Open, five: list[Path]
) -> None:
    async with open_app() as person:
        await person.edit("optim.learning_rate", "0.02")
        await person.back_to_keys()
        await look(person)
        await person.press("enter")
        dialog = person.app.screen
        assert isinstance(dialog, OpenRunDialog)
        words = str(dialog.query_one("#question").render())
        assert "1 edited setting not used yet will be forgotten" in words
        assert "optim.learning_rate=0.02" in words
        await person.press("escape", "escape")
        assert person.app.control.draft.edits == {"optim.learning_rate": 0.02}


async def test_a_run_that_cannot_be_restored_says_what_is_wrong(
    open_app: Open, five: list[Path]
) -> None:
    (five[4] / "run.db").write_bytes(b"no database" * 100)
    shutil.rmtree(five[4] / "checkpoints")
    async with open_app() as person:
        screen = await look(person)
        assert "\ngpt-tui verify e --repair" in details(screen)
        await person.press("enter")
        assert "cannot be read: gpt-tui verify e --repair" in told(person)


async def test_a_run_with_a_damaged_database_is_restored_as_it_is_opened(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        damaged = person.run
        await person.press("w")
        await person.press("n", "enter")
        await person.until(lambda: len(person.heard(RunOpened)) == 2)
        (damaged / "run.db").write_bytes(b"no database" * 100)
        screen = await look(person)
        await person.press("end")
        assert here(screen) == damaged.name
        assert "enter opens the run and restores it" in details(screen)
        await person.press("enter", "enter")
        await person.until(lambda: person.run == damaged)
        assert any(
            "run.db is restored from its copy" in one.message for one in person.heard(Warned)
        )
        assert read_summary(damaged).state != "damaged"


async def test_marked_runs_are_compared(open_app: Open, five: list[Path]) -> None:
    async with open_app() as person:
        screen = await look(person)
        await person.press("c")
        assert "two at least" in told(person)
        await person.press("space", "down", "c")  # the marked one and that under the cursor
        compared = person.app.screen
        assert isinstance(compared, CompareScreen)
        assert sorted(compared.paths) == [five[2], five[4]]
        await person.press("escape")
        assert person.app.screen is screen


async def test_no_runs_yet(open_app: Open) -> None:
    async with open_app() as person:
        await person.press("r")
        screen = person.app.screen
        assert isinstance(screen, RunsScreen)
        await person.until(lambda: screen.view.runs == [])
        assert "no runs yet" in str(screen.query_one("#empty", Static).render())
        await person.press("enter", "delete", "t", "c")  # nothing to do it with
        assert person.app.screen is screen


async def test_the_help_names_every_key(open_app: Open, five: list[Path]) -> None:
    async with open_app() as person:
        await look(person)
        await person.press("question_mark")
        assert isinstance(person.app.screen, TextScreen)
        told = [help for _, help in person.app.screen.keys]
        assert {key.help for key in GROUPS["runs"].keys} <= set(told)
        assert "gpt-tui runs restore" in person.app.screen.query(Markdown).last().source


@pytest.mark.parametrize("width", [57, 77, 117, 197, 300])
def test_columns_fit_the_width(width: int) -> None:
    columns = fitting(columns_of({}), width)
    assert sum(wide + 2 for _, wide in columns) - 2 <= width
    keys = [column.key for column, _ in columns]
    assert keys[:2] == ["name", "state"]
    assert ("note" in keys) == (width > 180)


def test_a_step_that_is_long_is_rounded() -> None:
    cell = {column.key: column.cell for column in columns_of({})}["step"]
    run = RunSummary("/r", "r", "stopped", step=1_250, total_steps=2_000)
    assert cell(run, 13) == "1,250/2,000"
    long = RunSummary("/r", "r", "stopped", step=123_456, total_steps=1_000_000)
    assert cell(long, 13) == "123k/1M"


async def test_what_was_read_before_a_deletion_does_not_bring_the_run_back(
    open_app: Open, five: list[Path]
) -> None:
    async with open_app() as person:
        screen = await look(person)
        late = list(screen.view.runs or ()), screen.view.changes
        await person.press("down", "delete")
        assert names(screen) == "e c b a"
        screen.take(*late)
        await person.press("end")
        assert names(screen) == "e c b a"
