"""A session: every command is answered, at once or at the step boundary, and by the right event."""

from __future__ import annotations

import copy
import math
from functools import partial
from typing import Any

import pytest
import torch

from data.errors import InputError
from engine import protocol
from engine.checkpoint import store
from engine.config.schema import Config
from engine.distributed.team import ProcessLost
from engine.protocol import (
    Adjust,
    Adjusted,
    Advised,
    CoolDown,
    Evaluate,
    Evaluated,
    Pause,
    Pin,
    Refused,
    Resume,
    Rewind,
    RunOpened,
    Sample,
    SampleFinished,
    SampleStarted,
    SampleText,
    Save,
    Saved,
    State,
    StateChanged,
    Step,
    Warned,
)
from engine.runs.checkpoint_names import list_checkpoints, step_of
from engine.runs.summary import read_summary
from engine.sampling.generate import generate
from engine.session import build
from tests.engine.conftest import MakeConfig, Rig, assert_same_bits, bits
from tests.engine.models import scale_gradient


def kinds(session: Any) -> list[str]:
    """What the journal holds, in order."""
    return [entry["kind"] for entry in session.files.database.journal()]


def text_of(rig: Rig, sample: int) -> str:
    return "".join(event.text for event in rig.said(SampleText) if event.sample == sample)


# From start to finish


def test_a_run_is_announced_trained_evaluated_saved_and_finished(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(train__max_steps=10, eval__interval=4, checkpoint__interval=5))
    rig.rest(session)
    opened = rig.events[0]
    assert isinstance(opened, RunOpened)
    assert (opened.step, opened.total_steps, opened.saved_step) == (0, 10, 0)
    assert opened.parameters == session.trainer.model.parameter_count()
    assert [event.step for event in rig.said(Evaluated)] == [4, 8, 10]
    assert rig.said(Evaluated)[-1].measured == "whole split"
    assert rig.said(Evaluated)[0].measured == "2 of 62 batches"
    assert [e.step for e in rig.said(SampleStarted)] == [0, 4, 8, 10]
    assert all(event.automatic for event in rig.said(SampleStarted))
    assert len(rig.said(SampleFinished)) == 4
    assert {5, 10} <= {event.step for event in rig.said(Saved)}
    assert rig.events[-1] == StateChanged(State.FINISHED, 10)
    assert session.outlet.summary()["state"] == "finished"
    assert kinds(session)[0] == "runtime" and kinds(session)[-1] == "finished"


def test_after_each_evaluation_a_sample_is_kept_with_its_step_and_loss(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(train__max_steps=6, eval__interval=3))
    rig.rest(session)
    kept = session.files.database.samples()
    losses = {event.step: event.val_loss for event in rig.said(Evaluated)}
    assert [(one["step"], one["val_loss"]) for one in kept] == [
        (0, None),
        (3, losses[3]),
        (6, losses[6]),
    ]
    assert [len(one["text"]) for one in kept] == [12] * 3
    assert [one["text"] for one in kept] == [text_of(rig, i) for i in (1, 2, 3)]


def test_the_end_holds_last_and_best_weights_to_the_same_measure(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(train__max_steps=24, eval__interval=4))
    rig.to_step(session, 14)
    session.handle(Adjust({"optim.learning_rate": 10, "optim.min_lr": 10}))  # spoils it
    rig.rest(session)
    assert session.status.best_step == 12
    from engine.checkpoint.load import load_model

    model = load_model(session.files.path, "best")
    assert session.trainer.evaluate(True, model).loss == session.status.best_val_loss
    assert session.trainer.evaluate(True).loss == session.status.val_loss
    assert session.status.val_loss is not None and session.status.best_val_loss is not None
    assert session.status.val_loss > session.status.best_val_loss
    newest = session.recorder.metrics.bests[-1]  # the charts say the same
    assert (newest.step, newest.value) == (12, session.status.best_val_loss)


def test_raising_max_steps_goes_on_with_a_finished_run(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(train__max_steps=4))
    rig.rest(session)
    (refused,) = rig.send(session, Resume())
    assert isinstance(refused, Refused) and "raise train.max_steps" in refused.message
    (refused,) = rig.send(session, Step())
    assert isinstance(refused, Refused)
    rig.send(session, Adjust({"train.max_steps": 7}))
    assert session.status.state is State.PAUSED
    rig.send(session, Resume())
    rig.rest(session)
    assert (session.status.state, session.trainer.step) == (State.FINISHED, 7)
    assert [event.step for event in rig.said(Evaluated)] == [4, 7]


