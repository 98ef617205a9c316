"""The draft: a base, and edits that no run has taken over yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.errors import InputError
from engine.config.changes import format_options
from engine.config.presets import preset_config
from engine.config.setting import When
from tui.control.draft import Draft
from tui.control.run import Launch, RunControl


@pytest.fixture
def draft() -> Draft:
    return Draft(preset_config("tiny"))


def test_an_edit_covers_the_base(draft: Draft) -> None:
    draft.edit("model.n_layer", 3)
    assert draft.value("model.n_layer") == 3
    assert draft.base.model.n_layer == 2
    assert draft.value("model.n_embd") == 64


def test_an_edit_back_to_the_old_value_is_none(draft: Draft) -> None:
    draft.edit("model.n_layer", 3)
    draft.edit("model.n_layer", 2)
    assert draft.edits == {}
    draft.edit("model.n_layer", 2)
    assert draft.edits == {}


def test_a_run_is_done_with_the_edits_it_agrees_with(draft: Draft) -> None:
    draft.edit("model.n_layer", 3)
    draft.edit("model.n_embd", 128)
    draft.edit("system.threads", 2)
    draft.open_run(draft.base.replace({"model.n_layer": 3}), is_next=True)
    assert (draft.run_edits, draft.next_edits) == ({"system.threads": 2}, {"model.n_embd": 128})
    draft.rebase(draft.base.replace({"system.threads": 2}))
    assert draft.run_edits == {}


def test_conflicts_are_sentences_and_no_config_comes_of_them(draft: Draft) -> None:
    draft.edit("model.n_head", 3)
    (sentence,) = draft.conflicts()
    assert sentence == "model.n_embd 64 is not divisible by model.n_head 3: try n_embd 63"
    with pytest.raises(InputError, match="not divisible"):
        draft.next_config()
    draft.edit("model.n_embd", 96)
    assert draft.conflicts() == []
    assert draft.next_config().model.n_embd == 96
    assert draft.base.model.n_embd == 64


def test_edits_of_a_run_are_told_apart_by_when_they_may_change() -> None:
    draft = Draft(preset_config("tiny"), of_run=True)
    draft.edit("system.threads", 2)
    draft.edit("optim.learning_rate", 0.001)
    assert draft.edits_for(When.RESUME) == {"system.threads": 2}
    assert draft.edits_for(When.LIVE) == {"optim.learning_rate": 0.001}


def test_options_can_be_typed_in_a_shell(draft: Draft) -> None:
    draft.edit("model.n_layer", 3)
    draft.edit("system.compile", True)
    draft.edit("sample.prompt", "To be, or")
    assert format_options(draft.edits) == (
        "--set model.n_layer=3 --set system.compile=on --set 'sample.prompt=To be, or'"
    )


def test_steps_that_are_typed_turn_epochs_off_in_the_draft(tmp_path: Path) -> None:
    epochs = preset_config("tiny").replace({"train.max_epochs": 3})
    control = RunControl(Launch(epochs, tmp_path), lambda event: None)
    assert control.edit({"train.max_steps": 50}) == 0  # no run is open
    assert control.draft.edits == {"train.max_steps": 50, "train.max_epochs": 0.0}
    control.edit({"train.max_epochs": 2.0})
    assert control.draft.next_config().train.max_epochs == 2
