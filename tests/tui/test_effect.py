"""What a change of a setting would do is told before it is applied."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Static

from engine.config.presets import preset_config
from engine.config.setting import Value
from engine.protocol import Adjusted
from tests.tui.conftest import Open, Person
from tui.control.effect import Effect, effect_of
from tui.control.run import Launch, RunControl
from tui.widgets.settings_list import STEP

STARTS = "applies when training starts"


@pytest.mark.parametrize(
    ("key", "value", "figures"),
    [
        (
            "model.n_embd",
            128,
            ["103k → 402k parameters", "1.68 MB → 6.5 MB + activations", "seconds →"],
        ),
        ("optim.optimizer", "sgd", ["1.68 MB → 1.26 MB + activations"]),
        ("train.batch_size", 32, ["205k → 410k tokens", "seconds →"]),
        ("train.max_steps", 4000, ["205k → 2.05M tokens", "seconds →"]),
        ("optim.learning_rate", 1e-3, []),
    ],
)
def test_figures_that_change_are_told_from_old_to_new(
    tmp_path: Path, key: str, value: Value, figures: list[str]
) -> None:
    config = preset_config("tiny").replace({"system.device": "cpu", "system.threads": 1})
    effect = effect_of(RunControl(Launch(config, tmp_path), lambda event: None), key, value)
    assert effect and effect.when == STARTS
    assert len(effect.figures) == len(figures)
    assert all(part in told for part, told in zip(figures, effect.figures, strict=True))


def test_nothing_is_told_of_values_that_conflict(tmp_path: Path) -> None:
    control = RunControl(Launch(preset_config("tiny"), tmp_path), lambda event: None)
    assert effect_of(control, "model.n_embd", 65) is None


def told(person: Person) -> str:
    shown = person.cockpit.query_one("#setting-effect", Static)
    return str(shown.content) if shown.has_class("-shown") else ""


async def test_while_a_value_is_typed_or_chosen(open_app: Open) -> None:
    async with open_app() as person:
        await person.edit("model.n_embd", "128", confirm=False)
        assert "parameters" in told(person) and STARTS in told(person)
        await person.clear()
        assert not told(person)
        await person.press("escape")
        person.cockpit.settings.list.go_to("optim.optimizer")
        await person.press("enter")
        assert not told(person), "it has this value"
        await person.press("down")
        await person.until(lambda: "+ activations" in told(person), "the effect of muon")
        assert not person.app.control.draft.edits


async def test_with_a_run_it_says_when_it_applies(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        control = person.app.control
        live = effect_of(control, "optim.learning_rate", 1e-3)
        assert live == Effect((), "applies at the next step")
        new = effect_of(control, "model.n_layer", 3)
        assert new and new.when == "applies in a new run (n)"
        assert not new.figures[0].startswith("about"), "its characters are known"


async def test_arrows_at_the_row_step_a_number_by_mouse_alone(open_app: Open) -> None:
    async with open_app(size=(120, 40)) as person:
        await person.start_and_pause()
        shown = person.cockpit.settings.list
        await person.click_setting("optim.learning_rate", 4)
        assert shown.highlighted_key == "optim.learning_rate"
        for value in ("0.005", "0.01"):
            await person.until(lambda: arrow(person) > 0, "the arrows")
            await person.click_setting("optim.learning_rate", arrow(person))
            assert person.cockpit.settings.editor.value == value
        assert not person.heard(Adjusted), "it is not applied yet"
        assert "applies at the next step" in told(person)
        await person.pilot.click("KeysFooter", offset=(2, 0))  # enter
        await person.until_heard(Adjusted)
        assert person.app.control.draft.base.optim.learning_rate == 0.01


def arrow(person: Person) -> int:
    """The column of the arrow for the next larger value; -1 if there is none."""
    shown = person.cockpit.settings.list
    x, y = shown.content_region.offset
    row = person.row_of(str(shown.highlighted_key))
    for column in range(shown.size.width):
        if person.cockpit.get_style_at(x + column, y + row).meta.get(STEP) == 1:
            return column
    return -1