def test_raising_max_steps_while_the_end_is_measured_is_answered(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(train__max_steps=4))
    rig.to_step(session, 4)
    for _ in range(5):
        session.advance()
    assert session.outlet.state is State.RUNNING
    assert rig.send(session, Adjust({"train.max_steps": 8})) == []
    rig.rest(session)
    assert rig.said(Adjusted)[-1].changes == {"train.max_steps": [4, 8]}
    assert session.status.state is State.PAUSED


# Pause, resume, step


def test_pause_and_resume_are_answered_at_once_and_journaled(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(train__grad_accum_steps=50))
    rig.to_step(session, 1)
    session.advance()
    assert rig.send(session, Pause()) == [StateChanged(State.PAUSED, 1)]
    rig.rest(session)
    assert session.trainer.step == 1
    assert rig.send(session, Pause()) == [StateChanged(State.PAUSED, 1)]
    assert rig.send(session, Resume()) == [StateChanged(State.RUNNING, 1)]
    rig.to_step(session, 2)
    assert kinds(session)[-2:] == ["paused", "resumed"]


def test_a_paused_run_has_written_all_it_recorded(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config())
    rig.to_step(session, 7)
    rig.send(session, Pause())
    rig.rest(session)
    assert session.files.database.metric(0, "train_loss")[0].tolist() == list(range(1, 8))
    assert session.files.database.meta()["summary"]["state"] == "paused"


def test_the_summary_has_the_settings_as_they_are_now(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config())
    rig.to_step(session, 2)
    rig.send(session, Adjust({"optim.learning_rate": "5e-3"}))
    rig.to_step(session, 3)
    rig.send(session, Pause())
    rig.rest(session)
    assert session.files.config.optim.learning_rate == 0.01
    config = read_summary(session.files.path).config
    assert config and config.optim.learning_rate == 0.005


def test_single_steps_are_taken_and_answered_one_by_one(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(train__grad_accum_steps=3), running=False)
    rig.rest(session)
    before = len(rig.said(StateChanged))
    rig.send(session, Step())
    rig.send(session, Step())
    rig.rest(session)
    assert session.trainer.step == 2
    assert rig.said(StateChanged)[before:] == [StateChanged(State.PAUSED, s) for s in (1, 2)]


def test_the_last_step_taken_singly_finishes_the_run(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(train__max_steps=2), running=False)
    for _ in range(3):
        rig.send(session, Step())
    rig.rest(session)
    assert (session.status.state, session.trainer.step) == (State.FINISHED, 2)
    assert len(rig.said(Evaluated)) == 1


def test_a_step_while_training_is_refused(rig: Rig, make_config: MakeConfig) -> None:
    (refused,) = rig.send(rig.new(make_config()), Step())
    assert refused == Refused("Step", "pause the run to take single steps")


# Adjust


def test_a_live_setting_changes_at_the_next_boundary_and_is_journaled(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(train__grad_accum_steps=5, optim__warmup_steps=0))
    rig.to_step(session, 3)
    session.advance()  # a step is under way
    assert rig.send(session, Adjust({"optim.learning_rate": "5e-3"})) == []
    rig.to_step(session, 4)
    assert rig.said(Adjusted) == []
    session.advance()
    assert rig.said(Adjusted) == [Adjusted(4, {"optim.learning_rate": [0.01, 0.005]})]
    (entry,) = session.files.database.journal("adjusted")
    assert (entry["step"], entry["detail"]) == (4, {"changes": rig.said(Adjusted)[0].changes})
    marks = session.recorder.metrics.marks
    assert [(mark.step, mark.label) for mark in marks] == [(4, "learning_rate 0.01→0.005")]


def test_while_paused_a_change_is_made_at_once_and_half_a_step_is_computed_afresh(
    rig: Rig, make_config: MakeConfig
) -> None:
    changes: dict[str, Any] = {"train__grad_accum_steps": 5, "model__dropout": 0.1}
    session, other = rig.new(make_config(**changes)), rig.new(make_config(**changes))
    for one, extra in ((session, 2), (other, 0)):
        rig.to_step(one, 3)
        for _ in range(extra):
            one.advance()
        one.handle(Pause())
        answer = rig.send(one, Adjust({"train.batch_size": 2}))
        assert answer == [Adjusted(3, {"train.batch_size": [4, 2]})]
        one.handle(Resume())
        rig.to_step(one, 5)
    assert_same_bits(bits(session), bits(other))


