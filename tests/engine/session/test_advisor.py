"""Runs that are watched: none of the healthy ones is disturbed, each broken one is recognised."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from engine.config.presets import preset_config
from engine.config.schema import Config
from engine.diagnostics.symptoms import Kind
from engine.protocol import (
    Adjust,
    Advised,
    Fork,
    Forked,
    Refused,
    Resume,
    Rewind,
    Rewound,
    Silence,
    Silenced,
    State,
    Unsilence,
    Unsilenced,
)
from engine.session.session import Session
from tests.engine.conftest import MakeConfig, Rig, assert_same_bits, bits, weights
from tests.engine.models import scale_gradient

SCALED: dict[str, Any] = {  # a preset's recipe, in a model that learns in a second
    "model.n_layer": 2,
    "model.n_head": 2,
    "model.n_embd": 32,
    "model.block_size": 16,
    "train.batch_size": 8,
    "train.max_steps": 220,
    "optim.warmup_steps": 20,
    "eval.interval": 20,
    "eval.batches": 2,
    "checkpoint.interval": 0,
    "sample.max_tokens": 1,
    "system.device": "cpu",
    "system.precision": "fp32",
    "system.threads": 1,
    "system.micro_batch_size": 8,
}
UNTRAINABLE: dict[str, Any] = {
    "optim.learning_rate": 1e-7,
    "optim.min_lr": 0.0,
    "model.n_layer": 1,
    "train.max_steps": 2000,
    "eval.interval": 0,
}


@pytest.fixture
def scaled(small_text_file: Path) -> Any:
    def make(preset: str, **changes: Any) -> Config:
        named = {key.replace("__", "."): value for key, value in changes.items()}
        base = preset_config(preset).replace(SCALED | {"data.corpus": str(small_text_file)})
        return base.replace(named)

    return make


def advised(rig: Rig, session: Session) -> Advised:
    """The first advice the run is given."""
    rig.until(session, lambda: bool(rig.said(Advised)))
    (advice,) = rig.said(Advised)
    assert isinstance(advice, Advised)
    return advice


# Healthy and broken


@pytest.mark.parametrize("preset", ["tiny", "nanogpt-cpu", "fast"])
def test_a_healthy_recipe_is_given_no_advice(rig: Rig, scaled: Any, preset: str) -> None:
    session = rig.new(scaled(preset))
    rig.rest(session)
    assert session.status.state is State.FINISHED
    assert rig.said(Advised) == []


def test_a_rate_hundred_times_too_high_is_lowered(rig: Rig, scaled: Any) -> None:
    session = rig.new(scaled("nanogpt-cpu", optim__learning_rate=0.3))
    advice = advised(rig, session)
    assert (advice.kind, advice.changes) == (Kind.TOO_HIGH, {"optim.learning_rate": 0.03})


def test_momentum_without_warm_up_climbs_and_is_recognised(rig: Rig, scaled: Any) -> None:
    momentum = {"optim__optimizer": "sgd", "optim__momentum": 0.99, "optim__learning_rate": 1.0}
    advice = advised(rig, rig.new(scaled("nanogpt-cpu", **momentum, optim__warmup_steps=0)))
    assert advice.kind == Kind.TOO_HIGH
    assert "has climbed" in advice.message


def test_a_text_of_a_few_lines_is_learned_by_heart(
    rig: Rig, scaled: Any, small_text: str, tmp_path: Path
) -> None:
    short = tmp_path / "short.txt"
    short.write_text(small_text[:600], encoding="utf-8")
    config = scaled("nanogpt-cpu", data__corpus=str(short), optim__learning_rate=3e-3)
    advice = advised(rig, rig.new(config))
    assert (advice.kind, advice.changes) == (Kind.OVERFITTING, {"model.dropout": 0.2})


def test_a_rate_near_zero_is_raised(rig: Rig, scaled: Any) -> None:
    config = scaled("nanogpt-cpu", **_named(UNTRAINABLE))
    advice = advised(rig, rig.new(config))
    assert (advice.kind, advice.changes) == (Kind.PLATEAU, {"optim.learning_rate": 1e-3})


def test_a_jump_after_a_live_change_is_taken_back(rig: Rig, scaled: Any) -> None:
    session = rig.new(scaled("tiny"))
    rig.to_step(session, 120)
    session.handle(Adjust({"optim.learning_rate": 1.0}))
    advice = advised(rig, session)
    assert (advice.kind, advice.changes) == (Kind.SPIKE, {"optim.learning_rate": 3e-3})
    assert "at step 12" in advice.message
    assert 120 < session.trainer.step < 150


def test_a_jump_after_a_fork_is_told_as_soon_and_leads_back_to_where_it_began(
    rig: Rig, scaled: Any
) -> None:
    session = rig.new(scaled("tiny"))
    rig.to_step(session, 120)
    session.handle(Fork({"optim.learning_rate": 5.0}))
    (forked,) = rig.said(Forked)
    child = rig.open(Path(forked.path))
    advice = advised(rig, child)
    assert (advice.kind, advice.changes) == (Kind.SPIKE, {"optim.learning_rate": 3e-3})
    assert child.trainer.step < 150 and advice.rewind_to == 120
    child.handle(Rewind(120))
    rig.until(child, lambda: bool(rig.said(Rewound)))


def test_a_loss_that_overflows_pauses_before_the_update(rig: Rig, scaled: Any) -> None:
    rates = {"optim__learning_rate": 10.0, "optim__min_lr": 0.0, "optim__grad_clip": 0}
    session = rig.new(scaled("nanogpt-cpu", optim__optimizer="sgd", **rates))
    advice = advised(rig, session)
    assert (advice.kind, advice.rewind_to) == (Kind.NON_FINITE, 0)
    assert session.status.state is State.PAUSED
    assert all(p.isfinite().all() for p in session.trainer.model.parameters())


# One at a time, and never again


def test_the_same_is_not_said_again_until_a_setting_changes(rig: Rig, scaled: Any) -> None:
    session = rig.new(scaled("nanogpt-cpu", **_named(UNTRAINABLE)))
    advised(rig, session)
    first = session.trainer.step
    rig.to_step(session, first + 120)
    assert len(rig.said(Advised)) == 1
    session.handle(Adjust({"optim.learning_rate": 2e-7}))
    rig.until(session, lambda: len(rig.said(Advised)) == 2)
    assert session.trainer.step >= first + 120 + 150


def test_what_is_silenced_stays_so_when_the_run_is_opened_again(rig: Rig, scaled: Any) -> None:
    session = rig.new(scaled("nanogpt-cpu", **_named(UNTRAINABLE)))
    assert rig.send(session, Silence("plateau")) == [Silenced("plateau")]
    rig.to_step(session, 10)
    session = rig.open(rig.close(session))
    rig.to_step(session, 230)
    assert rig.said(Advised) == []


def test_what_was_silenced_is_heard_again_once_that_is_taken_back(rig: Rig, scaled: Any) -> None:
    session = rig.new(scaled("nanogpt-cpu", **_named(UNTRAINABLE)))
    advised(rig, session)
    rig.send(session, Silence("plateau"))
    rig.send(session, Silence("spike"))
    assert rig.send(session, Unsilence()) == [Unsilenced(["plateau", "spike"])]
    rig.until(session, lambda: len(rig.said(Advised)) == 2)  # though it was said before

    rig.send(session, Silence("spike"))
    session = rig.open(rig.close(session), running=False)  # it is kept with the run
    assert rig.send(session, Unsilence()) == [Unsilenced(["spike"])]
    session = rig.open(rig.close(session), running=False)
    (refused,) = rig.send(session, Unsilence())
    assert isinstance(refused, Refused)
    assert refused.message == "no kind of advice was silenced in this run: all are given"


@pytest.mark.parametrize("kind", ["non-finite", "nonsense"])
def test_what_cannot_be_silenced_is_refused(rig: Rig, make_config: MakeConfig, kind: str) -> None:
    session = rig.new(make_config(), running=False)
    (refused,) = rig.send(session, Silence(kind))
    assert isinstance(refused, Refused)
    assert "there is spike, learning rate too high, overfitting, plateau" in refused.message


# Ways on from what is no number


def _break_at(session: Session, rig: Rig, step: int) -> Advised:
    """Give the gradients of a step no values."""
    rig.to_step(session, step - 1)
    hook = scale_gradient(session.trainer.model, "head.weight", math.nan)
    rig.until(session, lambda: session.status.state is State.PAUSED)
    hook.remove()
    advice = rig.said(Advised)[-1]
    assert isinstance(advice, Advised)
    return advice


def test_the_newest_good_checkpoint_is_offered_and_leads_on(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(checkpoint__interval=4, train__max_steps=20))
    advice = _break_at(session, rig, 10)
    assert (advice.rewind_to, session.trainer.step) == (8, 10)
    session.handle(Rewind(8))
    rig.until(session, lambda: bool(rig.said(Rewound)))
    rig.send(session, Adjust(advice.changes))
    rig.send(session, Resume())
    rig.rest(session)
    assert session.status.state is State.FINISHED
    assert session.trainer.config.optim.learning_rate == pytest.approx(1e-3)
    assert all(math.isfinite(v) for v in session.recorder.metrics.column("grad_norm").snapshot()[1])


def test_checkpoints_that_were_out_of_hand_already_are_passed_over(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(checkpoint__interval=4, train__max_steps=60))
    rig.to_step(session, 20)
    session._results._run_state.recorder.metrics.truncate(4)
    for step in range(5, 21):  # as if it had grown from there on
        session.recorder.metrics.append("train_loss", step, 1000.0)
    advice = _break_at(session, rig, 22)
    assert advice.rewind_to == 0


def test_going_on_leaves_the_batch_out(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(train__max_steps=12))
    rig.to_step(session, 4)
    before = weights(session.trainer.model)
    _break_at(session, rig, 5)
    assert session.trainer.step == 5
    assert_same_bits(weights(session.trainer.model), before)
    rig.send(session, Resume())
    rig.rest(session)
    assert session.status.state is State.FINISHED


def test_batches_left_out_are_left_out_again_when_the_run_goes_back(rig: Rig, scaled: Any) -> None:
    rates = {"optim__learning_rate": 10.0, "optim__min_lr": 0.0, "optim__grad_clip": 0}
    session = rig.new(scaled("nanogpt-cpu", optim__optimizer="sgd", **rates))
    advised(rig, session)
    first = session.trainer.step
    for _ in range(3):
        rig.send(session, Resume())
        rig.until(session, lambda: session.status.state is State.PAUSED)
    then = bits(session)
    rig.send(session, Resume())
    rig.until(session, lambda: session.status.state is State.PAUSED)
    session.handle(Rewind(first + 3))
    rig.rest(session)
    assert session.trainer.step == first + 3
    assert_same_bits(bits(session), then)


def _named(settings: dict[str, Any]) -> dict[str, Any]:
    return {key.replace(".", "__"): value for key, value in settings.items()}
