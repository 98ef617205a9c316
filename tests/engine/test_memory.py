"""A model that cannot fit is refused before anything is built."""

from __future__ import annotations

import pytest

from data.errors import InputError
from engine import memory
from engine.config import ModelConfig
from engine.memory import check_memory, parameter_estimate
from engine.model import GPT


@pytest.mark.parametrize("tied", [True, False])
def test_the_estimate_is_close_to_the_model(tied: bool) -> None:
    config = ModelConfig(n_layer=3, n_head=2, n_embd=64, block_size=16, tie_weights=tied)
    exact = sum(parameter.numel() for parameter in GPT(config, 65).parameters())
    assert parameter_estimate(config, 65) == pytest.approx(exact, rel=0.01)


def test_a_model_beyond_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "probably_has_cuda", lambda: False)
    with pytest.raises(InputError, match=r"needs .* GB of memory, and this machine has .* GB"):
        check_memory(ModelConfig(n_layer=200, n_head=2, n_embd=32768), 65)
    check_memory(ModelConfig(), 65)
