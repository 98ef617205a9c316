"""The range test at work: a throw-away model, at the rates it says, beside a run that rests."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.batches import Split
from data.tokenizers import CharTokenizer
from engine.config.schema import Config
from engine.lr_finder.finder import LRFinder
from engine.lr_finder.ramp import Ramp, Suggestion, at_rate
from engine.metrics import Column
from engine.protocol import (
    Command,
    EndLearningRateFinder,
    Event,
    FindLearningRate,
    LearningRateFinderPrepared,
    LearningRateFound,
    Pause,
    Refused,
    Resume,
    RunOpened,
    Start,
    State,
    Step,
    Stop,
)
from engine.session.worker import EngineLoop
from engine.training.trainer import Runtime, Trainer, drain
from tests.engine.conftest import MakeConfig, assert_same_bits, weights

RUNTIME = Runtime("cpu", "fp32", 1, 4, False)
MakeTest = Callable[..., LRFinder]


@pytest.fixture
def make_test(make_config: MakeConfig, split: Split, tokenizer: CharTokenizer) -> MakeTest:
    """A small test; the rise first, then settings as ``section__name=value``."""

    def make(ramp: Ramp, **changes: Any) -> LRFinder:
        config = make_config(**changes)
        losses = Column(ramp.smoothing)
        return LRFinder(config, split, tokenizer.vocab_size, RUNTIME, ramp, losses)

    return make


def carried_out(test: LRFinder) -> Suggestion:
    return drain(test.quanta())


# The steps


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
def test_it_takes_the_steps_that_a_run_would_take_at_those_rates(
    make_test: MakeTest,
    make_config: MakeConfig,
    split: Split,
    tokenizer: CharTokenizer,
    optimizer: str,
) -> None:
    changes: dict[str, Any] = {
        "optim__optimizer": optimizer,
        "train__grad_accum_steps": 2,
        "model__dropout": 0.1,
    }
    ramp = Ramp(1e-4, 1e-2, 10)
    test = make_test(ramp, optim__warmup_steps=5, optim__ema_decay=0.9, **changes)
    carried_out(test)
    config = make_config(**changes)
    by_hand = Trainer(at_rate(config, 1e-4), RUNTIME, split, tokenizer.vocab_size)
    expected, rates = [], []
    for step in range(10):
        by_hand.adjust(at_rate(config, 1e-4 * 100 ** (step / 9)))
        result = by_hand.train_step()
        expected.append(float(result.loss))
        rates.append(result.learning_rate)
    assert test.losses.snapshot()[1].tolist() == expected
    assert rates == pytest.approx([ramp.rate(step) for step in range(10)])


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
def test_a_model_that_learns_gets_a_suggestion_it_can_be_trained_with(
    make_test: MakeTest, optimizer: str
) -> None:
    last = 10.0 if optimizer == "sgd" else 0.3
    test = make_test(Ramp(1e-5, last, 60), optim__optimizer=optimizer, optim__learning_rate=0.02)
    suggestion = carried_out(test)
    assert suggestion.learning_rate is not None, suggestion.why
    settings = suggestion.changes(test.config)
    assert ("optim.muon_lr" in settings) == (optimizer == "muon")
    assert test.config.check(settings)[1] == []


def test_it_ends_when_the_loss_leaves_its_lowest_far_behind(make_test: MakeTest) -> None:
    ramp = Ramp(1e-3, 10.0, 200)
    test = make_test(ramp, optim__optimizer="sgd", optim__grad_clip=0.0)
    carried_out(test)
    steps, raw, smoothed = test.losses.snapshot()
    assert len(steps) < ramp.steps
    beyond = smoothed > 2 * np.minimum.accumulate(smoothed)
    assert not beyond[:-1].any()
    assert beyond[-1] or not math.isfinite(raw[-1])


def test_it_ends_at_once_when_the_loss_is_not_finite(
    make_test: MakeTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = make_test(Ramp(1e-5, 0.1, 50))
    model = test._trainer.model
    whole, calls = model.forward, 0

    def poisoned(*args: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        logits: torch.Tensor = whole(*args)
        return logits * math.nan if calls == 7 else logits

    monkeypatch.setattr(model, "forward", poisoned)
    carried_out(test)
    assert len(test.losses) == 7
    assert math.isnan(test.losses.last or 0.0)


# Beside a run, and without one


class Bench:
    """A loop that is driven by hand, a command and a quantum at a time."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self.events: list[Event] = []
        self.loop = EngineLoop(self.events.append)

    def do(self, command: Command) -> None:
        self.loop._carry_out(command, 0)

    def start(self, config: Config, name: str) -> None:
        self.do(Start(config.to_dict(), str(self.runs_dir), name))

    def advance(self, until: Callable[[], object]) -> None:
        for _ in range(100_000):
            if until():
                return
            self.loop._advance()
        raise AssertionError(f"it did not come to be: {self.events[-5:]}")

    def rest(self) -> None:
        self.advance(lambda: not self.loop._advance())

    def to_step(self, step: int) -> None:
        self.advance(lambda: self.loop.status.step >= step)

    def said(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def trainer(self) -> Trainer:
        session = self.loop._session
        assert session is not None
        return session.trainer  # type: ignore[union-attr]

    def finish(self) -> dict[str, np.ndarray]:
        """Train to the end; returns the weights."""
        self.advance(lambda: self.loop.status.state is State.FINISHED)
        self.rest()
        found = weights(self.trainer.model)
        self.do(Stop())
        return found


@pytest.fixture
def bench(runs_dir: Path) -> Bench:
    return Bench(runs_dir)


def test_a_test_without_a_run_tells_its_suggestion_and_leaves_no_folder(
    bench: Bench, make_config: MakeConfig
) -> None:
    bench.do(FindLearningRate(make_config().to_dict(), request_id=7))
    bench.rest()
    assert {event.request_id for event in bench.said(LearningRateFinderPrepared)} == {7}
    assert [event.message for event in bench.said(LearningRateFinderPrepared)][-1] == ""
    assert bench.said(LearningRateFinderPrepared)[-1].runtime["threads"] == 1
    (tried,) = bench.said(LearningRateFound)
    assert tried.request_id == 7
    assert tried.changes["optim.learning_rate"] > 0
    assert len(bench.loop.lr_finder.metrics.column("train_loss")) > 50
    assert list(bench.runs_dir.glob("*")) == []
    assert bench.loop.status.state is State.IDLE


def test_a_paused_run_comes_out_of_a_test_with_the_bits_of_a_twin_left_alone(
    bench: Bench, make_config: MakeConfig
) -> None:
    config = make_config(
        model__dropout=0.2, train__grad_accum_steps=3, train__max_steps=12, optim__ema_decay=0.9
    )
    bench.start(config, "twin")
    alone = bench.finish()

    bench.start(config, "tested")
    bench.to_step(5)
    bench.loop._advance()  # a step is under way, with part of its gradients
    bench.do(Pause())
    bench.do(FindLearningRate(config.replace({"model.n_embd": 32}).to_dict()))
    bench.rest()
    assert bench.said(LearningRateFound)[-1].changes
    assert (bench.loop.status.state, bench.loop.status.step) == (State.PAUSED, 5)
    bench.do(Step())
    bench.do(FindLearningRate(config.to_dict()))  # called off in the middle
    for _ in range(10):
        bench.loop._advance()
    bench.do(EndLearningRateFinder())
    bench.do(Resume())
    assert_same_bits(bench.finish(), alone)


def test_the_run_computes_with_its_own_threads_after_each_quantum(
    bench: Bench, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    settle = torch.set_num_threads

    def set_num_threads(n: int) -> None:
        asked.append(n)
        settle(n)

    monkeypatch.setattr(torch, "set_num_threads", set_num_threads)
    bench.do(FindLearningRate(make_config(system__threads=2).to_dict()))
    for _ in range(3):
        assert torch.get_num_threads() == 1
        asked.clear()
        bench.loop._advance()
        assert set(asked[::2]) == {2} and set(asked[1::2]) == {1}
    bench.do(EndLearningRateFinder())


def test_a_run_in_training_is_not_disturbed(bench: Bench, make_config: MakeConfig) -> None:
    bench.start(make_config(), "run")
    bench.do(FindLearningRate(make_config().to_dict()))
    (refused,) = bench.said(Refused)
    assert refused == Refused(
        "FindLearningRate", "pause the run first: the learning-rate finder needs its processor"
    )
    assert bench.loop.status.state is State.RUNNING
    bench.finish()


def test_whatever_is_wanted_next_ends_the_test(bench: Bench, make_config: MakeConfig) -> None:
    bench.do(FindLearningRate(make_config().to_dict()))
    under_way = bench.loop.lr_finder.under_way
    assert under_way
    bench.start(make_config(train__max_steps=2), "run")
    assert bench.said(LearningRateFound) == [LearningRateFound("")]
    assert len(bench.said(RunOpened)) == 1
    assert not bench.loop.lr_finder.under_way
    bench.finish()


def test_a_run_is_closed_and_saved_in_the_middle_of_a_test(
    bench: Bench, make_config: MakeConfig
) -> None:
    bench.start(make_config(), "run")
    bench.to_step(3)
    bench.do(Pause())
    bench.do(FindLearningRate(make_config().to_dict()))
    bench.loop._advance()
    bench.do(Stop())
    assert bench.loop.status.state is State.STOPPED
    assert bench.loop.status.saved_step == 3
    assert not bench.loop.lr_finder.under_way


def test_a_command_that_waits_calls_off_what_is_being_prepared(
    bench: Bench, make_config: MakeConfig
) -> None:
    bench.loop.send(EndLearningRateFinder())
    bench.do(FindLearningRate(make_config().to_dict()))
    assert bench.said(LearningRateFound) == [LearningRateFound("")]
    assert not bench.loop.lr_finder.under_way


def test_the_end_of_a_test_is_answered_even_when_there_is_none(bench: Bench) -> None:
    bench.do(EndLearningRateFinder())
    assert bench.events == [LearningRateFound("")]


def test_a_text_that_cannot_be_read_refuses_the_test(
    bench: Bench, make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(data__corpus=str(tmp_path / "gone.txt"))
    bench.do(FindLearningRate(config.to_dict()))
    (refused,) = bench.said(Refused)
    assert refused.command == "FindLearningRate" and "gone.txt" in refused.message


def test_a_model_too_large_for_the_memory_is_refused_before_it_is_built(
    bench: Bench, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.training.memory_probe.available_bytes", lambda device: 1000)
    bench.do(FindLearningRate(make_config().to_dict()))
    (refused,) = bench.said(Refused)
    assert "of memory" in refused.message
    assert not bench.loop.lr_finder.under_way


def test_a_failure_of_the_test_is_told_and_the_run_lives_on(
    bench: Bench, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.start(make_config(train__max_steps=4), "run")
    bench.to_step(1)
    bench.do(Pause())
    monkeypatch.setattr(LRFinder, "_has_diverged", lambda test: 1 / 0)
    bench.do(FindLearningRate(make_config().to_dict()))
    bench.rest()
    (refused,) = bench.said(Refused)
    assert refused.message.startswith("the learning-rate finder failed: ZeroDivisionError")
    bench.do(Resume())
    bench.finish()
