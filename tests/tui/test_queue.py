"""The queue in the app: filled from the cockpit, worked off by itself, rearranged on its screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input, Static

from engine.config.schema import config_from_dict
from engine.protocol import RunOpened, State, StateChanged
from engine.sweeps.grid import Trial
from engine.sweeps.median_rule import MedianRule
from engine.sweeps.queue import Entry, Queue
from tests.tui.conftest import Open, Person
from tui.screens.queue import QueueScreen
from tui.screens.queue_dialog import QueueDialog
from tui.screens.runs import RunsScreen
from tui.widgets.keys_footer import KeysFooter
from tui.widgets.notice import Notice
from tui.widgets.tick_box import TickBox

RATE, LAYERS = "optim.learning_rate", "model.n_layer"
SHORT = {"train.max_steps": 6}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody here reads what a finished run came to."""
    monkeypatch.setattr("tui.control.queue.NEXT_SECONDS", 0.05)


def entries(person: Person) -> list[Entry]:
    return person.app.control.queue.queue.entries()


def states(person: Person) -> list[str]:
    return [str(one.state) for one in entries(person)]


async def add(person: Person, axes: str = "") -> None:
    """a, the values to try, enter."""
    await person.press("a")
    await person.until(lambda: isinstance(person.app.screen, QueueDialog), "the dialog")
    person.app.screen.query_one(Input).value = axes
    await person.pilot.pause(0)
    await person.press("enter")
    await person.until(lambda: person.app.screen is person.cockpit, "the cockpit")


async def look(person: Person) -> QueueScreen:
    """Q."""
    await person.press("Q")
    await person.until(lambda: isinstance(person.app.screen, QueueScreen), "the queue")
    screen = person.app.screen
    assert isinstance(screen, QueueScreen)
    await person.until(lambda: screen.table.columns, "the table")
    return screen


def rows(screen: QueueScreen) -> list[list[str]]:
    return [[str(cell) for cell in screen.table.get_row_at(i)] for i in range(len(screen.places))]


def fill(runs_dir: Path, config: dict[str, Any], *rates: float) -> Queue:
    """As ``gpt-tui sweep --queue-only`` does."""
    queue = Queue(runs_dir)
    base = config_from_dict(config)
    queue.add([Trial({RATE: rate}, base.replace({RATE: rate})) for rate in rates], "", "")
    return queue


# ---- filling -------------------------------------------------------------------------------------


async def test_edited_settings_become_a_queued_run_or_with_values_to_try_a_sweep(
    open_app: Open,
) -> None:
    async with open_app(SHORT) as person:
        person.app.control.edit({LAYERS: 2})
        await add(person)
        (entry,) = entries(person)
        assert (entry.sweep, entry.changes, entry.value(LAYERS)) == ("", {LAYERS: 2}, 2)
        assert entry.value("train.max_steps") == 6
        assert person.app.control.draft.edits == {}
        assert person.status.state is State.IDLE

        person.app.control.edit({"train.seed": 5})
        await add(person, f"{RATE}=1e-3,1e-2 {LAYERS}=1..2")
        sweep = entries(person)[1:]
        found = [(one.sweep, one.value(RATE), one.value(LAYERS)) for one in sweep]
        assert found == [("sweep-1", rate, n) for rate in (1e-3, 1e-2) for n in (1, 2)]
        assert {one.value("train.seed") for one in sweep} == {5}


async def test_what_cannot_be_is_told_in_the_dialog_and_not_added(open_app: Open) -> None:
    async with open_app() as person:
        await person.press("a")
        await person.type("model.n_layer=1..500")
        said = person.app.screen.query_one("#runs")
        await person.until(lambda: "must be 1 to 200" in str(said.render()), "the problem")
        await person.press("enter")
        assert isinstance(person.app.screen, QueueDialog)
        for _ in "00":
            await person.press("backspace")
        await person.until(lambda: "5 runs" in str(said.render()), "how many")
        await person.press("escape")
        await person.until(lambda: person.app.screen is person.cockpit)
        assert entries(person) == []


