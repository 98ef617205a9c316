"""Selecting is not changing; what was changed can be undone; leaving a field loses no key."""

from __future__ import annotations

import pytest
from textual.command import CommandPalette

from engine.protocol import Adjusted
from tests.tui.conftest import Open, Person
from tui.widgets.choice_list import ChoiceList
from tui.widgets.settings_list import SettingsList

BOX = (120, 40)


async def go_to(person: Person, key: str) -> None:
    await person.press("e")
    person.cockpit.settings.list.go_to(key)
    await person.pilot.pause(0)


@pytest.mark.parametrize(
    ("key", "now", "other"),
    [("optim.schedule", "cosine", "constant"), ("model.bias", False, True)],
)
async def test_enter_on_a_choice_or_a_switch_opens_its_values_and_enter_there_changes(
    open_app: Open, key: str, now: object, other: object
) -> None:
    async with open_app(size=BOX) as person:
        await go_to(person, key)
        draft = person.app.control.draft
        await person.press("enter")
        assert isinstance(person.cockpit.focused, ChoiceList)
        assert draft.value(key) == now
        await person.press("escape")  # as it was
        assert isinstance(person.cockpit.focused, SettingsList)
        assert draft.value(key) == now
        choices = person.cockpit.settings.choices
        await person.press("enter")
        wanted = "on" if other is True else str(other)
        while choices.value != wanted:
            await person.press("up" if other is True else "down")
        assert draft.value(key) == now, "the cursor alone changes nothing"
        await person.press("enter")
        assert draft.value(key) == other
        assert isinstance(person.cockpit.focused, SettingsList)


async def test_a_click_shows_and_the_second_one_opens(open_app: Open) -> None:
    async with open_app(size=BOX) as person:
        await person.start_and_pause()
        person.cockpit.settings.list.go_to("optim.learning_rate")
        await person.click_setting("optim.schedule")
        panel, draft = person.cockpit.settings, person.app.control.draft
        assert panel.list.highlighted_key == "optim.schedule"
        assert not panel.is_editing
        await person.click_setting("optim.schedule")
        assert isinstance(person.cockpit.focused, ChoiceList)
        assert draft.base.optim.schedule == "cosine" and not person.heard(Adjusted)


async def test_the_mouse_alone_reaches_every_command(open_app: Open) -> None:
    async with open_app(size=BOX) as person:
        await person.pilot.click("StatusBar")
        await person.until(lambda: person.shows(CommandPalette), "the command palette")
        await person.press("escape")
        person.cockpit.settings.list.go_to("model.bias")
        await person.click_setting("model.bias")
        await person.until(lambda: isinstance(person.cockpit.focused, ChoiceList), "its values")
        for _ in range(2):
            assert person.app.control.draft.value("model.bias") is False
            await person.pilot.click(ChoiceList, offset=(3, 0))
            await person.pilot.pause(0)
        await person.until(lambda: person.app.control.draft.value("model.bias") is True)


async def test_u_undoes_live_and_waiting_changes_one_by_one(open_app: Open) -> None:
    async with open_app(size=BOX) as person:
        await person.start_and_pause()
        for number, value in enumerate(("2e-3", "1e-3")):
            await person.edit("optim.learning_rate", value)
            await person.until(lambda n=number: len(person.heard(Adjusted)) == n + 1)  # type: ignore[misc]
            await person.back_to_keys()
        await person.edit("train.seed", "7")
        await person.back_to_keys()
        draft = person.app.control.draft
        assert draft.next_edits == {"train.seed": 7}
        await person.press("u")
        assert draft.next_edits == {} and "undone: train.seed 1337 again" in person.told()
        for rate in (2e-3, 3e-3):
            await person.press("u")
            await person.until(lambda r=rate: draft.base.optim.learning_rate == r)  # type: ignore[misc]
            assert f"undone: optim.learning_rate {rate:g} again" in person.told()
        await person.press("u")
        assert person.told() == "there is nothing more to undo"
        journal = [one["detail"] for one in person.journal("adjusted")]
        assert [one.get("undo", False) for one in journal] == [False, False, True, True]
        assert journal[-1]["changes"] == {"optim.learning_rate": [0.002, 0.003]}


async def test_what_cannot_be_undone_now_can_be_later(open_app: Open) -> None:
    async with open_app(size=BOX) as person:
        await person.start_and_pause()
        control = person.app.control
        control._changed.append(({"train.max_steps": 1}, None))  # the run has gone on since
        person.cockpit.refresh_bindings()
        await person.press("u")
        await person.until(lambda: "would end at step 1" in person.notice, "why not")
        assert "undone" not in person.told()
        assert control.can_undo


