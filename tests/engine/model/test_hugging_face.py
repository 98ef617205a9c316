"""The model against GPT-2 and Llama as Hugging Face wrote them, with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.model import GPT
from tests.engine.models import VOCAB, relative_error, small_model, some_tokens

LAYERS, CONTEXT = 3, 24
Tensors = dict[str, Tensor]
Translate = Callable[[Tensors], Tensors]  # from our names and layout to theirs
Twins = tuple[GPT, Any, Translate]


def gpt2() -> Twins:
    """Ours and Hugging Face's GPT-2."""
    transformers = pytest.importorskip("transformers")
    ours = small_model(n_layer=LAYERS, n_head=4, n_embd=32, block_size=CONTEXT, bias=True)
    config = transformers.GPT2Config(
        vocab_size=VOCAB,
        n_positions=CONTEXT,
        n_embd=32,
        n_layer=LAYERS,
        n_head=4,
        activation_function="gelu",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    theirs = transformers.GPT2LMHeadModel(config).eval()
    return ours, theirs, gpt2_names


def gpt2_names(ours: Tensors) -> Tensors:
    """Weights or gradients of ours as GPT-2's, whose matrices in a block are Conv1D: transposed."""
    names = {"token_embedding": "wte", "position_embedding": "wpe", "norm": "ln_f"}
    inside = {
        "norm_1": "ln_1",
        "attention.qkv": "attn.c_attn",
        "attention.proj": "attn.c_proj",
        "norm_2": "ln_2",
        "feed_forward.up": "mlp.c_fc",
        "feed_forward.proj": "mlp.c_proj",
    }
    for i in range(LAYERS):
        names |= {f"blocks.{i}.{here}": f"h.{i}.{there}" for here, there in inside.items()}
    theirs = {}
    for name, tensor in ours.items():
        module, _, what = name.rpartition(".")
        is_conv = module.startswith("blocks") and tensor.dim() == 2
        theirs[f"transformer.{names[module]}.{what}"] = tensor.T if is_conv else tensor
    return theirs


def llama() -> Twins:
    """Ours with rotary positions, RMS norms, SwiGLU and shared keys, and Hugging Face's Llama."""
    transformers = pytest.importorskip("transformers")
    ours = small_model(
        n_layer=LAYERS,
        n_head=4,
        n_kv_head=2,
        n_embd=32,
        block_size=CONTEXT,
        position="rotary",
        rope_theta=500.0,
        norm="rms",
        activation="swiglu",
        tie_weights=False,
    )
    config = transformers.LlamaConfig(
        vocab_size=VOCAB,
        max_position_embeddings=CONTEXT,
        hidden_size=32,
        intermediate_size=ours.config.d_ff,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
        tie_word_embeddings=False,
    )
    theirs = transformers.LlamaForCausalLM(config).eval()
    return ours, theirs, llama_names


def llama_names(ours: Tensors) -> Tensors:
    """Weights or gradients of ours as Llama's, which stacks nothing."""
    theirs = {
        "model.embed_tokens.weight": ours["token_embedding.weight"],
        "model.norm.weight": ours["norm.weight"],
        "lm_head.weight": ours["head.weight"],
    }
    for i in range(LAYERS):
        here = {name.removeprefix(f"blocks.{i}."): tensor for name, tensor in ours.items()}
        q, k, v = torch.split(here["attention.qkv.weight"], [32, 16, 16])
        gate, up = here["feed_forward.up.weight"].chunk(2)
        inside = {
            "input_layernorm": here["norm_1.weight"],
            "self_attn.q_proj": q,
            "self_attn.k_proj": k,
            "self_attn.v_proj": v,
            "self_attn.o_proj": here["attention.proj.weight"],
            "post_attention_layernorm": here["norm_2.weight"],
            "mlp.gate_proj": gate,
            "mlp.up_proj": up,
            "mlp.down_proj": here["feed_forward.proj.weight"],
        }
        theirs |= {f"model.layers.{i}.{name}.weight": tensor for name, tensor in inside.items()}
    return theirs


@pytest.fixture(params=[gpt2, llama], ids=lambda make: make.__name__)
def twins(request: pytest.FixtureRequest) -> Twins:
    """The two models; theirs has taken over our random weights."""
    ours, theirs, translate = request.param()
    weights = translate(dict(ours.named_parameters()))
    parameters = dict(theirs.named_parameters())
    assert parameters.keys() == weights.keys()
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
    return ours, theirs, translate


def learn(ours: GPT, theirs: Any) -> None:
    """Give both the gradients of the same loss."""
    tokens = some_tokens(length=CONTEXT)
    x, y = tokens[:, :-1], tokens[:, 1:]
    for model, logits in ((ours, ours(x)), (theirs, theirs(x).logits)):
        model.zero_grad()
        torch.autograd.backward(F.cross_entropy(logits.flatten(0, 1), y.flatten()))


def test_logits_are_those_of_hugging_face(twins: Twins) -> None:
    ours, theirs, _ = twins
    tokens = some_tokens(length=CONTEXT)
    logits = theirs(tokens).logits
    assert logits.std() > 0.3
    torch.testing.assert_close(ours(tokens), logits, rtol=0, atol=1e-4)


def test_attention_weights_are_those_of_hugging_face(twins: Twins) -> None:
    ours, theirs, _ = twins
    theirs.set_attn_implementation("eager")  # the one that has weights
    tokens = some_tokens(length=CONTEXT)
    expected = theirs(tokens, output_attentions=True).attentions
    weights = ours.attention_weights(tokens)
    assert max(float(one.max()) for one in weights) > 0.5 and len(weights) == LAYERS
    for one, other in zip(weights, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_gradients_are_those_of_hugging_face(twins: Twins) -> None:
    ours, theirs, translate = twins
    learn(ours, theirs)
    gradients = translate({n: p.grad for n, p in ours.named_parameters() if p.grad is not None})
    for name, parameter in theirs.named_parameters():
        assert relative_error(gradients[name], parameter.grad) <= 1e-5, name


def test_a_step_of_sgd_ends_where_hugging_faces_does(twins: Twins) -> None:
    ours, theirs, translate = twins
    before = ours.token_embedding.weight.detach().clone()
    learn(ours, theirs)
    for model in (ours, theirs):
        torch.optim.SGD(model.parameters(), lr=0.01).step()
    assert (ours.token_embedding.weight - before).abs().max() > 1e-4
    weights = translate(dict(ours.named_parameters()))
    for name, parameter in theirs.named_parameters():
        assert (weights[name] - parameter).abs().max() <= 1e-6, name
