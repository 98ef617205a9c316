"""Every setting at its smallest and largest value: refused in a sentence, or it works at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest

from data.batches import Split
from data.errors import InputError
from data.tokenizers import CharTokenizer
from engine.config.schema import SETTINGS
from engine.config.setting import Setting, Value
from engine.runs.text import check_fit
from engine.training import runtime
from engine.training.runtime import resolve_runtime
from tests.engine.conftest import MakeConfig

SECONDS = 5.0  # for one value; most take a hundredth of a second
FEW: dict[str, Value] = {"model.n_layer": 1, "model.n_head": 1, "model.n_embd": 4}


def extremes(setting: Setting) -> Iterator[Value]:
    if setting.minimum is not None:
        yield setting.type(setting.minimum)
    if setting.maximum is not None:
        yield setting.type(setting.maximum)
    if setting.above is not None and setting.type is float:
        yield setting.above + 1e-300 if setting.above == 0 else setting.above * (1 + 1e-15)
    yield from setting.special


CASES = [
    pytest.param(setting.key, value, id=f"{setting.key}={value}")
    for setting in SETTINGS.values()
    if not setting.choices and setting.type in (int, float)
    for value in extremes(setting)
]


@pytest.fixture(scope="module")
def long_text() -> Split:
    """Long enough for the longest context, in no memory worth mentioning."""
    return Split(np.zeros(131_073, np.uint8), np.zeros(131_073, np.uint8))


@pytest.mark.parametrize(("key", "value"), CASES)
def test_an_extreme_value_is_refused_or_its_memory_predicted_at_once(
    make_config: MakeConfig,
    long_text: Split,
    tokenizer: CharTokenizer,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    value: Value,
) -> None:
    monkeypatch.setattr(runtime, "PROBE_SECONDS", 0.0)
    monkeypatch.setattr(runtime, "PASS_FLOPS", 1e8)
    started = time.monotonic()
    with suppress(InputError):
        config = make_config(system__kernels="torch", system__micro_batch_size=0)
        config = config.replace(FEW | {key: value})
        check_fit(config.model, tokenizer, long_text)
        if key.split(".")[0] in ("model", "train", "system"):
            silent = lambda line: None  # noqa: E731
            resolve_runtime(config, long_text, tokenizer.vocab_size, silent, silent)
    assert time.monotonic() - started < SECONDS