# ---- working off ---------------------------------------------------------------------------------


async def test_a_finished_run_is_followed_by_what_waits(open_app: Open) -> None:
    async with open_app({**SHORT, RATE: 5e-3}) as person:
        await add(person, f"{RATE}=1e-3,2e-3")
        await person.press("space")
        await person.until(lambda: states(person) == ["done", "done"], "both runs")
        await person.until_state(State.FINISHED)
        opened = person.heard(RunOpened)
        assert [one.config["optim"]["learning_rate"] for one in opened] == [5e-3, 1e-3, 2e-3]
        names = [Path(one.path).name for one in opened]
        assert names == ["tiny-1", "sweep-1-1", "sweep-1-2"]
        assert person.app.control.draft.base.get(RATE) == 2e-3
        await person.until(lambda: person.notice.startswith("finished: 6 steps"))
        assert "next" not in person.notice


async def test_the_queue_goes_on_behind_the_list_of_runs(open_app: Open) -> None:
    async with open_app(SHORT) as person:
        await add(person, f"{RATE}=1e-3,2e-3")
        await person.press("space", "r")
        await person.until(lambda: person.shows(RunsScreen))
        await person.until(lambda: states(person) == ["done", "done"], "both runs")
        assert person.shows(RunsScreen)


async def test_a_held_queue_waits_and_h_goes_on(open_app: Open) -> None:
    async with open_app(SHORT) as person:
        await add(person, f"{RATE}=1e-3")
        await person.press("H")
        assert "the queue is held" in person.notice
        await person.press("space")
        await person.until_state(State.FINISHED)
        await person.until(lambda: "held, 1 run to go: H continues" in person.notice)
        await person.pilot.pause(0.3)
        assert states(person) == ["waiting"]
    async with open_app(SHORT) as person:  # the next day
        held = "Q shows it, and it is held: H lets runs start by themselves"
        await person.until(lambda: held in person.notice)
        assert person.app.control.queue.held
        await person.press("H")
        await person.until(lambda: states(person) == ["done"], "the queued run")


