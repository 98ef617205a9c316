"""The engine as a library: what the lecture says in a notebook, said here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import engine
from engine.config.presets import PRESETS
from engine.model import LanguageModel
from engine.sampling.generate import use_fast_generate
from tests.engine.models import VOCAB, random_model, small_config

POSITIONS = ["learned", "sinusoidal", "rotary", "none"]


@pytest.fixture
def new(monkeypatch: pytest.MonkeyPatch, small_text_file: Path) -> Any:
    """``engine.new``, its text the tests' own."""
    text = PRESETS.copy()
    for name, preset in text.items():
        values = preset.values | {"data.corpus": str(small_text_file)}
        monkeypatch.setitem(PRESETS, name, type(preset)(name, preset.help, values))
    return engine.new


def test_a_new_model_is_an_untrained_rung_with_the_tokenizer_of_its_text(new: Any) -> None:
    model = new("lets-build-gpt")
    assert isinstance(model, LanguageModel) and model.tokenizer is not None
    ids = torch.tensor(model.tokenizer.encode("Rome"))  # (T,)
    logits = model(ids[None])
    assert logits.shape == (1, len(ids), model.tokenizer.vocab_size)
    text = model.generate(ids, max_length=5, seed=1)
    assert model.tokenizer.decode(text.tolist()).startswith("Rome")
    assert len(text) == len(ids) + 5


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(new: Any) -> None:
    one, same, other = new("layer-norm"), new("layer-norm"), new("layer-norm", seed=7)
    weights = [dict(model.named_parameters())["head.weight"] for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("kind", [np.uint16, np.uint8, np.int32, np.int64])
@pytest.mark.parametrize("architecture", ["gpt", "bigram"])
def test_a_model_takes_ids_of_any_integer_type(kind: Any, architecture: str) -> None:
    model = random_model(small_config(architecture=architecture))
    ids = np.arange(8).reshape(2, 4)
    expected = model(torch.tensor(ids))
    assert torch.equal(model(torch.tensor(ids.astype(kind))), expected)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize(
    "rules",
    [
        {"temperature": 0.0},
        {},
        {"temperature": 0.7, "top_k": 5, "top_p": 0.9, "min_p": 0.01, "repetition_penalty": 1.2},
    ],
    ids=["greedy", "plain", "rules"],
)
def test_the_plain_way_to_write_and_the_fast_one_write_the_same(
    position: str, rules: dict[str, Any]
) -> None:
    """Within the context; past it each keeps another part of the text."""
    model = random_model(small_config(position=position, n_gram=2))
    room = model.config.block_size - 3
    plain = model.generate([1, 2, 3], room, seed=5, **rules)
    assert plain[:3].tolist() == [1, 2, 3] and len(plain) == 3 + room
    assert max(plain.tolist()) < VOCAB
    fast = use_fast_generate(model).generate([1, 2, 3], room, seed=5, **rules)
    assert torch.equal(plain, fast)


def test_writing_past_the_context_goes_on_and_leaves_the_model_as_it_was() -> None:
    model = random_model(small_config()).train()
    text = model.generate(torch.tensor([[1]]), 3 * model.config.block_size, seed=1)
    assert len(text) == 1 + 3 * model.config.block_size
    assert model.training