def test_a_change_that_waits_for_a_boundary_is_made_when_the_run_is_paused(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(train__grad_accum_steps=5))
    rig.to_step(session, 1)
    session.advance()
    rig.send(session, Adjust({"optim.beta1": 0.8}))
    rig.send(session, Pause())
    rig.rest(session)
    assert rig.said(Adjusted) == [Adjusted(1, {"optim.beta1": [0.9, 0.8]})]


def test_a_change_that_waits_for_a_boundary_is_not_lost_when_the_run_is_closed(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(train__grad_accum_steps=5))
    rig.to_step(session, 1)
    session.advance()
    rig.send(session, Adjust({"optim.beta1": 0.8}))
    assert rig.open(rig.close(session)).trainer.config.optim.beta1 == 0.8


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model.n_layer": 3}, "model.n_layer can change only in a new run"),
        ({"train.seed": 3}, "train.seed can change only in a new run"),
        ({"system.threads": 2}, "system.threads can change only when the run is resumed"),
        ({"optim.learning_rate": 11}, "optim.learning_rate must be above 0, at most 10, not 11"),
        ({"optim.learning_rate": "fast"}, "optim.learning_rate must be a number, not 'fast'"),
        ({"optim.learning_rate": 1e-6}, "lower optim.min_lr too"),
        ({"optim.lr": 1}, "there is no setting 'optim.lr'"),
        ({"train.max_steps": 2}, "it is at step 3 already"),
        ({"train.max_epochs": 1e-6}, "it is at step 3 already"),
        ({"sample.prompt": "snow ☃"}, "no '☃'"),
    ],
)
def test_a_change_that_cannot_be_is_refused_and_nothing_changes(
    rig: Rig, make_config: MakeConfig, changes: dict[str, Any], why: str
) -> None:
    session = rig.new(make_config())
    rig.to_step(session, 3)
    before = session.trainer.config
    (refused,) = rig.send(session, Adjust(changes))
    assert isinstance(refused, Refused) and refused.command == "Adjust"
    assert why in refused.message
    rig.to_step(session, 5)
    assert session.trainer.config == before
    assert session.files.database.journal("adjusted") == []


def test_how_it_is_watched_changes_at_once_even_inside_a_step(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(train__grad_accum_steps=5))
    rig.to_step(session, 1)
    session.advance()
    (adjusted,) = rig.send(session, Adjust({"sample.temperature": 0.5, "eval.interval": 3}))
    assert isinstance(adjusted, Adjusted)
    rig.to_step(session, 4)
    assert [event.step for event in rig.said(Evaluated)] == [3]


# Samples


@pytest.mark.parametrize("paused", [False, True])
def test_a_sample_is_the_text_of_its_steps_weights(
    rig: Rig, make_config: MakeConfig, paused: bool
) -> None:
    session = rig.new(make_config(train__max_steps=10_000))
    rig.to_step(session, 5)
    if paused:
        rig.send(session, Pause())
    frozen = copy.deepcopy(session.trainer.model)
    rig.send(session, Sample({"prompt": "The ", "max_tokens": 60, "seed": 3, "temperature": 1.0}))
    rig.until(session, lambda: 2 in [event.sample for event in rig.said(SampleFinished)])
    (started,) = [event for event in rig.said(SampleStarted) if not event.automatic]
    assert (started.step, started.automatic, started.settings["prompt"]) == (5, False, "The ")
    tokenizer = session.files.tokenizer
    expected = generate(frozen, tokenizer.encode("The ").tolist(), 60, seed=3)
    assert text_of(rig, started.sample) == tokenizer.decode(list(expected))
    assert (session.trainer.step > 5) is not paused
    assert 5 in [one["step"] for one in session.files.database.samples()]


def test_a_prompt_with_unknown_characters_is_refused_by_name(
    rig: Rig, make_config: MakeConfig
) -> None:
    (refused,) = rig.send(rig.new(make_config()), Sample({"prompt": "a☃b☄"}))
    assert isinstance(refused, Refused)
    assert "'☃', '☄'" in refused.message


def test_a_run_is_not_begun_with_a_prompt_it_cannot_read(rig: Rig, make_config: MakeConfig) -> None:
    with pytest.raises(InputError, match="☃"):
        rig.new(make_config(sample__prompt="☃"))
    assert list(rig.runs_dir.glob("*")) == []