async def test_of_a_finished_run_nothing_is_told_again_while_the_next_one_is_opened(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_app(SHORT) as person:
        said: list[str] = []
        say = Notice.say

        def note(notice: Notice, text: str, *rest: Any, **options: Any) -> None:
            said.append(text)
            say(notice, text, *rest, **options)

        monkeypatch.setattr(Notice, "say", note)
        await add(person, f"{RATE}=1e-3")
        await person.press("space")
        await person.until(lambda: states(person) == ["done"], "the queued run")
        await person.until_state(State.FINISHED)
        assert len(person.heard(StateChanged, state=State.FINISHED)) == 3  # one, closed; the other
        finished = [one.splitlines()[0] for one in said if one.startswith("finished")]
        assert finished and all(" 6 steps" in one for one in finished), finished


async def test_h_on_the_queues_own_screen_goes_on_as_well(open_app: Open) -> None:
    async with open_app(SHORT) as person:
        await add(person, f"{RATE}=1e-3")
        await person.press("H", "space")
        await person.until_state(State.FINISHED)
        await person.until(lambda: "H continues" in person.notice)
        await look(person)
        await person.press("H")
        await person.until(lambda: states(person) == ["done"], "the queued run")
        await person.press("H", "escape")
        assert "the queue is held" in person.notice


async def test_a_person_who_reads_is_waited_for_but_not_for_ever(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_app(SHORT) as person:
        await add(person, f"{RATE}=1e-3,2e-3")
        await person.press("H", "space", "question_mark")
        await person.until_state(State.FINISHED)
        person.app.control.queue.toggle_hold()  # the reader is there before the queue goes on
        await person.until(lambda: "next in" in person.notice)
        await person.pilot.pause(0.5)
        assert states(person) == ["waiting", "waiting"]
        monkeypatch.setattr("tui.control.queue.BUSY_SECONDS", 0.04)
        await person.until(lambda: states(person) == ["done", "done"], "both runs")


async def test_an_edit_that_waits_does_not_slip_into_a_queued_run(open_app: Open) -> None:
    async with open_app({**SHORT, RATE: 5e-3}) as person:
        await add(person, f"{RATE}=1e-3")
        person.app.control.edit({RATE: 9e-3})
        await look(person)
        await person.press("r", "escape")
        await person.until(lambda: states(person) == ["done"])
        assert person.app.control.draft.base.get(RATE) == 1e-3
        assert person.journal("adjusted") == []


async def test_a_run_that_cannot_be_opened_is_noted_and_the_next_one_begins(
    open_app: Open, tmp_path: Path
) -> None:
    async with open_app(SHORT) as person:
        await add(person, f"data.corpus={tmp_path / 'none.txt'}")
        await add(person, f"{RATE}=2e-3")
        await look(person)
        await person.press("r", "escape")
        await person.until(lambda: states(person) == ["failed", "done"], "both")
        assert "does not exist" in entries(person)[0].problem


async def test_a_run_that_went_wrong_is_left_for_the_next_one_if_nobody_helps(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from engine.training.trainer import Trainer

    update = Trainer._update

    def diverge(self: Trainer) -> None:
        if self.config.optim.learning_rate == 1e-3 and self.step == 3:
            for parameter in self.model.parameters():
                parameter.grad = torch.full_like(parameter, torch.nan)
        update(self)

    monkeypatch.setattr(Trainer, "_update", diverge)
    monkeypatch.setattr("tui.control.queue.GIVE_UP_SECONDS", 0.3)
    async with open_app({**SHORT, RATE: 5e-3}) as person:
        await add(person, f"{RATE}=1e-3,2e-3")
        await person.press("space")
        await person.until(lambda: states(person) == ["failed", "done"], "the second run")
        assert "is not finite" in entries(person)[0].problem


async def test_leaving_keeps_the_run_for_the_next_time(open_app: Open, runs_dir: Path) -> None:
    async with open_app() as person:
        await add(person, f"{RATE}=1e-3")
        await look(person)
        await person.press("r", "escape")
        await person.until(lambda: person.status.step > 3, "some steps")
        assert states(person) == ["running"]
        await person.press("q", "s")
        assert await person.until_gone() == 0
    (entry,) = Queue(runs_dir).entries()
    assert entry.state == "interrupted"
    async with open_app() as person:
        await person.until(lambda: "the queue holds 1 run: Q shows it" in person.notice)
        await look(person)
        await person.press("r", "escape")
        opened = await person.until_heard(RunOpened)
        assert (Path(opened.path).name, opened.step > 3) == (entry.run, True)


async def test_another_run_takes_the_place_of_a_queued_one_which_stays_for_later(
    open_app: Open,
) -> None:
    async with open_app() as person:
        await add(person, f"{RATE}=1e-3")
        await look(person)
        await person.press("r", "escape")
        await person.until(lambda: person.status.step > 3)
        await person.press("n")
        await person.press("enter")
        await person.until(lambda: len(person.heard(RunOpened)) == 2, "the new run")
        await person.until(lambda: states(person) == ["interrupted"])


# ---- runs that are stopped -----------------------------------------------------------------------


async def tick_and_add(person: Person, axes: str) -> None:
    """a, the values to try, tab, space, enter."""
    await person.press("a")
    await person.until(lambda: isinstance(person.app.screen, QueueDialog), "the dialog")
    person.app.screen.query_one(Input).value = axes
    await person.press("tab")
    await person.until(lambda: person.app.screen.query_one(TickBox).has_focus, "the box")
    await person.press("space")
    await person.until(lambda: person.app.screen.query_one(TickBox).value, "the tick")
    await person.press("enter")
    await person.until(lambda: person.app.screen is person.cockpit, "the cockpit")


async def test_a_ticked_box_keeps_the_rule_with_a_sweep_and_not_with_a_single_run(
    open_app: Open,
) -> None:
    async with open_app({**SHORT, "eval.interval": 2}) as person:
        await tick_and_add(person, f"{RATE}=1e-3..4e-3 x4")
        assert {one.rule for one in entries(person)} == {MedianRule()}
        await add(person, f"{RATE}=1e-3,2e-3")
        await tick_and_add(person, "")
        assert {one.rule for one in entries(person)[4:]} == {None}


async def test_the_dialog_says_when_the_rule_can_stop_nobody(open_app: Open) -> None:
    async with open_app(SHORT) as person:
        await person.press("a")
        await person.type(f"{RATE}=1e-3,2e-3")
        said = person.app.screen.query_one("#runs")
        await person.until(lambda: "2 runs" in str(said.render()), "how many")
        assert "median stopping rule" not in str(said.render())
        await person.press("tab", "space")
        await person.until(lambda: "needs more than 3 runs" in str(said.render()), "the reason")


async def test_a_run_that_is_stopped_gives_way_to_the_next_and_goes_on_if_the_person_wants(
    open_app: Open, runs_dir: Path, config: Any
) -> None:
    base = config_from_dict(config.to_dict()).replace(
        {"train.max_steps": 12, "eval.interval": 4, "optim.warmup_steps": 0, "optim.min_lr": 0}
    )
    good, again = {RATE: 1e-2}, {RATE: 1e-2, "sample.temperature": 0.5}  # they learn alike
    wishes = [Trial(one, base.replace(one)) for one in (good, {RATE: 1e-6}, again)]
    Queue(runs_dir).add(wishes, "", "", MedianRule(after_runs=1))
    async with open_app() as person:
        person.app.control.queue.held = True
        for trained in (1, 2):
            await look(person)
            await person.press("r", "escape")
            await person.until(lambda: states(person).count("done") == trained, "its end")  # noqa: B023
            await person.until(lambda: "the queue is held" in person.notice, "what comes next")
        assert person.notice.startswith("stopped at step 4 of 12 by the median stopping rule")
        await person.press("H")
        await person.until(lambda: states(person) == ["done"] * 3, "all three")
        screen = await look(person)
        await person.until(lambda: rows(screen)[1][1] == "stopped early", "the figures")
        assert [row[1] for row in rows(screen)] == ["done", "stopped early", "done"]
        assert rows(screen)[1][-2] == "4/12"
        await person.press("down")
        told = screen.query_one("#detail", Static)
        await person.until(lambda: "stopped at step 4 of 12 by the" in str(told.render()))

        await person.press("enter")
        await person.until(lambda: person.run.name == "sweep-1-2", "the stopped run")
        await person.until(lambda: "space continues" in person.notice, "the way on")
        assert "stopped at step 4 of 12 by the median stopping rule" in person.notice
        await person.press("space")
        await person.until(lambda: person.status.step == 12, "its end")
        await person.until_state(State.FINISHED)
        await person.until(lambda: "raise train.max_steps (e) to continue" in person.notice)
        assert person.status.pruned == ""


# ---- the screen ----------------------------------------------------------------------------------


async def test_the_screen_shows_and_rearranges_the_queue(open_app: Open) -> None:
    async with open_app(SHORT) as person:
        await add(person, f"{RATE}=1e-3,2e-3,3e-3")
        screen = await look(person)
        names = ["sweep-1-1", "sweep-1-2", "sweep-1-3"]
        assert [row[0] for row in rows(screen)] == names  # each tells what it tries
        assert [row[1:4] for row in rows(screen)] == [
            ["waiting", "–", "0.001"],
            ["waiting", "–", "0.002"],
            ["waiting", "–", "0.003"],
        ]
        await person.press("down", "K")
        assert [row[3] for row in rows(screen)] == ["0.002", "0.001", "0.003"]
        assert screen.place is not None and screen.place.entry.value(RATE) == 2e-3
        await person.press("J", "x")
        assert [row[1] for row in rows(screen)] == ["waiting", "cancelled", "waiting"]
        await person.press("t")
        assert [row[1] for row in rows(screen)] == ["waiting"] * 3
        await person.press("H")
        assert person.app.control.queue.held
        await person.press("escape")
        assert person.app.screen is person.cockpit


async def test_with_room_the_name_of_what_waits_has_the_value_it_tries(open_app: Open) -> None:
    async with open_app(SHORT, size=(120, 40)) as person:
        await add(person, "lr=1e-3,2e-3")
        screen = await look(person)
        names = ["sweep-1-1 lr 0.001", "sweep-1-2 lr 0.002"]
        assert [row[0] for row in rows(screen)] == names


async def test_the_best_come_first_when_asked_for(open_app: Open) -> None:
    async with open_app(SHORT) as person:
        await add(person, f"{RATE}=1e-5,1e-2 optim.min_lr=0")
        await look(person)
        await person.press("r", "escape")
        await person.until(lambda: states(person) == ["done", "done"])
        screen = await look(person)
        await person.until(lambda: all(row[2] != "–" for row in rows(screen)), "the figures")
        assert [row[3] for row in rows(screen)] == ["1e-5", "0.01"]
        await person.press("l")
        assert [row[3] for row in rows(screen)] == ["0.01", "1e-5"]
        losses = [float(row[2]) for row in rows(screen)]
        assert losses == sorted(losses)
        best = screen.places[0].entry.run
        await person.press("up", "enter")  # open it
        await person.until(lambda: person.app.screen is person.cockpit and person.run.name == best)
        await person.until_heard(RunOpened, path=str(person.run))


async def test_what_is_trained_now_is_neither_cancelled_nor_begun_again(open_app: Open) -> None:
    async with open_app() as person:
        await add(person, f"{RATE}=1e-3,2e-3")
        screen = await look(person)
        await person.press("r")
        await person.until_state(State.RUNNING)
        screen.refresh_table()
        assert not screen.check_action("cancel", ())
        await person.press("r")
        assert "a run is training: the next one starts when it ends" in person.told()
        assert states(person) == ["running", "waiting"]


async def test_an_empty_queue_says_how_it_is_filled(open_app: Open) -> None:
    async with open_app() as person:
        await person.press("Q")
        await person.until(lambda: person.app.screen.has_class("-empty"), "the empty screen")
        assert "a adds the edited settings" in str(person.app.screen.query_one("#empty").render())


async def test_a_screen_that_goes_away_is_asked_for_its_keys_in_vain(open_app: Open) -> None:
    """The footer may ask once more while the screen is taken apart."""
    async with open_app() as person:
        await person.press("Q")
        await person.until(lambda: person.app.screen.has_class("-empty"), "the empty screen")
        await person.app.screen.query("#runs").remove()
        assert person.app.screen.check_action("cancel", ()) is False


async def test_a_queue_that_cannot_be_read_is_told_and_training_works(
    open_app: Open, runs_dir: Path, config: Any
) -> None:
    fill(runs_dir, config.to_dict(), 1e-3).path.write_bytes(b"no database" * 1000)
    async with open_app(SHORT) as person:
        await person.until(lambda: "cannot be used" in person.notice)
        await person.press("space")
        await person.until_state(State.FINISHED)
        await person.until(lambda: "cannot be used" in person.notice)
        await person.press("a", "enter")
        await person.until(lambda: "cannot be used" in person.notice)


async def test_at_60x16_the_dialog_keeps_its_field_and_its_answers(open_app: Open) -> None:
    edits = {"optim.learning_rate": 0.01, "optim.weight_decay": 0.2, "train.max_steps": 99}
    async with open_app(size=(60, 16)) as person:
        for key, value in (edits | {"train.batch_size": 3, "model.n_layer": 2}).items():
            person.app.control.draft.edit(key, value)
        await person.press("a")
        await person.until(lambda: isinstance(person.app.screen, QueueDialog), "the dialog")
        dialog = person.app.screen.query_one("#dialog")
        inside = dialog.region.shrink(dialog.styles.gutter)
        assert person.app.screen.region.contains_region(dialog.region)
        field, footer = person.app.screen.query_one(Input), person.app.screen.query_one(KeysFooter)
        assert {"Add", "Back"} <= {key.description for key in footer.keys}
        assert field.has_focus and inside.contains_region(field.region)
