"""Presets in the app: listed, compared with the draft, taken, saved by name and deleted."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
from textual.containers import VerticalScroll

from data.errors import InputError
from engine.config.presets import PRESETS, preset_config
from engine.config.schema import Config
from engine.runs.folder import read_run_config
from tests.faults.hostile_files import INSTEAD, TOML_VALUES
from tests.tui.conftest import Open, Person
from tui.app import summary
from tui.control.own_presets import (
    delete_preset,
    find_preset,
    named_config,
    own_presets,
    presets_folder,
    save_preset,
)
from tui.screens.dialogs import NewRunDialog
from tui.screens.presets import DeletePresetDialog, PresetsScreen


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    find_preset.cache_clear()


async def to_presets(person: Person) -> PresetsScreen:
    await person.press("ctrl+o")
    await person.until(lambda: person.shows(PresetsScreen))
    screen = person.app.screen
    assert isinstance(screen, PresetsScreen)
    await person.until(lambda: screen.chosen is not None)
    return screen


async def go_to(person: Person, screen: PresetsScreen, name: str) -> None:
    screen.options.highlighted = screen.options.get_option_index(name)
    await person.until(lambda: screen.chosen and screen.chosen.name == name)


def words(screen: PresetsScreen) -> str:
    return str(screen.query_one("#presets-words").render())


# -- their files -----------------------------------------------------------------------------------


def test_a_saved_preset_has_its_settings_and_names_what_it_changes() -> None:
    path = save_preset("mine", "fast", {**PRESETS["fast"].values, "model.n_layer": 3})
    assert path == presets_folder() / "mine.toml"
    assert tomllib.loads(path.read_text())["preset"] == "fast"
    assert named_config("mine").preset == "mine"
    assert named_config("mine").differences(preset_config("fast")) == {"model.n_layer": (3, 4)}
    (own,) = own_presets()
    assert own.preset.help == "fast with n_layer 3."
    save_preset("again", "mine", {"model.n_layer": 5})  # of the built-in one, still
    assert [one.built_on for one in own_presets()] == ["fast", "fast"]


@pytest.mark.parametrize("name", ["fast", "Fast", "", "..", "a/b", "a b", "-x", "x" * 101, "ä"])
def test_a_name_that_no_preset_can_have_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        save_preset(name, "fast", {})
    assert not presets_folder().exists()


@pytest.mark.parametrize("key", ["preset", "model", "model.n_layer", "data.corpus", "x"])
def test_a_hostile_value_is_a_problem_of_that_preset_alone(key: str) -> None:
    save_preset("good", "tiny", {"model.n_layer": 1})
    for value in TOML_VALUES:
        line = f"{key} = {value}\n"
        (presets_folder() / "bad.toml").write_text(line * 2 if value == "twice" else line)
        find_preset.cache_clear()
        bad, good = own_presets()
        assert good.problem == ""
        if bad.problem:
            assert "bad.toml" in bad.problem
            with pytest.raises(InputError):
                named_config("bad")
        assert (find_preset("bad") is None) == bool(bad.problem)


def test_something_else_in_their_place_is_a_problem_of_each() -> None:
    presets_folder().mkdir(parents=True)
    names = {instead.replace(" ", "-"): instead for instead in INSTEAD}
    for name, instead in names.items():
        INSTEAD[instead](presets_folder() / f"{name}.toml")
    fine = {one.name for one in own_presets() if not one.problem}
    assert fine == {"empty"}
    assert {one.name for one in own_presets()} == names.keys() - {"absent"}


def test_a_preset_that_names_itself_as_its_base_ends() -> None:
    presets_folder().mkdir(parents=True)
    (presets_folder() / "a.toml").write_text('preset = "b"\n')
    (presets_folder() / "b.toml").write_text('preset = "a"\n')
    assert [one.problem for one in own_presets()] == ["", ""]
    assert named_config("a").differences(Config()) == {}


def test_a_deleted_preset_is_gone_and_the_closest_one_is_named() -> None:
    save_preset("mine", "fast", {})
    with pytest.raises(InputError, match="did you mean 'mine'"):
        named_config("mien")
    delete_preset("mine")
    assert own_presets() == [] and find_preset("mine") is None


# -- the screen ------------------------------------------------------------------------------------


async def test_a_preset_is_taken_for_the_next_run_and_trained(open_app: Open) -> None:
    async with open_app() as person:
        control = person.app.control
        screen = await to_presets(person)
        assert screen.chosen and screen.chosen.name == "tiny"  # the one that it began with
        await go_to(person, screen, "multi-head")
        told = words(screen)
        assert "The lecture's model 3 of 7. New since self-attention: 4 heads of size 8." in told
        assert "n_head" in told and "7,553 parameters" not in told and "parameters" in told
        await person.press("enter")
        assert person.app.screen is person.cockpit
        assert "multi-head is taken over" in person.told()
        assert control.draft.base.preset == "multi-head" and control.draft.edits == {}
        # the text, and what was said of the machine, stay
        assert control.draft.base.data.corpus == control.launch.config.data.corpus
        assert control.draft.base.system.threads == 1
        assert "--preset multi-head" in summary(control)
        await person.press("u")
        assert control.draft.base.preset == "tiny"
        await person.press("ctrl+o")
        await person.until(lambda: person.shows(PresetsScreen))
        await go_to(person, person.app.screen, "bigram")  # type: ignore[arg-type]
        await person.press("enter")
        person.cockpit.edit({"eval.batches": 1, "sample.max_tokens": 5})
        await person.start_and_pause()
        assert person.run.name == "bigram-1"
        assert read_run_config(person.run).model.architecture == "bigram"


async def test_edits_are_replaced_and_come_back(open_app: Open) -> None:
    async with open_app() as person:
        draft = person.app.control.draft
        person.cockpit.edit({"train.seed": 7})
        screen = await to_presets(person)
        await go_to(person, screen, "layer-norm")
        assert "replaces 1 edited setting; u undoes that" in words(screen)
        await person.press("enter")
        assert "replaces 1 edited setting (u undoes that)" in person.told()
        assert draft.edits == {}
        await person.press("u")
        assert draft.edits == {"train.seed": 7} and draft.base.preset == "tiny"


async def test_beside_an_open_run_a_preset_waits_for_the_next_one(open_app: Open) -> None:
    async with open_app() as person:
        control = person.app.control
        await person.start_and_pause()
        rate = control.draft.base.optim.learning_rate
        screen = await to_presets(person)
        await go_to(person, screen, "self-attention")
        await person.press("enter")
        assert "self-attention is prepared for the next run: n starts it" in person.told()
        # the open run keeps its settings, also when it goes on
        assert control.draft.base.optim.learning_rate == rate
        await person.start()
        await person.pause()
        assert control.draft.base.optim.learning_rate == rate
        assert control.draft.next_config().optim.learning_rate == 1e-3
        await person.press("n")
        await person.until(lambda: person.shows(NewRunDialog))
        assert "With the preset self-attention" in str(
            person.app.screen.query_one("#question").render()
        )
        await person.press("enter")
        await person.until(lambda: person.run.name == "self-attention-1")
        assert read_run_config(person.run).optim.learning_rate == 1e-3
        assert control.draft.waiting == {} and control.draft.prepared is None


async def test_a_long_question_leaves_its_answers_on_a_small_screen(open_app: Open) -> None:
    async with open_app(size=(80, 24)) as person:
        await person.start_and_pause()
        await go_to(person, await to_presets(person), "gpt2")
        await person.press("enter", "n")
        await person.until(lambda: person.shows(NewRunDialog))
        dialog = person.app.screen.query_one("#dialog")
        answers = person.app.screen.query(".answer")
        assert len(answers) == 2
        assert all(dialog.content_region.contains_region(one.region) for one in answers)
        scrolled = person.app.screen.query_one(VerticalScroll)
        assert scrolled.max_scroll_y > 0
        await person.press("pagedown")
        await person.until(lambda: scrolled.scroll_y > 0, "the rest of the question")


async def test_the_settings_are_saved_as_a_preset_and_deleted_again(open_app: Open) -> None:
    async with open_app() as person:
        person.cockpit.edit({"model.n_layer": 3})
        screen = await to_presets(person)
        await person.press("s")
        await person.type("mine")
        await person.press("enter")
        assert "gpt-tui --preset mine" in person.told()
        assert screen.chosen and screen.chosen.name == "mine"
        assert named_config("mine").model.n_layer == 3
        await person.press("s")
        await person.type("mine")
        await person.press("enter")
        assert "enter again replaces it" in person.told()
        await person.press("enter")
        assert "saved as" in person.told()
        await person.press("delete")
        await person.until(lambda: person.shows(DeletePresetDialog))
        await person.press("escape")
        assert find_preset("mine") is not None
        await person.press("delete")
        await person.until(lambda: person.shows(DeletePresetDialog))
        await person.press("enter")
        await person.until(lambda: person.app.screen is screen)
        assert own_presets() == []
        await go_to(person, screen, "tiny")
        await person.press("delete")
        assert "a built-in preset cannot be deleted" in person.told()


async def test_a_folder_that_cannot_be_written_is_told(open_app: Open) -> None:
    presets_folder().write_text("in the way")
    async with open_app() as person:
        await to_presets(person)
        await person.press("s")
        await person.type("mine")
        await person.press("enter")
        assert "the preset is not saved" in person.told()


async def test_a_filter_shows_what_matches_and_esc_shows_all(open_app: Open) -> None:
    async with open_app() as person:
        screen = await to_presets(person)
        await person.press("slash")
        await person.type("lecture norm")
        assert screen.chosen and screen.chosen.name == "layer-norm"
        await person.type("zz")
        assert "no preset has these words: esc shows all" in words(screen)
        await person.press("escape")
        assert screen.options.option_count > len(PRESETS)
        await person.press("escape")
        assert person.app.screen is person.cockpit


async def test_a_broken_preset_is_listed_with_its_problem(open_app: Open) -> None:
    presets_folder().mkdir(parents=True)
    (presets_folder() / "broken.toml").write_text("[model]\nn_layers = 3\n")
    async with open_app(size=(120, 40)) as person:
        screen = await to_presets(person)
        await go_to(person, screen, "broken")
        assert "It cannot be used." in words(screen) and "n_layer" in words(screen)
        await person.press("enter")
        assert person.app.screen is screen and "cannot be used" in person.told()


async def test_a_click_shows_a_preset_and_a_second_one_takes_it(open_app: Open) -> None:
    async with open_app() as person:
        screen = await to_presets(person)
        at = screen.options.get_option_index("nanogpt")
        await person.pilot.click("#presets-list", offset=(10, at))
        assert screen.chosen and screen.chosen.name == "nanogpt"
        assert person.app.screen is screen
        await person.pilot.pause(0.6)  # not a double click
        await person.pilot.click("#presets-list", offset=(10, at))
        await person.until(lambda: person.app.screen is person.cockpit)
        assert person.app.control.draft.base.preset == "nanogpt"


def test_a_run_of_a_deleted_preset_is_a_whole_configuration(tmp_path: Path) -> None:
    import tomli_w

    from tui.commands.app import _parser
    from tui.commands.options import config_of

    save_preset("mine", "tiny", {"model.n_layer": 3})
    file = tmp_path / "config.toml"
    file.write_text(tomli_w.dumps(named_config("mine").to_dict()))
    os.unlink(presets_folder() / "mine.toml")
    find_preset.cache_clear()
    config = config_of(_parser().parse_args(["--config", str(file)]))
    assert config.preset == "mine" and config.model.n_layer == 3
