"""What may change in a run that exists, and what naming one setting does to another."""

from __future__ import annotations

import pytest

from data.errors import InputError
from engine.config.changes import (
    WHEN_TEXTS,
    check_fork,
    check_fork_end,
    why_not_in_fork,
    why_not_now,
    with_one_end,
)
from engine.config.schema import Config
from engine.config.setting import When


def test_steps_that_a_person_types_turn_epochs_off() -> None:
    epochs = Config().replace({"train.max_epochs": 3})
    typed = epochs.replace(with_one_end({"train.max_steps": 50}))
    assert (typed.train.max_steps, typed.train.max_epochs) == (50, 0)
    both = epochs.replace(with_one_end({"train.max_steps": 50, "train.max_epochs": 2}))
    assert (both.train.max_steps, both.train.max_epochs) == (50, 2)
    assert with_one_end({"train.seed": 1}) == {"train.seed": 1}


def test_the_schema_changes_nothing_that_was_not_named() -> None:
    epochs = Config().replace({"train.max_epochs": 3})
    assert epochs.replace({"train.max_steps": 50}).train.max_epochs == 3


@pytest.mark.parametrize(
    ("key", "live", "resume"),
    [
        ("optim.learning_rate", "", ""),
        ("system.threads", "when the run is resumed", ""),
        ("model.n_layer", "in a new run", "in a new run"),
    ],
)
def test_a_setting_may_change_live_at_resume_or_in_a_new_run(
    key: str, live: str, resume: str
) -> None:
    for now, effect in ((When.LIVE, live), (When.RESUME, resume), (When.NEW_RUN, "")):
        assert why_not_now(key, now) == (effect and f"{key} can change only {effect}")
    assert why_not_now("model.no_such_setting", When.LIVE) == ""
    assert set(WHEN_TEXTS) == set(When)


def test_a_fork_keeps_what_its_weights_were_made_for() -> None:
    kept = ("model.n_layer", "data.corpus", "optim.optimizer")
    assert all(map(why_not_in_fork, kept))
    assert not any(map(why_not_in_fork, ("model.dropout", "train.seed", "system.threads")))
    with pytest.raises(InputError, match="weights were made for") as refused:
        check_fork(kept)
    assert len(refused.value.problems) == len(kept)
    check_fork_end(3, 4)
    with pytest.raises(InputError, match="would begin at step 4"):
        check_fork_end(4, 4)
