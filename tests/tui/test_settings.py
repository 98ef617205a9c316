"""Settings and prompt: what is edited, what is applied when, and what is said about the rest."""

from __future__ import annotations

import threading
from typing import cast

import pytest
from textual import events
from textual.widgets import Input, Static

from engine.config.presets import preset_config
from engine.config.schema import SETTINGS, read_config
from engine.protocol import Adjusted, Refused, RunOpened, SampleFinished, SampleStarted, State
from tests.tui.conftest import Open, Person, checkpoints
from tui.control.draft import Draft
from tui.screens.dialogs import NewRunDialog
from tui.widgets.settings_list import SettingsList
from tui.widgets.settings_panel import Detail, SettingsPanel


def problem(person: Person, field: str = "#setting-problem") -> str:
    """What is said beside the field."""
    static = person.cockpit.query_one(field, Static)
    return str(static.content) if static.display else ""


async def test_a_live_setting_is_applied_noted_and_marked(open_app: Open) -> None:
    async with open_app() as person:
        await person.start()
        await person.edit("optim.learning_rate", "2e-3")
        event = await person.until_heard(Adjusted)
        assert event.changes == {"optim.learning_rate": [0.003, 0.002]}
        assert person.app.control.draft.base.optim.learning_rate == 0.002
        assert person.app.control.draft.edits == {}
        marks = person.app.control.metrics.marks
        assert [(mark.step, mark.label) for mark in marks] == [
            (event.step, "learning_rate 0.003→0.002")
        ]
        entries = person.journal("adjusted")
        assert [(one["step"], one["detail"]["changes"]) for one in entries] == [
            (event.step, event.changes)
        ]
        row = person.cockpit.settings.list.get_option("optim.learning_rate").prompt
        assert str(row).endswith("0.002")


async def test_the_cursor_walks_to_a_setting(open_app: Open) -> None:
    async with open_app() as person:
        often = [key for key, one in SETTINGS.items() if not one.seldom]
        rows_above = 1 + often.index("model.dropout")  # the group's own row is the first
        await person.press("e", "home", *["down"] * rows_above, "enter")
        assert person.cockpit.settings.editor.has_focus
        await person.clear()
        await person.press(*"0.1", "enter", "escape")
        assert person.app.control.draft.edits == {"model.dropout": 0.1}
        assert person.cockpit.focused is None


