"""The panel shows the settings of one run, which its title names, and an edit is of that run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.config.presets import preset_config
from engine.protocol import Adjusted, State
from engine.runs.folder import read_run_config
from tests.tui.conftest import Open, Person
from tui.control.draft import Draft
from tui.control.own_presets import find_preset
from tui.control.run import Launch, RunControl
from tui.screens.dialogs import Dialog, ForkDialog, NewRunDialog
from tui.screens.presets import PresetsScreen

STEPS, RATE, LAYERS = "train.max_steps", "optim.learning_rate", "model.n_layer"
THIS_RUN, NEXT_RUN = "this run · settings", "next run · settings"


@pytest.fixture
def draft() -> Draft:
    return Draft(preset_config("tiny"), of_run=True)


def test_an_edit_is_of_the_run_that_is_shown(draft: Draft) -> None:
    assert not draft.shows_next
    draft.edit("system.threads", 2)
    assert (draft.run_edits, draft.next_edits) == ({"system.threads": 2}, {})
    draft.show_next(True)
    draft.edit(RATE, 0.01)
    assert (draft.run_edits, draft.next_edits) == ({"system.threads": 2}, {RATE: 0.01})
    assert draft.value(RATE) == 0.01 and draft.next_config().system.threads == 2
    draft.show_next(False)
    assert draft.value(RATE) == draft.base.optim.learning_rate


def test_what_only_a_new_run_can_change_shows_the_next_one(draft: Draft) -> None:
    draft.edit(LAYERS, 3)
    assert draft.shows_next and draft.edits == {LAYERS: 3}
    draft.show_next(False)
    assert draft.value(LAYERS) == 2 and draft.edits == {}


def test_beside_a_prepared_preset_a_run_keeps_what_waits_for_it(draft: Draft) -> None:
    draft.edit("system.threads", 2)
    draft.prepare(preset_config("multi-head"))
    draft.edit(STEPS, 7)
    assert draft.next_config().differences(preset_config("multi-head")) == {STEPS: (7, 5000)}
    assert draft.fork_edits == {"system.threads": 2}
    assert draft.waiting[STEPS] == 7 and draft.waiting["model.n_head"] == 4
    kept = draft.keep()
    draft.forget_next()
    assert draft.waiting == {"system.threads": 2} and not draft.shows_next
    draft.restore(kept)
    assert draft.next_config().train.max_steps == 7 and draft.shows_next


def test_a_fork_is_asked_for_with_its_own_edits_not_those_of_a_prepared_preset(
    draft: Draft,
) -> None:
    draft.edit(RATE, 0.01)
    draft.edit("system.threads", 2)
    draft.prepare(preset_config("multi-head"))
    question = str(ForkDialog(draft, "tiny-1", 3).question)
    assert "→ 0.01\n" in question and "system.threads  auto → 2" in question


def test_a_preset_with_the_settings_of_the_run_leaves_nothing_waiting(draft: Draft) -> None:
    draft.edit("system.threads", 2)
    draft.prepare(draft.base)
    assert draft.next_config() == draft.base and draft.waiting == {}


def test_edits_made_while_the_next_run_was_prepared_are_of_it_or_of_the_one_after() -> None:
    draft = Draft(preset_config("tiny"))
    started = draft.next_config()
    draft.edit(RATE, 0.01)
    draft.edit(LAYERS, 3)
    draft.open_run(started, is_next=True)
    assert not draft.shows_next and draft.value(RATE) == 0.01 and draft.value(LAYERS) == 2
    assert draft.next_config().model.n_layer == 3


def test_another_run_than_the_next_leaves_that_as_it_was(draft: Draft) -> None:
    draft.prepare(preset_config("multi-head"))
    draft.edit(STEPS, 7)
    draft.open_run(preset_config("tiny").replace({STEPS: 50}), is_next=False)
    assert not draft.shows_next and draft.value(STEPS) == 50
    assert draft.next_config() == preset_config("multi-head").replace({STEPS: 7})


def test_edits_are_undone_in_the_run_that_they_were_made_in(tmp_path: Path) -> None:
    control = RunControl(Launch(preset_config("tiny"), tmp_path, run=tmp_path), lambda event: None)
    draft, multi_head = control.draft, find_preset("multi-head")
    assert multi_head
    control.edit({RATE: 0.01})  # the run is not open: it waits for that
    control.take_preset(multi_head)
    control.edit({STEPS: 7})
    assert (draft.run_edits, draft.next_edits) == ({RATE: 0.01}, {STEPS: 7})
    assert control.undo()[1][STEPS] == 5000
    assert (draft.shows_next, draft.next_edits) == (True, {})
    control.undo()
    assert (draft.shows_next, draft.prepared, draft.run_edits) == (False, None, {RATE: 0.01})
    control.undo()
    assert draft.run_edits == {}


async def finish(person: Person) -> None:
    await person.press("space")
    await person.until_state(State.FINISHED)


async def take(person: Person, preset: str) -> None:
    await person.press("ctrl+o")
    await person.until(lambda: person.shows(PresetsScreen))
    screen = person.app.screen
    assert isinstance(screen, PresetsScreen)
    screen.options.highlighted = screen.options.get_option_index(preset)
    await person.until(lambda: screen.chosen and screen.chosen.name == preset)
    await person.press("enter")
    await person.until(lambda: person.app.screen is person.cockpit)


async def test_after_a_finished_run_a_preset_and_edits_are_of_the_next(open_app: Open) -> None:
    async with open_app({STEPS: 4}, size=(120, 40)) as person:
        panel, control = person.cockpit.settings, person.app.control
        assert panel.border_title == NEXT_RUN
        await finish(person)
        await person.until(lambda: panel.border_title == THIS_RUN)
        await take(person, "multi-head")
        assert panel.border_title == NEXT_RUN and panel.has_class("-next")
        shown = {key: control.draft.value(key) for key in ("model.n_head", RATE, STEPS)}
        assert shown == {"model.n_head": 4, RATE: 1e-3, STEPS: 5000}
        await person.edit(STEPS, "9")
        await person.until(lambda: control.draft.value(STEPS) == 9)
        assert person.status.state is State.FINISHED and not person.heard(Adjusted)
        assert "this run has 4" in str(panel.query_one("#setting-help").render())
        await person.press("escape")  # to the values of the finished run
        assert panel.border_title == THIS_RUN and control.draft.value(STEPS) == 4
        assert control.draft.value(RATE) == control.draft.base.optim.learning_rate
        await person.press("w")
        assert panel.border_title == NEXT_RUN and control.draft.value(STEPS) == 9
        await person.press("escape", "escape")
        await person.press("n")
        await person.until(lambda: person.shows(NewRunDialog))
        await person.press("enter")
        await person.until(lambda: person.run.name == "multi-head-1", "the next run")
        begun = read_run_config(person.run)
        assert (begun.train.max_steps, begun.optim.learning_rate) == (9, 1e-3)
        assert panel.border_title == THIS_RUN and control.draft.waiting == {}


@pytest.mark.parametrize("key", ["n", "B"])
async def test_a_question_tells_that_the_run_in_training_stops(open_app: Open, key: str) -> None:
    async with open_app(size=(120, 40)) as person:
        await person.start()
        await person.press(key)
        await person.until(lambda: isinstance(person.app.screen, Dialog), "the question")
        assert isinstance(person.app.screen, Dialog)
        question = str(person.app.screen.question)
        stops = rf"{person.run.name} stops, now at step [\d,]+ of 100,000; it is saved, and r opens"
        assert re.search(stops, question)
        await person.press("escape")
        await person.pause()
        await person.press(key)
        await person.until(lambda: isinstance(person.app.screen, Dialog), "the question")
        assert isinstance(person.app.screen, Dialog)
        assert "stops" not in str(person.app.screen.question)


async def test_undo_and_escape_lead_back_to_the_run_from_the_cockpit(open_app: Open) -> None:
    async with open_app({STEPS: 4}, size=(120, 40)) as person:
        panel, draft = person.cockpit.settings, person.app.control.draft
        await finish(person)
        await person.press("escape")  # hides what was said of the end
        await take(person, "multi-head")
        assert person.footer()["escape"] == "This run"
        await person.press("escape")
        assert panel.border_title == THIS_RUN
        assert draft.waiting
        await person.pilot.click(panel, offset=(4, 0))  # the title
        assert panel.border_title == NEXT_RUN
        await person.press("u")
        assert panel.border_title == THIS_RUN
        assert person.status.state is State.FINISHED
        assert not draft.waiting


async def test_a_setting_of_new_runs_alone_turns_the_panel_and_says_so(open_app: Open) -> None:
    async with open_app(size=(120, 40)) as person:
        await person.start_and_pause()
        await person.edit("train.seed", "7")
        await person.until(lambda: "train.seed is for the next run" in person.told())
        assert person.cockpit.settings.border_title == NEXT_RUN
        await person.edit(RATE, "0.002")  # no live change
        assert person.app.control.draft.next_edits == {"train.seed": 7, RATE: 0.002}
        assert not person.heard(Adjusted)
        await person.press("escape")
        await person.edit(RATE, "0.004")
        await person.until_heard(Adjusted)
        assert person.app.control.draft.next_config().optim.learning_rate == 0.002
