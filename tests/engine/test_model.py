"""The model: against an independent GPT-2, against the formulas, and blind to the future."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from engine.config import ModelConfig
from engine.model import GPT
from engine.model.attention import CausalSelfAttention
from engine.presets import preset_config

VOCAB = 65


def small_model(seed: int = 0, **changes: Any) -> GPT:
    torch.manual_seed(seed)
    shape: dict[str, Any] = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 12}
    model = GPT(ModelConfig(**shape | changes), VOCAB).eval()
    for parameter in model.parameters():  # far from the small numbers it begins with
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def some_tokens(batch: int = 3, length: int = 12, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(VOCAB, (batch, length), generator=generator)


# Against Hugging Face


@pytest.fixture(scope="module")
def twins() -> tuple[GPT, Any]:
    """Ours and Hugging Face's GPT-2 with the same random weights."""
    transformers = pytest.importorskip("transformers")
    ours = small_model(n_layer=3, n_head=4, n_embd=32, block_size=24, bias=True)
    config = transformers.GPT2Config(
        vocab_size=VOCAB,
        n_positions=24,
        n_embd=32,
        n_layer=3,
        n_head=4,
        activation_function="gelu",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    theirs = transformers.GPT2LMHeadModel(config).eval()
    names = {hf: name for name, hf in hugging_face_names(3).items()}
    own = dict(ours.named_parameters())
    with torch.no_grad():
        for hf_name, parameter in theirs.named_parameters():
            parameter.copy_(as_theirs(own[names[hf_name]], hf_name))
    return ours, theirs


def hugging_face_names(n_layer: int) -> dict[str, str]:
    """Our names of the parameters, and theirs."""
    names = {
        "token_embedding.weight": "transformer.wte.weight",
        "position_embedding.weight": "transformer.wpe.weight",
        "norm.weight": "transformer.ln_f.weight",
        "norm.bias": "transformer.ln_f.bias",
    }
    inside = {
        "norm_1": "ln_1",
        "attention.qkv": "attn.c_attn",
        "attention.proj": "attn.c_proj",
        "norm_2": "ln_2",
        "feed_forward.up": "mlp.c_fc",
        "feed_forward.proj": "mlp.c_proj",
    }
    for i in range(n_layer):
        for here, there in inside.items():
            for what in ("weight", "bias"):
                names[f"blocks.{i}.{here}.{what}"] = f"transformer.h.{i}.{there}.{what}"
    return names


def as_theirs(tensor: Tensor, hf_name: str) -> Tensor:
    """Their matrices inside a block are Conv1D: ours transposed."""
    return tensor.T if ".h." in hf_name and tensor.dim() == 2 else tensor


def test_logits_are_those_of_hugging_faces_gpt2(twins: tuple[GPT, Any]) -> None:
    ours, theirs = twins
    tokens = some_tokens(length=24)
    torch.testing.assert_close(ours(tokens), theirs(tokens).logits, rtol=0, atol=1e-4)


def test_gradients_are_those_of_hugging_faces_gpt2(twins: tuple[GPT, Any]) -> None:
    ours, theirs = twins
    tokens = some_tokens(length=24)
    x, y = tokens[:, :-1], tokens[:, 1:]
    for model, logits in ((ours, ours(x)), (theirs, theirs(x).logits)):
        model.zero_grad()
        F.cross_entropy(logits.flatten(0, 1), y.flatten()).backward()
    own, their_gradients = dict(ours.named_parameters()), dict(theirs.named_parameters())
    names = hugging_face_names(3)
    assert names.keys() == own.keys()
    for name, hf_name in names.items():
        expected = their_gradients[hf_name].grad
        gradient = as_theirs(own[name].grad, hf_name)
        assert (gradient - expected).norm() <= 1e-5 * expected.norm(), name


# Against the formulas


@torch.no_grad()
def test_attention_is_softmax_of_scaled_products_of_the_past() -> None:
    attention = small_model(bias=True).blocks[0].attention
    x = torch.randn(2, 7, 16)
    q, k, v = attention.qkv(x).split(16, dim=-1)  # (B, T, C) each
    expected = torch.zeros(2, 7, 16)
    for b in range(2):
        for head in range(2):
            part = slice(8 * head, 8 * head + 8)
            for t in range(7):
                scores = [float(q[b, t, part] @ k[b, s, part]) / math.sqrt(8) for s in range(t + 1)]
                total = sum(math.exp(score) for score in scores)
                for s, score in enumerate(scores):
                    expected[b, t, part] += math.exp(score) / total * v[b, s, part]
    torch.testing.assert_close(attention(x), attention.proj(expected), rtol=1e-4, atol=1e-5)


def test_attention_is_pytorchs_own() -> None:
    attention = small_model().blocks[0].attention
    x = torch.randn(2, 7, 16)
    y = F.scaled_dot_product_attention(*attention.heads(x), is_causal=True)
    expected = attention.proj(y.transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(x), expected)
    torch.testing.assert_close(attention.reference(x)[0], expected)


@pytest.mark.parametrize("bias", [False, True])
def test_the_reference_path_gives_the_logits_of_the_fast_one(bias: bool) -> None:
    model = small_model(bias=bias)
    tokens = some_tokens()
    x = model.embed(tokens)
    for block in model.blocks:
        x, _ = block.reference(x)
    torch.testing.assert_close(model.head(model.norm(x)), model(tokens), rtol=1e-4, atol=1e-5)


def test_attention_weights_sum_to_one_and_never_look_ahead() -> None:
    model = small_model()
    weights = model.attention_weights(some_tokens())
    assert [tuple(one.shape) for one in weights] == [(3, 2, 12, 12)] * 2
    for one in weights:
        torch.testing.assert_close(one.sum(-1), torch.ones(3, 2, 12))
        assert (one.triu(1) == 0).all()
        assert (one >= 0).all()


# Causality


@settings(max_examples=40, deadline=None)
@given(
    tie_weights=st.booleans(),
    bias=st.booleans(),
    length=st.integers(2, 12),
    data=st.data(),
)
def test_changing_a_token_never_changes_the_logits_before_it(
    tie_weights: bool, bias: bool, length: int, data: st.DataObject
) -> None:
    model = small_model(tie_weights=tie_weights, bias=bias)
    tokens = some_tokens(1, length, seed=data.draw(st.integers(0, 99)))
    place = data.draw(st.integers(1, length - 1))
    changed = tokens.clone()
    changed[0, place] = (changed[0, place] + data.draw(st.integers(1, VOCAB - 1))) % VOCAB
    with torch.no_grad():
        before, after = model(tokens), model(changed)
    torch.testing.assert_close(after[:, :place], before[:, :place], rtol=0, atol=1e-5)
    assert (after[:, place:] - before[:, place:]).abs().max() > 1e-3  # and it does change the rest


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


def test_too_long_an_input_is_a_clear_error() -> None:
    with pytest.raises(ValueError, match="13 tokens do not fit a context of 12"):
        small_model()(some_tokens(length=13))


def test_dropout_can_be_changed_everywhere() -> None:
    model = small_model().train()
    tokens = some_tokens()
    assert torch.equal(model(tokens), model(tokens))
    model.set_dropout(0.5)
    rates = [m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)]
    rates += [m.dropout for m in model.modules() if isinstance(m, CausalSelfAttention)]
    assert rates == [0.5] * 7
    assert not torch.equal(model(tokens), model(tokens))
    assert torch.equal(model.eval()(tokens), model(tokens))
