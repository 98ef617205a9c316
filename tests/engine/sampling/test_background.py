"""The sampler: how time is shared between writing and training, by a clock of its own."""

from __future__ import annotations

import timeit
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from data.tokenizers import CharTokenizer
from engine.config.presets import preset_config
from engine.config.schema import ModelConfig, SampleConfig
from engine.model import GPT, build_model
from engine.protocol import Event, SampleFinished, SampleStarted, SampleText, Warned
from engine.sampling import background as sampler_module
from engine.sampling.background import Sampler
from engine.sampling.frozen import freeze
from engine.sampling.generate import write
from tests.engine.models import VOCAB, small_model

TOKENIZER = CharTokenizer("\n" + "".join(map(chr, range(40, 40 + VOCAB - 1))))


class Clock:
    """Time passes only where it is said to."""

    now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(sampler_module, "time", clock)
    return clock


class Writer:
    """A sampler whose tokens take as long as they are told to."""

    def __init__(self, clock: Clock, monkeypatch: pytest.MonkeyPatch, token_seconds: float) -> None:
        self.tokens = 0

        def generate(*_: Any, **__: Any) -> Iterator[list[int]]:
            while True:
                clock.now += token_seconds
                self.tokens += 1
                yield [0]

        monkeypatch.setattr(sampler_module, "Generation", generate)
        self.events: list[Event] = []
        tokenizer = CharTokenizer("ab\n")
        self.sampler = Sampler(tokenizer, self.events.append, lambda job: None)
        self.model = GPT(ModelConfig(n_layer=1, n_head=1, n_embd=2, block_size=4), 3)

    def request(self) -> None:
        self.sampler.request(self.model, 1, [SampleConfig(max_tokens=10**6)], automatic=False)


@pytest.mark.parametrize("token_seconds", [0.0004, 0.01, 0.08])
@pytest.mark.parametrize("quantum_seconds", [0.005, 0.05, 0.4])
def test_training_keeps_its_share_while_a_text_is_written(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, token_seconds: float, quantum_seconds: float
) -> None:
    writer = Writer(clock, monkeypatch, token_seconds)
    writer.request()
    start, trained = clock.now, 0.0
    for _ in range(400):
        clock.now += quantum_seconds
        trained += quantum_seconds
        writer.sampler.earn(quantum_seconds)
    assert 0.82 < trained / (clock.now - start) < 0.9


def test_the_first_token_comes_with_the_first_quantum(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(clock, monkeypatch, 0.01)
    writer.request()
    writer.sampler.earn(0.005)
    assert [type(event) for event in writer.events] == [SampleStarted]


def test_nothing_is_saved_up_while_there_is_nothing_to_write(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(clock, monkeypatch, 0.001)
    for _ in range(100_000):
        writer.sampler.earn(0.05)
    writer.request()
    before = clock.now
    writer.sampler.earn(0.05)
    assert clock.now - before < 0.02


def test_one_slice_is_short_however_long_the_quantum_was(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(clock, monkeypatch, 0.001)
    writer.request()
    before = clock.now
    writer.sampler.earn(60.0)
    assert clock.now - before < 0.25


# What is written


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def sampler(events: list[Event]) -> Sampler:
    return Sampler(TOKENIZER, events.append, lambda job: None)


def finish(sampler: Sampler, events: list[Event]) -> str:
    """Write to the end; returns the text."""
    while sampler.active:
        sampler.run_for(0.01)
    return "".join(event.text for event in events if isinstance(event, SampleText))


def test_the_text_is_written_with_the_weights_of_the_step_it_was_asked_for(
    sampler: Sampler, events: list[Event]
) -> None:
    model = small_model().train()
    settings = SampleConfig(max_tokens=40, seed=3)
    (expected,) = write(freeze(model), TOKENIZER, settings, [3])
    sampler.request(model, 1, [settings], automatic=False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    assert finish(sampler, events) == expected.text
    assert model.training and all(parameter.requires_grad for parameter in model.parameters())


def test_the_live_text_follows_all_rules(sampler: Sampler, events: list[Event]) -> None:
    settings = SampleConfig(
        prompt="()", max_tokens=40, top_k=9, top_p=0.9, min_p=0.02, repetition_penalty=1.4, seed=6
    )
    model = small_model(position="rotary")
    (expected,) = write(freeze(model), TOKENIZER, settings, [6])
    sampler.request(model, 1, [settings], automatic=False)
    assert finish(sampler, events) == expected.text


def test_a_stop_string_ends_a_live_text_and_is_not_shown(
    sampler: Sampler, events: list[Event]
) -> None:
    model = small_model()
    (whole,) = write(freeze(model), TOKENIZER, SampleConfig(max_tokens=50), [1])
    stop = whole.text[10:12]
    sampler.request(model, 1, [SampleConfig(max_tokens=50, stop=stop)], automatic=False)
    assert finish(sampler, events) == whole.text[: whole.text.find(stop)]
    (finished,) = [event for event in events if isinstance(event, SampleFinished)]
    assert finished.tokens == whole.text.find(stop) + 2


def test_numbers_that_break_end_the_text_with_a_word(sampler: Sampler, events: list[Event]) -> None:
    model = small_model()
    torch.nn.init.constant_(model.head.weight, float("nan"))
    sampler.request(model, 7, [SampleConfig()], automatic=False)
    finish(sampler, events)
    (warned,) = [event for event in events if isinstance(event, Warned)]
    assert warned.message == "the sample of step 7 ended early: the model's logits are not finite"


def test_freezing_is_cheap() -> None:
    model = build_model(preset_config("nanogpt-cpu").model, VOCAB)
    freeze(model)
    seconds = min(timeit.repeat(lambda: freeze(model), number=1, repeat=20))
    assert seconds < 0.1  # 1 ms on an idle machine; a step of training takes 40
