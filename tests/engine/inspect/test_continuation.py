"""A text goes on as by the plain ``generate``, a token read at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from engine.config.presets import PRESETS, preset_config
from engine.inspect import continuation as module
from engine.inspect.continuation import continuation
from engine.inspect.layers import switched_off
from engine.model import GPT, LanguageModel
from engine.model.block import Block
from tests.engine.inspect.test_attention import every_kind, model_of
from tests.engine.model.test_causality import scaled_down
from tests.engine.models import random_model, small_model, some_tokens

IDS = some_tokens(1)[0].tolist()  # 12, as many as the context


def most_likely(model: LanguageModel, ids: list[int], count: int) -> list[int]:
    """By a pass over the whole window for each token."""
    tokens = LanguageModel.generate(model, ids, count, temperature=0)
    return [int(one) for one in tokens[len(ids) :]]


@every_kind
@pytest.mark.parametrize("length", [1, 2, 5, 12])
def test_it_is_the_most_likely_one_within_the_context_and_past_it(kind: str, length: int) -> None:
    model = model_of(kind)
    assert continuation(model, IDS[:length], 16) == most_likely(model, IDS[:length], 16)


@torch.no_grad()
@every_kind
def test_the_logits_of_each_token_are_those_of_a_pass_over_all_of_them(kind: str) -> None:
    model = model_of(kind)
    reader = module._Reader(model, 12)
    for length in range(4, 13):
        expected = model(torch.tensor([IDS[:length]]))[0, -1]
        torch.testing.assert_close(reader.read(IDS[:length], moved=False), expected)
    others = IDS[::-1]  # a text that begins elsewhere
    expected = model(torch.tensor([others]))[0, -1]
    torch.testing.assert_close(reader.read(others, moved=True), expected)


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "bigram"])
def test_that_of_every_preset(name: str) -> None:
    model = random_model(scaled_down(preset_config(name).model))
    assert isinstance(model, GPT)
    assert continuation(model, IDS[:3], 8) == most_likely(model, IDS[:3], 8)


@pytest.mark.parametrize("part", [1, "attention", "feed_forward", "layer"])
def test_that_of_a_model_without_a_part(part: Any) -> None:
    changed = switched_off(small_model(), 0, part)
    assert continuation(changed, IDS[:3], 8) == most_likely(changed, IDS[:3], 8)


def test_in_bfloat16_it_reads_what_the_model_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    model.compute_with(torch.bfloat16, native=False)
    dtypes: set[torch.dtype] = set()
    attend = module._Attention.__call__

    def spied(self: module._Attention, x: torch.Tensor, rope: None) -> torch.Tensor:
        dtypes.update((x.dtype, self._keys.dtype))
        return attend(self, x, rope)

    monkeypatch.setattr(module._Attention, "__call__", spied)
    assert len(continuation(model, IDS[:3], 4)) == 4
    assert dtypes == {torch.bfloat16}


def test_each_token_within_the_context_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    read: list[int] = []
    block = model.blocks[0]
    assert isinstance(block, Block)
    block.norm_1.register_forward_hook(lambda _, inputs, out: read.append(inputs[0].size(1)))
    continuation(model, IDS[:5], 6)
    assert read == [5, 1, 1, 1, 1, 1]


def test_there_is_none_of_weights_that_are_no_numbers() -> None:
    model = small_model()
    with torch.no_grad():
        model.head.weight[3, 0] = torch.nan
    assert continuation(model, IDS[:3], 4) == []


def test_it_leaves_the_model_in_its_mode() -> None:
    model = small_model(dropout=0.5).train()
    assert continuation(model, IDS[:3], 4) == continuation(model, IDS[:3], 4)
    assert model.training
