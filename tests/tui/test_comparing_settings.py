"""What differs from the last run, and from the preset, is shown on demand."""

from __future__ import annotations

from tests.tui.conftest import Open, Person
from tui.widgets.settings_list import SettingsList


def rows(person: Person) -> dict[str, str]:
    """The settings that are listed, with their values as they are printed."""
    shown = person.cockpit.settings.list
    return {str(one.id): str(one.prompt).split(maxsplit=1)[-1] for one in shown.options}


async def compare(person: Person, title: str) -> None:
    await person.press("d")
    await person.until(lambda: person.cockpit.settings.border_title == title, title)


async def test_the_last_run_the_preset_and_everything_again(open_app: Open) -> None:
    async with open_app({"train.batch_size": 8}) as person:
        await person.start_and_pause()
        first = person.run.name
    async with open_app({"optim.learning_rate": 0.002}) as person:
        await person.press("e")
        everything = rows(person).keys()
        await compare(person, f"next run against {first}")
        assert rows(person).keys() == {"optim.learning_rate", "train.batch_size"}
        assert rows(person)["train.batch_size"].endswith("8 → 4 seqs")
        await person.edit("train.batch_size", "8")
        await compare(person, f"next run against {first}")
        assert rows(person).keys() == {"optim.learning_rate"}
        await compare(person, "next run against preset tiny")
        assert "train.batch_size" in rows(person)
        await compare(person, "next run · settings")
        assert rows(person).keys() == everything


async def test_an_open_run_is_the_last_one_while_edits_wait(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await person.edit("train.seed", "7")
        await compare(person, f"next run against {person.run.name}")
        assert rows(person).keys() == {"train.seed"}
        await person.press("escape")
        assert person.cockpit.settings.border_title == "next run · settings"
        await person.press("escape")
        assert person.cockpit.settings.border_title == "this run · settings"
        assert isinstance(person.cockpit.focused, SettingsList)
        await person.press("escape")
        assert person.cockpit.focused is None
