"""The sampler: how time is shared between writing and training, by a clock of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from data.tokenizers import CharTokenizer
from engine import sampler as sampler_module
from engine.config import ModelConfig, SampleConfig
from engine.model import GPT
from engine.protocol import Event, SampleStarted
from engine.sampler import Sampler


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

        def generate(*_: Any) -> Iterator[int]:
            while True:
                clock.now += token_seconds
                self.tokens += 1
                yield 0

        monkeypatch.setattr(sampler_module, "generate", generate)
        self.events: list[Event] = []
        tokenizer = CharTokenizer("ab\n")
        self.sampler = Sampler(tokenizer, self.events.append, lambda job: None)
        self.model = GPT(ModelConfig(n_layer=1, n_head=1, n_embd=2, block_size=4), 3)

    def request(self) -> None:
        self.sampler.request(self.model, 1, SampleConfig(max_tokens=10**6), automatic=False)


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


def test_the_weights_are_frozen_when_the_text_is_asked_for(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(clock, monkeypatch, 0.001)
    seen = []
    monkeypatch.setattr(
        sampler_module, "generate", lambda model, *_: seen.append(model) or iter(())
    )
    writer.model.train()
    writer.request()
    (frozen,) = seen
    assert frozen is not writer.model
    assert not frozen.training and writer.model.training
    assert frozen.head.weight is frozen.token_embedding.weight
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert all(parameter.requires_grad for parameter in writer.model.parameters())
