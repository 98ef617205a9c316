"""A model that cannot fit is refused before anything is built."""

from __future__ import annotations

from typing import Any

import pytest

from data.errors import InputError
from engine import memory
from engine.config import ModelConfig
from engine.memory import check_memory, parameter_estimate
from engine.model import build_model


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_weights": False},
        {"n_kv_head": 1, "position": "rotary"},
        {"n_gram": 4, "activation": "swiglu"},
        {"architecture": "bigram"},
    ],
)
def test_the_estimate_is_close_to_the_model(changes: dict[str, Any]) -> None:
    shape: dict[str, Any] = {"n_layer": 3, "n_head": 2, "n_embd": 64, "block_size": 16}
    config = ModelConfig(**shape | changes)
    exact = sum(parameter.numel() for parameter in build_model(config, 65).parameters())
    assert parameter_estimate(config, 65) == pytest.approx(exact, rel=0.01)


def test_a_model_beyond_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "probably_has_cuda", lambda: False)
    with pytest.raises(InputError, match=r"needs .* GB of memory, and this machine has .* GB"):
        check_memory(ModelConfig(n_layer=200, n_head=2, n_embd=32768), 65)
    check_memory(ModelConfig(), 65)
