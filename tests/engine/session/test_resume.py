"""Trust: a run that was stopped, killed or looked at ends with the bits of one left alone."""

from __future__ import annotations

import random
from typing import Any

import pytest

from engine.protocol import Adjust, Adjusted, Evaluate, Pause, Resume, Sample, Save, State, Warned
from engine.repair.verify import verify_files
from engine.session.rewind import visit
from engine.session.session import Session
from tests.engine.conftest import MakeConfig, Rig, assert_same_bits, bits, recorded_losses

HARD: dict[str, Any] = {
    "model__dropout": 0.2,
    "train__grad_accum_steps": 2,
    "system__micro_batch_size": 3,
    "train__max_steps": 30,
}
CHANGES: dict[int, dict[str, Any]] = {
    2: {"optim.learning_rate": 5e-3},
    4: {"optim.learning_rate": 8e-3},
    6: {"model.dropout": 0.4, "optim.beta1": 0.8},
    7: {"train.batch_size": 2, "train.max_steps": 25},
    11: {"optim.weight_decay": 0.0, "train.grad_accum_steps": 1},
}
END = 14
Result = tuple[dict[str, Any], dict[int, float]]  # bits, and the losses by step
KINDS: dict[str, dict[str, Any]] = {  # every optimizer, and whatever else has to be remembered
    "adamw": {},
    "muon": {"optim__optimizer": "muon"},
    "sgd": {"optim__optimizer": "sgd", "optim__ema_decay": 0.9},
    "in epochs": {"data__order": "epochs", "data__val_share": 0.2},
    "muon averaged, wsd": {
        "optim__optimizer": "muon",
        "optim__ema_decay": 0.9,
        "optim__schedule": "wsd",
    },
    "adamw averaged, bf16": {"optim__ema_decay": 0.9, "system__precision": "bf16"},
}


def train(rig: Rig, session: Session, to: int, changes: dict[int, dict[str, Any]]) -> None:
    """Train to a step; each change is asked for at its boundary, in order."""
    for step, wanted in sorted(changes.items()):
        if session.trainer.step <= step < to:
            rig.to_step(session, step)
            session.handle(Adjust(wanted))
    rig.to_step(session, to)


_known: dict[str, Result] = {}  # of runs that many tests compare with


def uninterrupted(
    rig: Rig, make_config: MakeConfig, changes: dict[int, dict[str, Any]], **kind: Any
) -> Result:
    wanted = repr((changes, kind))
    if wanted not in _known:
        session = rig.new(make_config(**HARD | kind))
        train(rig, session, END, changes)
        _known[wanted] = bits(session), recorded_losses(session)
        rig.close(session)
        assert list(_known[wanted][1]) == list(range(1, END + 1))
    return _known[wanted]


def assert_same_run(session: Session, expected: Result) -> None:
    assert_same_bits(bits(session), expected[0])
    assert recorded_losses(session) == expected[1]