@pytest.mark.parametrize("way", ["tab", "click"])
async def test_a_valid_value_is_kept_when_its_field_is_left_and_the_keys_stay_alive(
    open_app: Open, way: str
) -> None:
    async with open_app(size=BOX) as person:
        await person.start_and_pause()
        await person.edit("optim.learning_rate", "2e-3", confirm=False)
        await leave_field(person, way)
        await person.until_heard(Adjusted, changes={"optim.learning_rate": [0.003, 0.002]})
        await keys_are_alive(person)


@pytest.mark.parametrize("way", ["tab", "click"])
async def test_an_invalid_value_is_dropped_when_its_field_is_left_and_that_is_told(
    open_app: Open, way: str
) -> None:
    async with open_app(size=BOX) as person:
        await person.start_and_pause()
        await person.edit("optim.learning_rate", "fast", confirm=False)
        await leave_field(person, way)
        told = "must be a number, not 'fast': optim.learning_rate stays as it was"
        await person.until(lambda: told in person.told())
        await keys_are_alive(person)
        assert not person.heard(Adjusted)


async def test_a_terminal_that_loses_the_focus_leaves_the_field_as_it_is(open_app: Open) -> None:
    from textual.events import AppBlur, AppFocus

    async with open_app(size=BOX) as person:
        await person.edit("optim.learning_rate", "2e-", confirm=False)
        person.app.post_message(AppBlur())
        await person.pilot.pause(0.05)
        person.app.post_message(AppFocus())
        await person.until(lambda: person.cockpit.settings.editor.has_focus, "the field")
        await person.type("4")
        assert person.cockpit.settings.editor.value == "2e-4"


async def test_a_fresh_app_survives_tab_and_escape_in_a_field(open_app: Open) -> None:
    async with open_app(size=BOX) as person:
        await person.press("e", "down", "enter", "tab", "escape")
        await keys_are_alive(person)


async def leave_field(person: Person, way: str) -> None:
    if way == "tab":
        await person.press("tab")
    else:
        await person.pilot.click("#sample-prompt")
    assert not person.cockpit.settings.is_editing


async def keys_are_alive(person: Person) -> None:
    """Escape leads to the cockpit, where space trains."""
    await person.press("escape", "escape")
    assert person.cockpit.focused is None
    step = person.status.step
    await person.press("space")
    await person.until(lambda: person.status.step > step, "training")


async def test_up_and_down_step_a_number_and_enter_takes_it(open_app: Open) -> None:
    async with open_app(size=BOX) as person:
        await go_to(person, "optim.learning_rate")
        await person.press("enter", "up", "up", "down")
        assert person.cockpit.settings.editor.value == "0.005"
        draft = person.app.control.draft
        assert draft.edits == {}
        await person.press("enter")
        assert draft.edits == {"optim.learning_rate": 0.005}


async def test_a_setting_goes_back_to_the_preset_the_default_or_the_runs_value(
    open_app: Open,
) -> None:
    async with open_app(size=BOX) as person:
        draft = person.app.control.draft
        draft.edit("model.n_layer", 3)
        known = [(1, "before the edit"), (2, "preset tiny"), (4, "default")]
        assert draft.known_values("model.n_layer") == known
        await go_to(person, "model.n_layer")
        await person.press("backspace")
        assert draft.edits == {"model.n_layer": 3}
        await person.press("down", "enter")
        assert draft.edits == {"model.n_layer": 2}
        assert draft.is_changed("train.max_steps") and not draft.is_changed("model.n_layer")


async def test_a_search_shows_the_settings_with_all_words_and_escape_shows_all(
    open_app: Open,
) -> None:
    async with open_app(size=BOX) as person:
        await person.press("e", "slash", *"muon peak")
        shown = person.cockpit.settings.list
        assert [option.id for option in shown.options] == ["optim.muon_lr"]
        detail = str(person.cockpit.query_one("#setting-help").render())
        assert "no effect now: it applies to optim.optimizer muon" in detail
        await person.press("enter", "enter")
        assert person.cockpit.settings.editor.has_focus
        await person.press("escape", "escape")
        assert len(shown.options) > 20 and shown.has_focus
        await person.press("escape")
        assert person.cockpit.focused is None