def test_the_settings_of_a_sample_are_of_it_alone(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(), running=False)
    rig.rest(session)
    rig.send(session, Sample({"prompt": "The ", "max_tokens": 3}))
    rig.send(session, Sample())
    rig.rest(session)
    prompts = [one.settings["prompt"] for one in rig.said(SampleStarted)]
    assert prompts[1:] == ["The ", ""]
    assert session.trainer.config.sample.prompt == ""
    kinds = [one["kind"] for one in session.files.database.journal()]
    assert [one for one in kinds if one in ("adjusted", "sampled")] == ["sampled"] * 2


def test_what_a_sample_cannot_be_made_with_is_refused(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(), running=False)
    (refused,) = rig.send(session, Sample({"prompt": "☃"}))
    assert isinstance(refused, Refused) and "'☃'" in refused.message
    assert session.trainer.config.sample.prompt == ""
    assert session.files.database.journal("sampled") == []


def test_a_person_is_served_before_what_nobody_waits_for(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(sample__max_tokens=500), running=False)
    rig.send(session, Sample({"max_tokens": 5}))
    rig.until(session, lambda: bool(rig.said(SampleFinished)))
    assert rig.said(SampleFinished)[0].sample == 2


def test_a_long_sample_of_a_person_does_not_hold_up_an_evaluation(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(eval__interval=2, train__max_steps=100))
    rig.to_step(session, 1)
    rig.send(session, Sample({"max_tokens": 1_000_000}))
    rig.to_step(session, 7)
    assert [event.step for event in rig.said(Evaluated)] == [2, 4, 6]


def test_a_sample_streams_on_while_an_evaluation_runs(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(), running=False)
    rig.rest(session)
    rig.send(session, Evaluate(whole=True))
    session.advance()
    rig.send(session, Sample({"max_tokens": 3}))
    rig.until(session, lambda: len(rig.said(SampleStarted)) == 2)
    assert rig.said(Evaluated) == []


def test_samples_cut_short_by_the_end_are_kept_and_those_not_begun_are_refused(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(), running=False)
    rig.rest(session)
    rig.send(session, Sample({"max_tokens": 1_000_000}))
    rig.until(session, lambda: len(rig.said(SampleStarted)) == 2)
    rig.send(session, Sample({"max_tokens": 5}))
    database = rig.close(session) / "run.db"
    assert [event.command for event in rig.said(Refused)] == ["Sample"]
    from engine.runs.database import RunDatabase

    texts = [one["text"] for one in RunDatabase(database, read_only=True).samples()]
    assert texts == [text_of(rig, 1), text_of(rig, 2)]
    assert 0 < len(texts[1]) == rig.said(SampleFinished)[-1].tokens


def test_weights_without_numbers_end_a_sample_with_a_warning(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(), running=False)
    rig.rest(session)
    with torch.no_grad():
        session.trainer.model.get_parameter("norm.weight").fill_(math.nan)
    rig.send(session, Sample())
    rig.rest(session)
    assert "not finite" in rig.said(Warned)[0].message
    assert rig.said(SampleFinished)[-1].tokens == 0


# Evaluate, save


@pytest.mark.parametrize("whole", [False, True])
def test_evaluate_answers_with_the_trainers_number(
    rig: Rig, make_config: MakeConfig, whole: bool
) -> None:
    session = rig.new(make_config(train__grad_accum_steps=4), running=False)
    rig.send(session, Step())
    rig.rest(session)
    rig.send(session, Evaluate(whole))
    rig.rest(session)
    (evaluated,) = rig.said(Evaluated)
    assert evaluated.val_loss == session.trainer.evaluate(whole).loss
    assert (evaluated.step, evaluated.best) == (1, True)
    assert session.status.best_step == 1


def test_save_answers_when_the_checkpoint_is_on_the_disk(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(), running=False)
    for step in (0, 1):
        for _ in range(2):  # again: it says where it is
            rig.send(session, Save())
            rig.rest(session)
        assert [event.step for event in rig.said(Saved)[-2:]] == [step] * 2
        assert (session.files.path / "checkpoints" / f"step-{step:08d}" / "state.json").is_file()
        rig.send(session, Step())
        rig.rest(session)


