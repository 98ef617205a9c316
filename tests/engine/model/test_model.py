"""The model as a whole: its paths agree, and it begins with the shape and the weights it should."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from torch.nn import functional as F

from engine.config.presets import preset_config
from engine.config.schema import SETTINGS, ModelConfig
from engine.model import GPT
from engine.model.block import Block
from engine.model.layers import Dropout
from tests.engine.models import (
    VOCAB,
    model_configs,
    random_model,
    relative_error,
    small_config,
    small_model,
    some_tokens,
    with_dropout,
)

# Paths


@settings(max_examples=60, deadline=None)
@given(config=model_configs())
@torch.no_grad()
def test_the_reference_path_gives_the_logits_of_the_fast_one(config: ModelConfig) -> None:
    model, tokens = random_model(config), some_tokens()
    assert isinstance(model, GPT)
    positions = model._positions(tokens)
    x, rope = model.embed(tokens, positions), model._rope(positions)
    for block in model.blocks:
        assert isinstance(block, Block)
        x, _ = block.reference(x, rope)
    assert relative_error(model.logits(x), model(tokens)) < 1e-4


@settings(max_examples=20, deadline=None)
@given(config=model_configs())
def test_attention_weights_sum_to_one_and_never_look_ahead(config: ModelConfig) -> None:
    weights = random_model(config).attention_weights(some_tokens())
    assert [tuple(one.shape) for one in weights] == [(3, config.n_head, 12, 12)] * config.n_layer
    for one in weights:
        torch.testing.assert_close(one.sum(-1), torch.ones(3, config.n_head, 12))
        assert (one.triu(1) == 0).all()
        assert (one >= 0).all()


def test_a_bigram_is_a_table_and_has_no_attention() -> None:
    model, tokens = random_model(ModelConfig(architecture="bigram")), some_tokens()
    assert torch.equal(model(tokens), model.get_parameter("token_embedding.weight")[tokens])
    assert model.attention_weights(tokens) == []
    assert model.parameter_count() == VOCAB**2


# Shape and beginning


def closed_form_count(n_layer: int, n_embd: int) -> int:
    """Without biases and position embeddings: 12 C² and two norms a block, one norm, the tokens."""
    return n_layer * (12 * n_embd**2 + 2 * n_embd) + n_embd + VOCAB * n_embd


@pytest.mark.parametrize(("preset", "millions"), [("nanogpt-cpu", "0.80"), ("nanogpt", "10.65")])
def test_a_preset_has_as_many_parameters_as_nanogpt_counts(preset: str, millions: str) -> None:
    config = preset_config(preset).model
    model = GPT(config, VOCAB)
    assert model.parameter_count() == closed_form_count(config.n_layer, config.n_embd)
    assert f"{model.parameter_count() / 1e6:.2f}" == millions


def test_an_untied_head_and_biases_are_counted() -> None:
    plain, full = small_model(), small_model(tie_weights=False, bias=True)
    biases_of_a_block = (48 + 16) + (64 + 16) + 2 * 16
    more = VOCAB * 16 + 2 * biases_of_a_block + 16
    assert full.parameter_count() == plain.parameter_count() + more


def test_a_tied_head_is_the_token_embedding() -> None:
    assert (model := small_model()).head.weight is model.token_embedding.weight
    assert (model := small_model(tie_weights=False)).head.weight is not model.token_embedding.weight


def test_weights_begin_as_gpt2s() -> None:
    torch.manual_seed(0)
    model = GPT(ModelConfig(n_layer=8, n_embd=64, block_size=64, bias=True), VOCAB)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            wanted = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            assert (parameter == wanted).all(), name
            continue
        std = 0.02 / math.sqrt(2 * 8) if name.endswith("proj.weight") else 0.02
        assert parameter.std().item() == pytest.approx(std, rel=0.05), name
        assert abs(parameter.mean().item()) < 5 * std / math.sqrt(parameter.numel()), name


@pytest.mark.parametrize("init", SETTINGS["model.init"].choices)
def test_zero_init_begins_with_blocks_that_do_nothing_and_predictions_that_are_guesses(
    init: str,
) -> None:
    torch.manual_seed(0)
    untied = small_config(zero_init=True, tie_weights=False, n_gram=3, bias=True, init=init)
    assert (GPT(untied, VOCAB)(some_tokens()) == 0).all()
    tied = GPT(small_config(zero_init=True, n_gram=3, bias=True, init=init), VOCAB)
    x = tied.embed(some_tokens(), torch.arange(12))
    assert torch.equal(tied.blocks[1](tied.blocks[0](x)), x)
    expected = tied.token_embedding.weight[some_tokens()] + tied.position_embedding.weight[:12]
    assert torch.equal(x, expected)  # the n-gram tables are zero, too


def test_every_parameter_of_a_zero_init_model_gets_going() -> None:
    torch.manual_seed(0)
    model = GPT(small_config(zero_init=True, tie_weights=False, n_gram=2, bias=True), VOCAB)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for _ in range(3):  # the head first, then what feeds it, then what feeds that
        optimizer.zero_grad()
        logits, targets = model(some_tokens()), some_tokens(seed=2)
        torch.autograd.backward(F.cross_entropy(logits.flatten(0, 1), targets.flatten()))
        optimizer.step()
    still = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    assert still == []


def test_torchs_init_is_what_torchs_layers_begin_with() -> None:
    config = small_config(init="torch", n_embd=64, bias=True, tie_weights=False)
    model = GPT(config, VOCAB)
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            assert module.weight.std().item() == pytest.approx(1.0, rel=0.1)
        elif isinstance(module, torch.nn.Linear):  # uniform within 1 / sqrt(inputs)
            bound = module.in_features**-0.5
            for one in (module.weight, module.bias):
                assert one is None or 0.8 * bound < one.abs().max() <= bound


def test_the_spread_of_the_embeddings_is_as_asked() -> None:
    torch.manual_seed(0)
    model = GPT(ModelConfig(n_layer=1, n_embd=64, embd_std=0.3, n_gram=2), VOCAB)
    assert model.token_embedding.weight.std().item() == pytest.approx(0.3, rel=0.05)
    for other in ("position_embedding.weight", "previous_embeddings.0.weight"):
        assert model.get_parameter(other).std().item() == pytest.approx(0.02, rel=0.05)


def test_an_embedding_sums_the_tokens_before_it_each_from_a_table_of_its_own() -> None:
    model = small_model(n_gram=3, position="none")
    one, two = (table.get_parameter("weight") for table in model.previous_embeddings)
    tokens = some_tokens(length=5)
    x = model.embed(tokens, torch.arange(5))
    for b in range(3):
        for t in range(5):
            expected = model.token_embedding.weight[tokens[b, t]]
            expected = expected + (one[tokens[b, t - 1]] if t > 0 else 0)
            expected = expected + (two[tokens[b, t - 2]] if t > 1 else 0)
            torch.testing.assert_close(x[b, t], expected)


def test_a_soft_cap_bends_the_logits_as_gemmas_does() -> None:
    plain, capped = small_model(), small_model(logit_softcap=1.0)
    logits = plain(some_tokens())
    assert logits.abs().max() > 1
    torch.testing.assert_close(capped(some_tokens()), torch.tanh(logits))


def test_a_model_without_residuals_norms_and_projections_is_the_lectures_one_head() -> None:
    """Its third rung: token and position, one head of attention, a linear layer to the logits."""
    model = small_model(
        n_layer=1,
        n_head=1,
        norm="none",
        residual=False,
        output_proj=False,
        mlp_ratio=0.0,
        tie_weights=False,
    )
    tokens = some_tokens(length=8)
    x = model.token_embedding.weight[tokens] + model.position_embedding.weight[:8]  # (B, T, C)
    qkv = model.get_parameter("blocks.0.attention.qkv.weight")  # (3 C, C)
    q, k, v = (x @ rows.T for rows in qkv.chunk(3))
    scores = q @ k.mT * 16**-0.5
    weights = scores.masked_fill(torch.tril(torch.ones(8, 8)) == 0, float("-inf")).softmax(-1)
    expected = (weights @ v) @ model.head.weight.T
    torch.testing.assert_close(model(tokens), expected, rtol=1e-4, atol=1e-5)
    assert len(list(model.parameters())) == 4


def test_too_long_an_input_is_a_clear_error() -> None:
    with pytest.raises(ValueError, match="13 tokens are more than the model's context length 12"):
        small_model()(some_tokens(length=13))


def test_dropout_can_be_changed_everywhere_and_each_kind_by_itself() -> None:
    model, tokens = small_model().train(), some_tokens()
    assert torch.equal(model(tokens), model(tokens))
    with_dropout(model, dropout=0.5)
    assert rates_of(model) == ["embd 0.5"] + 2 * ["attn 0.5", "resid 0.5", "resid 0.5"]
    assert not torch.equal(model(tokens), model(tokens))
    assert torch.equal(model.eval()(tokens), model(tokens))
    with_dropout(model, dropout=0.5, attn_dropout=0.0, resid_dropout=0.1)
    assert rates_of(model) == ["embd 0.5"] + 2 * ["attn 0.0", "resid 0.1", "resid 0.1"]
    built = GPT(small_config(dropout=0.5, attn_dropout=0.0, resid_dropout=0.1), VOCAB)
    assert rates_of(built) == rates_of(model)


@pytest.mark.parametrize("kind", ["embd", "attn", "resid"])
def test_each_kind_of_dropout_drops_something(kind: str) -> None:
    model, tokens = small_model().train(), some_tokens()
    with_dropout(model, **{f"{kind}_dropout": 0.5})
    assert not torch.equal(model(tokens), model(tokens))


def rates_of(model: GPT) -> list[str]:
    return [f"{m.kind} {m.p}" for m in model.modules() if isinstance(m, Dropout)]