@pytest.mark.parametrize("stops", [[5], [1, 2, 3], [6, 7], [7, 11]])
def test_stopping_and_going_on_is_not_stopping(
    rig: Rig, make_config: MakeConfig, stops: list[int]
) -> None:
    expected = uninterrupted(rig, make_config, CHANGES)
    session = rig.new(make_config(**HARD))
    for stop in stops:
        train(rig, session, stop, CHANGES)
        session = rig.open(rig.close(session))
        assert session.trainer.step == stop
    train(rig, session, END, CHANGES)
    assert_same_run(session, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_trained_and_however_it_goes_on_with_the_same_bits(
    rig: Rig, make_config: MakeConfig, kind: str
) -> None:
    """Dropout, accumulation and changes on the way; closed once, killed once."""
    expected = uninterrupted(rig, make_config, CHANGES, **KINDS[kind])
    session = rig.new(make_config(**HARD | KINDS[kind]))
    train(rig, session, 5, CHANGES)
    session = rig.open(rig.close(session))
    train(rig, session, 9, CHANGES)
    session = rig.open(rig.crash(session))
    assert session.trainer.step == 5
    train(rig, session, END, {11: CHANGES[11]})
    assert_same_run(session, expected)


@pytest.mark.parametrize("saved", [0, 1, 3, 6, 7])
@pytest.mark.parametrize("crashed", [8, 12])
def test_adjustments_after_the_last_checkpoint_are_made_again_at_their_steps(
    rig: Rig, make_config: MakeConfig, saved: int, crashed: int
) -> None:
    expected = uninterrupted(rig, make_config, CHANGES)
    session = rig.new(make_config(**HARD))
    if saved:
        train(rig, session, saved, CHANGES)
        for command in (Pause(), Save()):
            session.handle(command)
        rig.until(session, lambda: session.status.saved_step == saved)
        session.handle(Resume())
    train(rig, session, crashed, CHANGES)
    session = rig.open(rig.crash(session))
    assert session.trainer.step == saved
    journaled = [step for step in CHANGES if step < crashed]
    train(rig, session, END, {s: c for s, c in CHANGES.items() if s not in journaled})
    assert_same_run(session, expected)


def test_a_second_crash_before_what_the_journal_holds_forgets_nothing(
    rig: Rig, make_config: MakeConfig
) -> None:
    """The entry of step 7 is still ahead when the run is saved again, at step 4."""
    expected = uninterrupted(rig, make_config, CHANGES | {3: {"optim.grad_clip": 0.5}})
    session = rig.new(make_config(**HARD))
    train(rig, session, 9, CHANGES)
    session = rig.open(rig.crash(session))
    train(rig, session, 4, {3: {"optim.grad_clip": 0.5}})
    session = rig.open(rig.close(session))
    assert session.trainer.step == 4
    train(rig, session, END, {11: CHANGES[11]})
    assert_same_run(session, expected)


def test_the_newest_word_on_a_setting_outlives_an_older_one_that_is_still_ahead(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(**HARD))
    train(rig, session, 9, {8: {"optim.learning_rate": 7e-3, "optim.grad_clip": 2.0}})
    session = rig.open(rig.crash(session))
    train(rig, session, 5, {4: {"optim.learning_rate": 3e-3}})
    session = rig.open(rig.crash(session))  # the journal now holds both, the later one first
    rig.to_step(session, END)
    assert session.trainer.config.optim.learning_rate == 3e-3
    assert session.trainer.config.optim.grad_clip == 2.0
    steps = [entry["step"] for entry in session.files.database.journal("adjusted")]
    assert steps == [8, 4]


def test_raising_the_end_of_a_finished_run_survives_a_crash(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(train__max_steps=4))
    rig.until(session, lambda: session.status.state is State.FINISHED)
    session = rig.open(rig.close(session))
    session.handle(Adjust({"train.max_steps": 9}))
    session = rig.open(rig.crash(session))
    assert session.status.state is State.RUNNING
    assert session.status.total_steps == 9
    rig.until(session, lambda: session.status.state is State.FINISHED)
    assert session.trainer.step == 9


def test_epochs_and_steps_named_together_come_back_as_they_were(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(train__max_epochs=3.0, train__max_steps=20))
    rig.to_step(session, 2)
    session.handle(Adjust({"train.max_epochs": 3.0, "train.max_steps": 25}))
    rig.to_step(session, 3)
    wanted = session.trainer.config
    session = rig.open(rig.crash(session))
    rig.to_step(session, 3)
    assert session.trainer.config == wanted


def test_settings_changed_on_opening_count_from_there(rig: Rig, make_config: MakeConfig) -> None:
    expected = uninterrupted(rig, make_config, {5: {"optim.learning_rate": 2e-3}})
    session = rig.new(make_config(**HARD))
    rig.to_step(session, 5)
    session = rig.open(rig.close(session), optim__learning_rate=2e-3)
    assert rig.said(Adjusted)[-1] == Adjusted(5, {"optim.learning_rate": [0.01, 0.002]})
    session = rig.open(rig.crash(session))  # the change is in the journal, not in a checkpoint
    rig.to_step(session, END)
    assert_same_run(session, expected)


@pytest.mark.parametrize(("seed", "kind"), enumerate(KINDS))
def test_looking_changes_nothing(rig: Rig, make_config: MakeConfig, seed: int, kind: str) -> None:
    """Sampled, evaluated, paused, saved and read from outside, inside steps and between them."""
    expected = uninterrupted(rig, make_config, {}, **KINDS[kind])
    chance = random.Random(seed)
    some = {"eval__interval": 3, "checkpoint__interval": 4}
    session = rig.new(make_config(**HARD | KINDS[kind] | some))

    def visit_its_past() -> None:
        if session.status.saved_step:
            with visit(session.files.path, session.status.saved_step - 1, lambda message: None):
                pass

    looks = [
        lambda: session.handle(Sample({"seed": chance.randrange(9), "temperature": 1.0})),
        lambda: session.handle(Evaluate(whole=chance.random() < 0.3)),
        lambda: session.handle(Pause()),
        lambda: session.handle(Save()),
        lambda: verify_files(session.files.path),
        visit_its_past,
    ]
    while session.trainer.step < END:
        if chance.random() < 0.03:
            chance.choice(looks)()
        if session.status.state is State.PAUSED and chance.random() < 0.5:
            session.handle(Resume())
        session.advance()
    session.handle(Pause())
    rig.rest(session)
    assert_same_run(session, expected)


def test_a_run_that_was_not_closed_says_so_and_one_that_was_does_not(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config())
    rig.to_step(session, 2)
    for command in (Pause(), Save()):
        session.handle(command)
    rig.until(session, lambda: session.status.saved_step == 2)
    session.handle(Resume())
    rig.to_step(session, 4)
    session.outlet.flush()
    trained = session.trainer.step
    again = rig.open(rig.crash(session), running=False)
    lost = trained - 2
    told = [event.message for event in rig.said(Warned)]
    assert len(told) == 1
    assert f"it continues from step 2; {lost:,} steps after it are trained again" in told[0]
    rig.open(rig.close(again), running=False)
    assert len(rig.said(Warned)) == 1


def test_a_run_that_was_killed_for_memory_says_so_and_offers_a_smaller_micro_batch(
    rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        scarce = {"held": 7_000_000_000, "left": 100_000_000, "kills": 0}
        patch.setattr("engine.session.outlet.memory_now", lambda: scarce)
        session = rig.new(make_config(system__micro_batch_size=4))
        rig.to_step(session, 3)
        session.outlet.flush()
        path = rig.crash(session)
    rig.open(path, running=False)
    (told,) = [event.message for event in rig.said(Warned)]
    assert "memory ran out: it held 7.0 GB and 0.1 GB were left" in told
    assert "set system.micro_batch_size to 2" in told
