"""How long a training takes is told from a moment of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from data.batches import Split
from data.tokenizers import CharTokenizer
from engine.config.schema import Config
from engine.training import runtime
from tests.engine.conftest import MakeConfig


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock takes a tenth of a second."""
    now = 0.0

    def perf_counter() -> float:
        nonlocal now
        now += 0.1
        return now

    monkeypatch.setattr(runtime, "time", SimpleNamespace(perf_counter=perf_counter))


@pytest.mark.usefixtures("clock")
def test_it_grows_with_steps_and_micro_batches(
    make_config: MakeConfig, split: Split, tokenizer: CharTokenizer
) -> None:
    def seconds(config: Config) -> float:
        return runtime.training_seconds(
            config, split, tokenizer.vocab_size, lambda message: None, lambda message: None
        )

    once = seconds(make_config(train__max_steps=10))
    assert once > 0
    assert seconds(make_config(train__max_steps=20)) == pytest.approx(2 * once)
    assert seconds(
        make_config(train__max_steps=10, train__grad_accum_steps=3, system__micro_batch_size=2)
    ) == pytest.approx(6 * once)
    assert seconds(make_config(train__max_epochs=1.0)) == pytest.approx(
        once / 10 * -(-len(split.train) // 32)
    )  # 4 sequences of 8 a step
