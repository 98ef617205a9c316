"""The first screen: what space starts, what edits change, and the keys that matter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.config.presets import preset_config
from engine.config.schema import Config
from engine.protocol import State
from tests.engine.run_folders import write_run
from tests.tui.conftest import Open, Person
from tui.control.next_run import next_run, surroundings
from tui.control.run import RunControl
from tui.screens.presets import PresetsScreen
from tui.widgets.status_bar import StatusBar


def shown(person: Person) -> str:
    return str(person.cockpit.welcome.render())


async def until_known(person: Person) -> None:
    await person.until(lambda: person.cockpit.welcome.around is not None)


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (120, 40), (200, 50)])
async def test_it_says_what_space_will_start(
    open_app: Open, runs_dir: Path, size: tuple[int, int]
) -> None:
    for name in ("one", "two"):
        write_run(runs_dir, name)
    async with open_app(size=size) as person:
        await until_known(person)
        text = shown(person)
        lines = text.splitlines()
        assert "Press space to train the preset tiny" in text
        assert max(map(len, lines)) <= person.cockpit.welcome.size.width
        assert len(lines) <= person.cockpit.welcome.size.height
        assert "parameters" in text and "steps" in text
        assert "^o presets" in text or "ctrl+o presets" in text
        if size[1] >= 24:
            assert "seconds on a CPU" in text and "small.txt" in text and "CPU, 1 core" in text
            (keys,) = [line for line in lines if "D data" in line]
            assert "r 2 earlier runs" in keys and "? help" in keys


async def test_the_effect_of_an_edit_is_shown_at_once(open_app: Open) -> None:
    async with open_app({"data.corpus": "tinyshakespeare"}) as person:
        before, twice = next_run(person.app.control.draft.base).parameters, 2
        person.cockpit.edit({"model.n_layer": twice, "train.batch_size": 8})
        after = next_run(person.app.control.draft.config()).parameters
        text = shown(person)
        assert f"{before:,} → {after:,} parameters" in text
        assert "12.8M → 25.6M tokens" in text
        assert "n_layer 2 · batch_size 8" in text
        assert "with your changes" in text


async def test_its_keys_can_be_clicked_and_it_goes_once_there_is_a_run(open_app: Open) -> None:
    async with open_app() as person:
        await until_known(person)
        lines = shown(person).splitlines()
        row = next(y for y, line in enumerate(lines) if "presets" in line)
        at = lines[row].index("presets") - 3
        await person.pilot.click("#welcome", offset=(at, row))
        await person.until(lambda: person.shows(PresetsScreen))
        await person.press("escape")
        await person.start()
        assert not person.cockpit.welcome.display and person.cockpit.chart.display


async def test_a_gpu_that_does_not_work_after_all_gives_the_preset_of_the_cpu(
    open_app: Open, config: Config
) -> None:
    other = config.replace({"train.batch_size": 3})
    async with open_app(surely=lambda: other) as person:
        await person.until(lambda: person.app.control.draft.base == other)
        await until_known(person)
        person.cockpit.edit({"train.batch_size": 5})
        assert not person.app.control.correct(config)  # what was chosen stays
        assert person.app.control.draft.value("train.batch_size") == 5


async def test_until_the_run_that_was_asked_for_is_open_its_name_is_shown(
    open_app: Open, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(runs_dir, "one")
    monkeypatch.setattr(RunControl, "begin", lambda self: None)  # it takes its time
    async with open_app(run=run) as person:
        bar = person.cockpit.query_one(StatusBar)
        assert "opening one…" in str(bar.render())
        assert str(person.app.control.draft.base.data.corpus) not in str(bar.render())
        assert person.cockpit.chart.empty_text == "opening one…"
        await person.press("space")
        assert person.told() == "training begins once the run is open"


async def test_it_is_skipped_when_a_run_was_asked_for(open_app: Open, runs_dir: Path) -> None:
    run = write_run(runs_dir, "one")
    async with open_app(run=run) as person:
        assert not person.cockpit.welcome.display
        await person.until(lambda: person.status.state is not State.PREPARING)
        assert not person.cockpit.welcome.display


def test_a_run_whose_length_depends_on_an_unknown_text_has_no_figures() -> None:
    config = Config().replace({"train.max_epochs": 2, "data.corpus": "/nowhere"})
    sizes = next_run(config)
    assert (sizes.steps, sizes.tokens, sizes.seconds) == (None, None, None)
    assert not sizes.is_exact
    known = next_run(preset_config("gpt-from-scratch"))
    assert known.is_exact and known.steps == 490_164


def test_surroundings_name_what_is_not_there(tmp_path: Path) -> None:
    config = Config().replace({"system.device": "cpu", "system.threads": 3})
    config = replace(config, data=replace(config.data, corpus="/nowhere/text.txt"))
    found = surroundings(config, tmp_path / "none")
    assert found.text == "text.txt (there is no such file)"
    assert (found.device, found.on_cpu, found.runs) == ("CPU, 3 cores", True, 0)
