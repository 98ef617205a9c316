"""The logit lens ends in the model's logits, and what is switched off is as if it were zero."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.errors import InputError
from engine.config.presets import PRESETS, preset_config
from engine.config.schema import ModelConfig
from engine.inspect import layers
from engine.inspect.layers import (
    Part,
    Worth,
    logit_lens,
    parts_of,
    stream_norms,
    switched_off,
    worth,
)
from engine.model import GPT, LanguageModel
from engine.model.block import Block
from engine.sampling.generate import use_fast_generate
from tests.engine.conftest import assert_same_bits, weights
from tests.engine.inspect.test_attention import KINDS, every_kind, model_of
from tests.engine.model.test_causality import scaled_down
from tests.engine.models import VOCAB, random_model, small_model, some_tokens

IDS = some_tokens(1)[0]  # (12,)
PARTS: tuple[Part, ...] = (0, 1, "attention", "feed_forward", "layer")


def block_of(model: GPT, layer: int) -> Block:
    block = model.blocks[layer]
    assert isinstance(block, Block)
    return block


def assert_close(found: object, expected: Any, tolerance: float = 1e-5) -> None:
    expected = expected.detach().numpy() if isinstance(expected, Tensor) else expected
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=tolerance)


# The logit lens


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in PRESETS if name != "bigram"])
def test_the_last_row_of_the_lens_is_what_the_model_predicts(name: str) -> None:
    model = random_model(scaled_down(preset_config(name).model))
    probabilities = model(IDS[None])[0].softmax(-1)  # (T, V)
    lens, L = logit_lens(model, IDS), model.config.n_layer
    assert lens.likeliest.shape == lens.truth.shape == lens.entropy.shape == (L + 1, 12)
    most, likeliest = probabilities.max(-1)
    np.testing.assert_array_equal(lens.likeliest[-1], likeliest.numpy())
    np.testing.assert_array_equal(lens.probability[-1], most.numpy())  # the same bits
    truth = probabilities[torch.arange(11), IDS[1:]]
    np.testing.assert_array_equal(lens.truth[-1, :-1], truth.numpy())
    assert np.isnan(lens.truth[:, -1]).all()  # nothing follows the last token


@torch.no_grad()
@every_kind
def test_each_row_of_the_lens_is_the_head_on_the_stream_of_a_layer(kind: str) -> None:
    model = model_of(kind)
    x, rope = model.embed(IDS[None], torch.arange(12)), model._rope(torch.arange(12))
    lens = logit_lens(model, IDS)
    for row in range(3):
        probabilities = model.logits(x)[0].double().softmax(-1)
        assert_close(lens.probability[row], probabilities.max(-1).values)
        bits = -(probabilities * probabilities.log2()).sum(-1)
        assert_close(lens.entropy[row], bits, 1e-4)
        if row < 2:
            x = model.blocks[row](x, rope)


def test_logits_are_made_a_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("rotary")
    whole = logit_lens(model, IDS)
    monkeypatch.setattr(layers, "LOGITS_AT_ONCE", 5 * VOCAB)
    pieces = logit_lens(model, IDS)
    np.testing.assert_array_equal(pieces.likeliest, whole.likeliest)
    for name in ("probability", "truth", "entropy"):
        assert_close(getattr(pieces, name), getattr(whole, name), 1e-6)


# What each layer adds


@torch.no_grad()
@every_kind
def test_norms_are_those_of_the_outputs_of_the_modules(kind: str) -> None:
    model = model_of(kind)
    seen: dict[nn.Module, Tensor] = {}
    for module in model.modules():
        module.register_forward_hook(lambda one, _, out: seen.__setitem__(one, out))
    model(IDS[None])
    norms = stream_norms(model, IDS)
    for layer in range(2):
        block = block_of(model, layer)
        assert_close(norms.stream[layer + 1], seen[block][0].norm(dim=-1), 1e-4)
        assert_close(norms.added[layer, 0], seen[block.attention][0].norm(dim=-1), 1e-4)
        if block.feed_forward is None:
            assert (norms.added[layer, 1] == 0).all()
        else:
            assert_close(norms.added[layer, 1], seen[block.feed_forward][0].norm(dim=-1), 1e-4)
    assert_close(norms.stream[0], model.embed(IDS[None], torch.arange(12))[0].norm(dim=-1), 1e-4)


# The model without a part


def zeroed(model: GPT, layer: int, part: Part) -> GPT:
    """A copy in which the weights of the part are zero, or its output is where it has none."""
    model = copy.deepcopy(model)
    if part == "layer":
        rest = GPT(dataclasses.replace(model.config, n_layer=1), VOCAB).eval()
        names = {f"blocks.{1 - layer}.": "blocks.0."}
        kept = {
            name.replace(old, new): tensor
            for old, new in names.items()
            for name, tensor in model.state_dict().items()
            if not name.startswith(f"blocks.{layer}.")
        }
        rest.load_state_dict(kept)
        return rest
    block = block_of(model, layer)
    sublayer = block.feed_forward if part == "feed_forward" else block.attention
    assert sublayer is not None
    size = block.attention.head_size
    columns = slice(part * size, (part + 1) * size) if isinstance(part, int) else slice(None)
    if isinstance(sublayer.proj, nn.Linear):
        with torch.no_grad():
            sublayer.proj.weight[:, columns] = 0
            if sublayer.proj.bias is not None and not isinstance(part, int):
                sublayer.proj.bias.zero_()
    else:
        sublayer.proj.register_forward_hook(lambda _module, _inputs, out: without(out, columns))
    return model


def without(x: Tensor, columns: slice) -> Tensor:
    x = x.clone()
    x[..., columns] = 0
    return x


@torch.no_grad()
@every_kind
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("layer", [0, 1])
def test_what_is_switched_off_is_as_if_its_weights_were_zero(
    kind: str, part: Part, layer: int
) -> None:
    model = model_of(kind)
    if part not in parts_of(model.config):
        return
    whole = model(IDS[None])
    changed = switched_off(model, layer, part)
    torch.testing.assert_close(changed(IDS[None]), zeroed(model, layer, part)(IDS[None]))
    assert not torch.allclose(changed(IDS[None]), whole, atol=1e-3)
    assert torch.equal(model(IDS[None]), whole)


@torch.no_grad()
def test_a_layer_is_both_its_sublayers() -> None:
    """With a residual connection and no norm after it."""
    model = small_model(bias=True)
    both = switched_off(switched_off(model, 0, "attention"), 0, "feed_forward")
    torch.testing.assert_close(switched_off(model, 0, "layer")(IDS[None]), both(IDS[None]))


def test_a_model_without_a_part_shares_the_weights_of_the_others() -> None:
    model = small_model(tie_weights=True)
    changed = switched_off(model, 0, 1)
    same = {name for name, p in model.named_parameters() if changed.get_parameter(name) is p}
    others = {name for name, _ in model.named_parameters()} - same
    assert others == {"blocks.0.attention.proj.weight"}
    assert changed.head.weight is model.head.weight
    model.train()  # each is in a mode of its own
    assert not changed.training and not any(one.training for one in changed.modules())


@pytest.mark.parametrize("kind", ["grouped", "post-norm", "no projection"])
@pytest.mark.parametrize("part", PARTS)
def test_text_is_generated_without_the_part_fast_and_plainly_alike(kind: str, part: Part) -> None:
    """Also where nothing is left of a model of one layer."""
    for depth in (1, 2):
        model = use_fast_generate(small_model(**KINDS[kind], n_layer=depth))
        assert isinstance(model, GPT)
        changed = switched_off(model, 0, part)
        text = changed.generate([1, 2], 10, seed=1).tolist()
        assert text == LanguageModel.generate(changed, [1, 2], 10, seed=1).tolist()
        assert text != model.generate([1, 2], 10, seed=1).tolist()


def loss_of(model: LanguageModel, windows: Tensor) -> float:
    with torch.no_grad():
        logits = model(windows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten()).item()


def all_of(windows: Any, model: LanguageModel) -> tuple[list[Worth], float]:
    pieces, found = worth(model, windows), []
    while True:
        try:
            found.append(next(pieces))
        except StopIteration as end:
            return found, end.value


@every_kind
def test_worth_is_the_loss_without_a_part_minus_the_loss(kind: str) -> None:
    model, windows = model_of(kind), some_tokens(3, 13)  # the context, and the token after it
    found, loss = all_of(windows, model)
    assert loss == pytest.approx(loss_of(model, windows), abs=1e-5)
    expected = [(layer, part) for layer in range(2) for part in parts_of(model.config)]
    assert [(one.layer, one.part) for one in found] == expected
    for one in found:
        assert one.loss == pytest.approx(
            loss_of(switched_off(model, one.layer, one.part), windows), abs=1e-5
        )
        assert one.difference == pytest.approx(one.loss - loss, abs=1e-9)


def test_a_head_that_is_not_read_is_worth_nothing() -> None:
    model = model_of("grouped")
    with torch.no_grad():
        model.get_parameter("blocks.1.attention.proj.weight")[:, 8:12] = 0  # of head 2
    found = {(one.layer, one.part): one.difference for one in all_of(some_tokens(2), model)[0]}
    assert found[1, 2] == 0
    assert all(abs(one) > 1e-4 for place, one in found.items() if place != (1, 2))


@every_kind
def test_looking_changes_nothing(kind: str) -> None:
    model = model_of(kind).train()
    before, random = weights(model), torch.get_rng_state()
    logit_lens(model, IDS)
    stream_norms(model, IDS)
    for _ in worth(model, some_tokens(2)):
        assert model.training and torch.is_grad_enabled()  # between two pieces all is as it was
    for part in parts_of(model.config):
        switched_off(model, 1, part)(IDS[None])
    assert model.training and torch.equal(torch.get_rng_state(), random)
    assert_same_bits(before, weights(model))


def test_nan_weights_are_shown_as_nan() -> None:
    model = model_of("grouped")
    with torch.no_grad():
        model.get_parameter("blocks.1.feed_forward.up.weight").fill_(torch.nan)
    lens, norms = logit_lens(model, IDS), stream_norms(model, IDS)
    for figures in (lens.probability, lens.entropy, norms.stream):
        assert np.isfinite(figures[1]).all() and np.isnan(figures[2]).all()
    assert np.isfinite(norms.added[1, 0]).all() and np.isnan(norms.added[1, 1]).all()
    found, loss = all_of(some_tokens(2), model)
    assert math.isnan(loss) and all(math.isnan(one.difference) for one in found)
    finite = [(one.layer, one.part) for one in found if math.isfinite(one.loss)]
    assert finite == [(1, "layer")]  # the loss without the layer that is broken


LOOKS: list[Callable[[LanguageModel, Any], object]] = [
    logit_lens,
    stream_norms,
    lambda model, ids: next(worth(model, np.array([ids], np.int64))),
]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize(
    ("ids", "problem"),
    [([], "there is no text to look at"), ([1] * 14, "14 tokens long.* context is 12: shorten")],
)
def test_a_text_that_cannot_be_looked_at_is_refused(
    look: Callable[[LanguageModel, Any], object], ids: list[int], problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        look(model_of("grouped"), ids)


def test_a_single_token_has_no_loss() -> None:
    with pytest.raises(InputError, match="has no next one to predict: give at least two"):
        next(worth(model_of("grouped"), torch.tensor([[1]])))
    assert logit_lens(model_of("grouped"), [1]).likeliest.shape == (3, 1)


@pytest.mark.parametrize("look", LOOKS)
def test_a_bigram_says_what_it_has_instead(look: Callable[[LanguageModel, Any], object]) -> None:
    bigram = random_model(ModelConfig(architecture="bigram"))
    with pytest.raises(InputError, match=r"a bigram has no layers.*look at its prediction"):
        look(bigram, [1, 2, 3])


@pytest.mark.parametrize(
    ("layer", "part", "problem"),
    [
        (2, "layer", "there is no layer 2: the model has 2"),
        (0, 7, "there is no head 7: the layer has 2"),
        (0, "feed_forward", "layer 0 has no feed-forward: switch off its attention or the whole"),
    ],
)
def test_a_part_that_does_not_exist_is_named(layer: int, part: Part, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        switched_off(model_of("no residual"), layer, part)