def test_a_save_that_fails_pauses_with_a_warning_and_the_next_one_works(
    rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    session = rig.new(make_config(train__max_steps=1000))
    rig.to_step(session, 3)
    with monkeypatch.context() as patch:
        patch.setattr(store, "_write_files", full)
        rig.send(session, Save())
        rig.until(session, lambda: session.status.state is State.PAUSED)
    assert "No space left on device" in rig.said(Warned)[0].message
    assert rig.said(Saved) == []
    rig.send(session, Resume())
    rig.send(session, Save())
    rig.until(session, lambda: bool(rig.said(Saved)))


# When numbers stop being numbers


def test_a_gradient_that_is_no_number_pauses_with_advice(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config())
    rig.to_step(session, 2)
    hook = scale_gradient(session.trainer.model, "head.weight", math.nan)
    rig.until(session, lambda: session.status.state is State.PAUSED)
    hook.remove()
    (advised,) = rig.said(Advised)
    assert "gradient of step 3 is not finite" in advised.message
    assert (advised.rewind_to, advised.action) == (0, "go back to step 0, learning_rate 0.001")
    assert session.trainer.step == 3
    rig.send(session, Resume())
    rig.to_step(session, 5)
    assert math.isnan(session.recorder.metrics.column("grad_norm").snapshot()[1][2])


# The system is settled once


def test_what_auto_came_to_is_kept_and_only_what_is_asked_anew_is_settled_anew(
    rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = rig.new(make_config(system__threads=0, system__micro_batch_size=0), running=False)
    settled = session.trainer.runtime
    path = rig.close(session)

    def must_not_measure(*_: Any) -> float:
        raise AssertionError("measured again")

    from engine.training import runtime

    monkeypatch.setattr(runtime, "_seconds_per_sequence", must_not_measure)
    session = rig.open(path, running=False)
    assert session.trainer.runtime == settled
    session = rig.open(rig.close(session), running=False, system__precision="bf16")
    changed = session.trainer.runtime
    assert changed.precision == "bf16"
    assert (changed.threads, changed.micro_batch_size) == (
        settled.threads,
        settled.micro_batch_size,
    )
    session = rig.open(rig.crash(session), running=False)  # without any checkpoint
    assert session.trainer.runtime == changed
    assert [e["step"] for e in session.files.database.journal("runtime")] == [0, 0]


def test_a_compiler_that_fails_is_told_and_training_goes_on(
    rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(model: Any) -> Any:
        raise RuntimeError("no C++ compiler\nand much more")

    monkeypatch.setattr(torch, "compile", fail)
    session = rig.new(make_config(system__compile=True))
    (warned,) = rig.said(Warned)
    assert warned.message.endswith("it trains uncompiled: no C++ compiler")
    rig.to_step(session, 2)


# Opening


def test_changes_that_cannot_be_are_refused_before_anything_is_done(
    rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = rig.new(make_config())
    rig.to_step(session, 2)
    path = rig.close(session)
    monkeypatch.setattr(build, "resolve_runtime", None)
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"model__n_layer": 3}, "new run"),
        ({"optim__learning_rate": -1}, "must be"),
        ({"system__threads": -1}, "must be"),
    )
    for changes, why in cases:
        with pytest.raises(InputError, match=why):
            rig.open(path, **changes)
    assert rig.open(path).trainer.step == 2


def test_an_evaluation_the_last_session_owed_is_made_on_opening(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(eval__interval=4))
    rig.to_step(session, 4)
    assert rig.said(Evaluated) == []
    session = rig.open(rig.close(session), running=False)
    rig.rest(session)
    assert [event.step for event in rig.said(Evaluated)] == [4]
    path = rig.close(session)
    session = rig.open(path, running=False)
    rig.rest(session)
    assert len(rig.said(Evaluated)) == 1
    assert session.status.val_loss == rig.said(Evaluated)[0].val_loss
    assert (path / "checkpoints" / "best").read_text() == "step-00000004\n"


def test_every_command_but_those_of_the_loop_has_a_handler(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(), running=False)
    of_the_loop = (
        protocol.Start,
        protocol.Open,
        protocol.Stop,
        protocol.FindLearningRate,
        protocol.EndLearningRateFinder,
        protocol.Inspect,
    )
    for kind in protocol.Command.__subclasses__():
        if kind in of_the_loop:
            continue
        given: dict[type[protocol.Command], protocol.Command] = {
            Adjust: Adjust({}),
            Pin: Pin(0),
            Rewind: Rewind(0),
            protocol.StopSample: protocol.StopSample(1),
            protocol.Silence: protocol.Silence("spike"),
        }
        command = given[kind] if kind in given else kind()
        before = len(rig.events)
        session.handle(command)
        rig.until(session, partial(lambda known: len(rig.events) > known, before))


# The cool-down of a schedule that is stable till told


def test_a_cool_down_can_be_started_any_time(rig: Rig, make_config: MakeConfig) -> None:
    config = make_config(
        optim__schedule="wsd",
        optim__learning_rate=0.01,
        optim__min_lr=0.0,
        optim__warmup_steps=0,
        optim__cooldown_steps=4,
        train__max_steps=1000,
    )
    session = rig.new(config)
    rig.to_step(session, 6)
    assert session.trainer.learning_rate == 0.01
    rig.send(session, CoolDown())
    rig.until(session, lambda: session.status.state is State.FINISHED)
    assert session.trainer.step == 10
    rates = session.recorder.metrics.column("learning_rate").snapshot()[1]
    assert rates[4:10].tolist() == pytest.approx([0.01, 0.01, 0.01, 0.0075, 0.005, 0.0025])


def test_a_cool_down_ends_a_run_whose_length_is_in_epochs(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(optim__schedule="constant", train__max_epochs=900.0))
    rig.to_step(session, 2)
    rig.send(session, CoolDown())
    rig.until(session, lambda: session.status.state is State.FINISHED)
    (adjusted,) = rig.said(Adjusted)
    assert adjusted.changes["train.max_epochs"] == [900.0, 0.0]


def test_a_cool_down_of_a_schedule_that_decays_by_itself_is_refused(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(optim__schedule="cosine"))
    rig.send(session, CoolDown())
    (refused,) = rig.said(Refused)
    assert "the schedule cosine decays by itself" in refused.message


def test_steps_whose_losses_are_read_together_share_the_time_between_two_reads(
    rig: Rig, make_config: MakeConfig
) -> None:
    """As on a GPU, which hands over the losses of many steps at once."""
    session = rig.new(make_config(), running=False)
    run_state, results = session.run_state, session._results
    for seconds in (0.5, 0.25, 1.0):
        result = run_state.trainer.train_step()
        run_state.throughput.add(seconds, run_state.trainer.tokens)
        results.add(result)
    results.read()
    recorded = {
        name: run_state.recorder.metrics.column(name).snapshot()[1].tolist()
        for name in ("train_seconds", "tokens_per_second")
    }
    tokens = run_state.trainer.tokens / 3
    assert recorded["train_seconds"] == pytest.approx([1.75 / 3, 3.5 / 3, 1.75])
    assert recorded["tokens_per_second"] == [4 * tokens, 2 * tokens / 1.25]  # none at first


def test_a_step_that_takes_long_shows_how_much_of_it_is_done(
    rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.session.session.STEP_REPORT_SECONDS", 0.0)
    session = rig.new(make_config(train__grad_accum_steps=4))
    shares = []
    while session.status.step < 2:
        assert session.advance()
        shares.append(session.status.step_share)
    assert [share for share in shares if share] == [0.25, 0.5, 0.75, 1.0] * 2
    assert session.status.step_share == 0.0


def test_numbers_that_do_not_fit_the_run_are_told_when_they_change(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(train__max_steps=20, optim__warmup_steps=2), running=False)
    before = len(rig.said(Warned))
    rig.send(session, Adjust({"optim.warmup_steps": 30}))
    rig.send(session, Adjust({"train.max_steps": 40, "optim.learning_rate": 0.01}))
    session = rig.open(rig.close(session), running=False, train__max_steps=25)
    told = [one.message for one in rig.said(Warned)[before:]]
    assert told == [
        "the run has 20 steps: optim.warmup_steps is 30 (the learning rate never reaches its peak)",
        "the run has 25 steps: optim.warmup_steps is 30 (the learning rate never reaches its peak)",
    ]


def test_the_status_says_when_the_next_save_is_due(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(train__max_steps=10, checkpoint__interval=4))
    for step, due in ((1, 4), (4, 8), (9, 10)):
        rig.to_step(session, step)
        assert session.status.next_save == due
    rig.send(session, Adjust({"checkpoint.interval": 0}))
    rig.rest(session)
    assert session.status.next_save == 10


def test_what_was_trained_is_saved_when_a_command_finds_another_process_lost(
    rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = rig.new(make_config())
    rig.to_step(session, 3)
    rig.send(session, Pause())

    def lost(config: Config) -> None:
        raise ProcessLost("process 1 of 2 has ended")

    monkeypatch.setattr(session.trainer, "adjust", lost)
    with pytest.raises(InputError, match=r"process 1 of 2 has ended: the run is saved at step 3"):
        session.handle(Adjust({"optim.learning_rate": 0.002}))
    assert [step_of(one) for one in list_checkpoints(session.files.path)][-1] == 3
    rig.close(session)