async def test_invalid_text_is_explained_beside_the_field_and_never_applied(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await person.edit("optim.learning_rate", "fast", confirm=False)
        said = "optim.learning_rate must be a number, not 'fast'"
        assert problem(person) == said
        await person.press("enter")
        assert person.cockpit.settings.editor.has_focus  # still there to be mended
        assert problem(person) == said
        await person.clear()
        await person.press("minus", "1")
        assert problem(person) == "optim.learning_rate must be above 0, at most 10, not -1"
        await person.press("escape")
        assert problem(person) == ""
        await person.pilot.pause(0.1)
        assert not person.heard(Adjusted)
        assert person.app.control.draft.edits == {}


async def test_what_the_engine_refuses_is_explained_beside_the_field(open_app: Open) -> None:
    async with open_app() as person:
        step = await person.start_and_pause()
        assert step > 1
        await person.edit("train.max_steps", "1")
        await person.until_heard(Refused, command="Adjust")
        await person.until(lambda: problem(person), "a sentence")
        assert problem(person).startswith("the run would end at step 1")
        assert person.app.control.draft.value("train.max_steps") == 100_000


async def test_what_the_engine_refuses_stays_in_its_field_to_be_mended(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        editor = person.cockpit.settings.editor
        await person.edit("train.max_steps", "1")
        await person.until_heard(Refused, command="Adjust")
        await person.until(lambda: editor.has_focus and problem(person), "the field again")
        assert editor.value == "1" and editor.has_class("-faulty")
        await person.press("end", *"000000", "enter")
        await person.until_heard(Adjusted, changes={"train.max_steps": [100_000, 1_000_000]})
        assert problem(person) == "" and not person.cockpit.settings.editor.display

        await person.edit("train.max_steps", "1")
        await person.until(lambda: len(person.heard(Refused)) == 2)
        await person.until(lambda: editor.has_focus, "the field again")
        await person.press("escape")  # gives it up
        assert problem(person) == "" and not person.cockpit.settings.editor.display
        assert person.app.control.draft.value("train.max_steps") == 1_000_000


async def test_what_is_refused_once_one_has_gone_on_takes_no_cursor_away(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await person.press("p")
        person.app.control.edit({"train.max_steps": 1})
        await person.until_heard(Refused, command="Adjust")
        await person.until(lambda: "the run would end at step 1" in person.notice)
        assert not person.cockpit.settings.editor.display
        await person.press(*"so")
        assert person.cockpit.query_one("#sample-prompt", Input).value == "so"


async def test_a_conflict_with_another_live_setting_is_refused(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await person.edit("optim.min_lr", "0.5")
        await person.until(lambda: problem(person), "a sentence")
        assert "optim.min_lr 0.5 is above optim.learning_rate" in problem(person)
        assert person.cockpit.settings.editor.display  # still there to be mended
        assert person.cockpit.settings.editor.value == "0.5"
        assert not person.heard(Adjusted)


async def test_a_new_run_takes_the_edits_and_the_old_one_is_kept(open_app: Open) -> None:
    async with open_app() as person:
        step = await person.start_and_pause()
        first = person.run
        await person.edit("model.n_layer", "2")
        draft = person.app.control.draft
        assert draft.edits == {"model.n_layer": 2}
        assert person.cockpit.settings.border_subtitle == "1 edited"
        await person.press("escape", "n")
        dialog = cast(NewRunDialog, person.app.screen)
        assert isinstance(dialog, NewRunDialog)
        assert "model.n_layer  1 → 2" in str(dialog.query_one("#question", Static).content)
        await person.press("escape")
        await person.pilot.pause(0.1)
        assert person.run == first

        await person.press("n", "enter")
        await person.until(lambda: len(person.heard(RunOpened)) == 2)
        await person.until_state(State.RUNNING)
        assert person.run != first
        assert read_config(person.run / "config.toml").model.n_layer == 2
        assert read_config(first / "config.toml").model.n_layer == 1
        assert checkpoints(first) == [step]  # saved before it gave way
        assert draft.edits == {}
        assert person.cockpit.settings.border_subtitle == ""


async def test_conflicts_are_explained_and_no_run_begins(open_app: Open) -> None:
    async with open_app() as person:
        said = "model.n_embd 64 is not divisible by model.n_head 3: try n_embd 63"
        await person.edit("model.n_head", "3")
        assert problem(person) == said
        await person.press("escape", "space")
        assert person.notice == said
        assert person.status.state is State.IDLE
        assert not person.app.control.launch.runs_dir.exists()

        rows, panel = person.cockpit.settings.list, person.cockpit.settings
        await person.press("e")
        assert str(rows.get_option("model.n_embd").prompt).startswith("! n_embd")
        assert str(panel.border_subtitle).endswith("1 conflict")
        rows.go_to("model.n_layer")
        await person.until(lambda: problem(person) == "", "another setting")
        rows.go_to("model.n_embd")
        await person.until(lambda: problem(person) == said, "the other of the two")
        await person.edit("model.n_embd", "65", confirm=False)
        assert problem(person) == said.replace("64", "65").replace("63", "66")  # while it is typed
        await person.clear()
        await person.type("63")  # what was advised
        assert problem(person) == ""
        await person.press("enter")
        assert person.notice == ""
        await person.press("escape")
        await person.start_and_pause()
        first = person.run

        await person.edit("model.n_head", "4")
        await person.press("escape", "n")
        assert person.app.screen is person.cockpit  # it does not even ask
        assert "not divisible by model.n_head 4" in person.notice
        assert person.run == first


async def test_groups_fold(open_app: Open) -> None:
    often = [one for one in SETTINGS.values() if one.section == "model" and not one.seldom]
    in_group = len(often) + 1  # and what leads to the others
    async with open_app() as person:
        await person.press("e", "home")
        rows = person.cockpit.settings.list
        before = rows.option_count
        await person.press("enter")
        assert rows.option_count == before - in_group
        await person.press("right")
        assert rows.option_count == before
        await person.press("down", "left")
        assert (rows.option_count, rows.highlighted_key) == (before - in_group, "model")


async def test_what_is_seldom_changed_is_folded_away_behind_its_number(open_app: Open) -> None:
    seldom = [key for key, one in SETTINGS.items() if key.startswith("model.") and one.seldom]
    async with open_app() as person:
        await person.press("e", "home")
        rows = person.cockpit.settings.list
        before = rows.option_count
        assert f"▸ {len(seldom)} more" in str(rows.get_option("model.*").prompt)
        rows.highlighted = rows.get_option_index("model.*")
        await person.press("enter")
        assert rows.option_count == before + len(seldom)
        await person.press("down", "left")
        assert (rows.option_count, rows.highlighted_key) == (before, "model.*")
        rows.go_to("model.n_gram")
        assert rows.highlighted_key == "model.n_gram"


async def test_an_edit_made_while_the_run_is_prepared_is_not_forgotten(
    open_app: Open, preparation: threading.Event
) -> None:
    async with open_app() as person:
        await person.press("space")
        await person.until_state(State.PREPARING)
        await person.edit("optim.learning_rate", "2e-3")
        preparation.set()
        event = await person.until_heard(Adjusted)
        assert event.changes == {"optim.learning_rate": [0.003, 0.002]}
        assert person.app.control.draft.edits == {}


async def test_the_prompt_is_edited_and_sampled_from(open_app: Open) -> None:
    async with open_app() as person:
        step = await person.start_and_pause()
        await person.press("p")
        await person.type("The ")
        await person.press("enter")
        started = await person.until_heard(SampleStarted, automatic=False, step=step)
        assert started.settings["prompt"] == "The "
        await person.until_heard(SampleFinished, sample=started.sample)
        record = person.cockpit.samples.current
        assert record and record.settings["prompt"] == "The "
        await person.press("enter")  # once more, nothing changed
        await person.until(lambda: len(person.heard(SampleStarted, automatic=False)) == 2)
        await person.press("escape")
        assert person.cockpit.focused is None


async def test_enter_takes_what_was_typed_in_all_fields(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await person.press("p", *"The ", "tab")
        await person.clear()
        await person.press(*"0.5", "enter")
        started = await person.until_heard(SampleStarted, automatic=False)
        assert (started.settings["prompt"], started.settings["temperature"]) == ("The ", 0.5)


async def test_unknown_characters_in_the_prompt_are_named(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await person.press("p")
        await person.type("caf☃")
        await person.press("enter")
        await person.until_heard(Refused)
        assert "'☃'" in problem(person, "#sample-problem")
        await person.pilot.pause(0.1)
        assert not person.heard(SampleStarted, automatic=False)  # not of the old prompt either
        await person.press("backspace", "enter")
        started = await person.until_heard(SampleStarted, automatic=False)
        assert started.settings["prompt"] == "caf"
        assert problem(person, "#sample-problem") == ""


async def test_an_invalid_temperature_is_explained(open_app: Open) -> None:
    async with open_app() as person:
        await person.press("p", "tab")
        await person.clear()
        await person.press(*"hot", "enter")
        assert (
            problem(person, "#sample-problem") == "sample.temperature must be a number, not 'hot'"
        )
        await person.press("escape")
        assert problem(person, "#sample-problem") == ""
        assert person.cockpit.query_one("#sample-temperature", Input).value == "0.8"


async def test_a_search_finds_names_before_help(open_app: Open) -> None:
    async with open_app() as person:
        await person.press("e", "/", *"lear", "enter")
        assert person.cockpit.settings.list.highlighted_key == "optim.learning_rate"


@pytest.mark.parametrize(
    ("words", "key"),
    [
        ("lr", "optim.learning_rate"),
        ("dtype", "system.precision"),
        ("layers", "model.n_layer"),
        ("wd", "optim.weight_decay"),
        ("context", "model.block_size"),
    ],
)
async def test_a_search_knows_the_short_and_other_names(
    open_app: Open, words: str, key: str
) -> None:
    async with open_app() as person:
        await person.press("e", "/", *words, "enter")
        assert person.cockpit.settings.list.highlighted_key == key


async def test_a_search_that_finds_nothing_says_so(open_app: Open) -> None:
    async with open_app() as person:
        await person.press("e", "/", *"zzzz")
        settings = person.cockpit.settings
        (row,) = settings.list.options
        assert str(row.prompt) == "no setting matches “zzzz”"
        assert str(settings.query_one("#setting-help", Static).render()) == ""
        await person.press("enter")
        assert {"enter", "backspace"}.isdisjoint(person.footer())
        await person.press("escape")
        assert person.footer()["enter"] == "Change"


async def test_single_keys_are_letters_in_a_field(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        count = len(person.heard(SampleStarted))
        assert {"s", "n", "q"} <= person.footer().keys()
        await person.press("p")
        prompt = person.cockpit.query_one("#sample-prompt", Input)
        assert not {"s", "n", "q"} & person.footer().keys()
        await person.type("q n s.[]")
        assert prompt.value == "q n s.[]"
        await person.pilot.pause(0.1)
        assert person.app.return_value is None
        assert person.app.screen is person.cockpit
        assert len(person.heard(SampleStarted)) == count
        assert person.status.state is State.PAUSED

        await person.press("escape")
        assert person.cockpit.focused is None
        assert {"s", "n", "q"} <= person.footer().keys()
        assert prompt.value == ""  # what was not confirmed is gone


async def test_letters_that_come_fast_are_no_keys(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        for key in "pqnq":  # all at once, as over a slow connection
            person.app.post_message(events.Key(key, key))
        await person.until(lambda: isinstance(person.cockpit.focused, Input))
        await person.press("a")
        assert person.app.screen is person.cockpit
        assert person.app.return_value is None


async def test_a_setting_that_needs_a_resume_waits_for_it(open_app: Open) -> None:
    async with open_app() as person:
        step = await person.start_and_pause()
        await person.edit("system.threads", "2")
        assert person.app.control.draft.edits == {"system.threads": 2}
        assert person.cockpit.settings.border_subtitle == "1 at resume"
        await person.press("escape", "space")
        await person.until(lambda: len(person.heard(RunOpened)) == 2)
        await person.until(lambda: person.status.step > step)
        assert person.heard(RunOpened)[-1].step == step
        assert person.heard(RunOpened)[-1].runtime["threads"] == 2
        assert person.app.control.draft.edits == {}
        assert [one["detail"]["threads"] for one in person.journal("runtime")] == [1, 2]


async def test_with_muon_it_is_said_what_each_rate_governs(open_app: Open) -> None:
    async with open_app({"optim.optimizer": "muon"}) as person:
        panel = person.cockpit.settings
        help = panel.query_one("#setting-help", Static)
        for key, words in (("learning_rate", "(AdamW)"), ("muon_lr", "the matrices of the blocks")):
            panel.list.go_to(f"optim.{key}")
            await person.until(lambda words=words: words in str(help.render()))  # type: ignore[misc]
        person.cockpit.edit({"optim.optimizer": "adamw"})
        assert "no effect now" in str(help.render()) and "with Muon" not in str(help.render())


async def test_where_a_description_is_cut_the_key_that_shows_all_of_it_is_told(
    open_app: Open,
) -> None:
    async with open_app({"optim.optimizer": "muon"}, size=(80, 24)) as person:
        panel = person.cockpit.settings
        detail = panel.query_one(Detail)
        await person.press("e")
        panel.list.go_to("optim.learning_rate")
        await person.until(lambda: detail.border_title == " … ? shows all ", "what is cut")
        panel.list.go_to("train.max_steps")
        await person.until(lambda: not detail.border_title, "a description that fits")
        panel.list.go_to("optim.learning_rate")
        await person.press("enter")
        await person.until(lambda: detail.border_title == " … f1 shows all ", "a key for a field")
        person.app.preferences.set_key("app.help", "f2")
        await person.press("escape")
        await person.until(lambda: detail.border_title == " … f2 shows all ", "the key in force")
        await person.pilot.resize_terminal(80, 50)
        await person.until(lambda: not detail.border_title, "room for all of it")


async def test_help_has_all_that_the_panel_tells_of_a_setting(open_app: Open) -> None:
    async with open_app({"optim.optimizer": "muon"}) as person:
        panel = person.cockpit.settings
        assert "With Muon for embeddings" in _explained(panel, "optim.learning_rate")
        assert "No effect now: " in _explained(panel, "data.vocab_size")
        await person.edit("train.batch_size", "8")
        assert "Before the edit 4." in _explained(panel, "train.batch_size")


def _explained(panel: SettingsPanel, key: str) -> str:
    panel.list.go_to(key)
    return panel.explain()


def test_a_row_is_laid_out_for_the_width_in_which_it_is_painted() -> None:
    """The first paint comes before the list hears of its size."""
    rows = SettingsList(Draft(preset_config("tiny")))
    one = SETTINGS["model.position"]
    assert rows._setting_row(one, 30).plain == f"+ position{' ' * 13}learned"
    assert rows._setting_row(one, 18).plain == "+ position learned"
    assert rows._setting_row(one, 17).plain == "+ position …arned"
