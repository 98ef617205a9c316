"""The fast way to write is held to ``model.forward``, the plain one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from engine.config.schema import ModelConfig
from engine.model import GPT, LanguageModel
from engine.model.attention import reference_weights
from engine.model.block import Block
from engine.model.positions import rotary
from engine.sampling import frozen as frozen_module
from engine.sampling.decoder import SMALL_BATCH, CapturedDecoder, Decoder, GPTDecoder, decoder_for
from engine.sampling.frozen import FrozenGPT, freeze
from engine.sampling.kv_cache import GROWTH, KVCache
from tests.engine.captures import Recorder
from tests.engine.conftest import DEVICES
from tests.engine.models import (
    SHAPE,
    VOCAB,
    model_configs,
    noise,
    random_model,
    relative_error,
    small_config,
    small_model,
    some_tokens,
)

SUMMATION = 1e-4  # relative; the same numbers in fp32, added up in another order


def read(model: LanguageModel, ids: Tensor, first: int) -> Tensor:
    """Logits (B, T - first + 1, vocab_size): the first tokens at once, the others one by one."""
    decoder = decoder_for(freeze(model), *ids.shape)
    logits = [decoder.begin(ids[:, :first])]
    logits += [decoder.step(ids[:, i]) for i in range(first, ids.size(1))]
    return torch.stack(logits, dim=1)


@torch.no_grad()
def expected(model: LanguageModel, ids: Tensor, first: int) -> Tensor:
    """What the plain way says to the same."""
    logits: Tensor = model(ids)[:, first - 1 :]
    return logits


@settings(max_examples=150, deadline=None)
@given(config=model_configs(), first=st.integers(1, 12))
def test_every_kind_of_model_decodes_to_what_it_computes(config: ModelConfig, first: int) -> None:
    model, ids = random_model(config), some_tokens()
    assert relative_error(read(model, ids, first), expected(model, ids, first)) < SUMMATION


def test_a_bigram_model_looks_up_the_last_token() -> None:
    model, ids = random_model(small_config(architecture="bigram")), some_tokens()
    assert torch.equal(read(model, ids, 5), expected(model, ids, 5))


def test_a_start_that_all_texts_share_is_read_once() -> None:
    model, ids = small_model(), some_tokens(batch=3)
    ids[:, :5] = ids[0, :5]
    decoder = decoder_for(freeze(model), 3, 12)
    assert relative_error(decoder.begin(ids[:1, :5]), expected(model, ids[:1, :5], 5)[:, 0]) < 1e-5
    for i in range(5, 12):
        logits = decoder.step(ids[:, i])
    assert relative_error(logits, expected(model, ids, 12)[:, 0]) < SUMMATION


@pytest.mark.parametrize("position", ["learned", "rotary"])
def test_room_is_made_as_the_text_grows(position: str) -> None:
    length = 2 * GROWTH + 7
    model = small_model(block_size=length, position=position, n_gram=2)
    ids = some_tokens(batch=2, length=length)
    assert relative_error(read(model, ids, 3), expected(model, ids, 3)) < SUMMATION


def test_some_texts_may_be_left_behind() -> None:
    model, ids = small_model(position="rotary", n_gram=3), some_tokens(batch=4)
    decoder = decoder_for(freeze(model), 4, 12)
    decoder.begin(ids[:, :6])
    decoder.keep(torch.tensor([0, 3]))
    for i in range(6, 12):
        logits = decoder.step(ids[[0, 3], i])
    assert relative_error(logits, expected(model, ids[[0, 3]], 12)[:, 0]) < SUMMATION


# Past the context


@torch.no_grad()
def banded(model: GPT, ids: Tensor, width: int) -> Tensor:
    """The plain way, every token looking at the last ``width`` in every layer: (B, T, V)."""
    config = model.config
    positions = torch.arange(ids.size(1))
    rope = None
    if config.position == "rotary":
        rope = rotary(positions, config.head_size, torch.float32, config.rope_theta)
    x = model.embed(ids, positions)
    too_old = positions[:, None] - positions >= width
    for block in model.blocks:
        assert isinstance(block, Block)
        attention = block.attention
        q, k, v = attention.heads(block.norm_1(x), rope)
        weights = reference_weights(q, k).masked_fill(too_old, 0)
        x = x + attention.merge(weights / weights.sum(-1, keepdim=True) @ v)
        assert block.feed_forward is not None
        x = x + block.feed_forward(block.norm_2(x))
    return model.logits(x)


@pytest.mark.parametrize("position", ["rotary", "none"])
@pytest.mark.parametrize("n_gram", [1, 3])
def test_past_the_context_the_oldest_token_gives_way(position: str, n_gram: int) -> None:
    model = small_model(position=position, n_gram=n_gram)
    ids = some_tokens(batch=2, length=40)
    frozen = freeze(model)
    decoder = decoder_for(frozen, 2, 40)
    logits = [decoder.begin(ids[:, :7])]
    for i in range(7, 40):
        assert not decoder.full
        logits.append(decoder.step(ids[:, i]))
    rolled = banded(model, ids, model.config.block_size)[:, 6:]
    assert relative_error(torch.stack(logits, dim=1), rolled) < SUMMATION


@pytest.mark.parametrize("position", ["learned", "sinusoidal"])
def test_where_positions_are_places_a_full_context_says_so(position: str) -> None:
    model, ids = small_model(position=position), some_tokens(batch=2, length=18)
    decoder = decoder_for(freeze(model), 2, 18)
    decoder.begin(ids[:, :11])
    full = [decoder.full]
    decoder.step(ids[:, 11])
    full.append(decoder.full)
    again = decoder.begin(ids[:, 6:12])
    assert relative_error(again, expected(model, ids[:, 6:12], 6)[:, 0]) < SUMMATION
    full.append(decoder.full)
    assert full == [False, True, False]


# As a CUDA graph


def captured(model: LanguageModel, batch: int, length: int) -> CapturedDecoder:
    """A decoder whose steps are replayed; a CPU remembers the work instead."""
    frozen = freeze(model)
    assert isinstance(frozen, FrozenGPT)
    if frozen.device.type == "cpu":
        return CapturedDecoder(frozen, batch, length, Recorder())
    decoder = decoder_for(frozen, batch, length)
    assert isinstance(decoder, CapturedDecoder)
    return decoder


def decode(decoder: Decoder, ids: Tensor, first: int) -> Tensor:
    """As ``read``, beginning again with the newer half where the context is full."""
    logits = [decoder.begin(ids[:, :first])]
    half = int(SHAPE["block_size"]) // 2
    for i in range(first, ids.size(1)):
        again = decoder.full
        logits += [
            decoder.begin(ids[:, i + 1 - half : i + 1]) if again else decoder.step(ids[:, i])
        ]
        logits[-1] = logits[-1].clone()  # the memory is used again
    return torch.stack(logits, dim=1)


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """A device, on CUDA with a stream on which graphs can be captured."""
    name: str = request.param
    stream = torch.cuda.Stream() if name == "cuda" else None  # type: ignore[no-untyped-call]
    with torch.inference_mode(), torch.cuda.stream(stream):
        yield name


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(config=model_configs(), first=st.integers(1, 12))
def test_a_replayed_step_is_the_step(device: str, config: ModelConfig, first: int) -> None:
    """Also past the context, where slots are used again and rotations go on."""
    assume(config.architecture != "bigram")
    model, ids = random_model(config).to(device), some_tokens(batch=2, length=45).to(device)
    first = min(first, config.block_size)
    sliced = GPTDecoder(freeze(model), 2, 45)  # type: ignore[arg-type]
    expected = decode(sliced, ids, first)
    assert relative_error(decode(captured(model, 2, 45), ids, first), expected) < SUMMATION


def test_a_captured_step_goes_on_with_some_of_the_texts(device: str) -> None:
    model = small_model(position="rotary", n_gram=3).to(device)
    ids = some_tokens(batch=4, length=30).to(device)
    both = []
    for decoder in (GPTDecoder(freeze(model), 4, 30), captured(model, 4, 30)):  # type: ignore[arg-type]
        rows, logits = torch.arange(4, device=device), decoder.begin(ids[:1, :4])
        for i in range(4, 30):
            if i in (9, 20):
                kept = torch.tensor([0, 2] if i == 9 else [1], device=device)
                decoder.keep(kept)
                rows = rows[kept]
            logits = decoder.step(ids[rows, i])
        both.append(logits)
    assert relative_error(both[1], both[0]) < SUMMATION


def test_a_step_is_captured_once() -> None:
    recorder = Recorder()
    decoder = CapturedDecoder(freeze(small_model(position="rotary")), 1, 40, recorder)  # type: ignore[arg-type]
    decode(decoder, some_tokens(batch=1, length=40), 5)
    assert (recorder.captured, recorder.replayed) == (1, 34)  # the first is not replayed


# Frozen means frozen


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_what_the_model_learns_later_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, packed: bool, precision: torch.dtype
) -> None:
    monkeypatch.setattr(frozen_module, "REDUCED_FROM", 0)
    monkeypatch.setattr(frozen_module, "PACKED_FROM", 0 if packed else 10**9)
    model = small_model(position="learned", bias=True, n_gram=2, norm="rms", tie_weights=False)
    model.compute_dtype = precision
    ids = some_tokens(batch=1)
    frozen = freeze(model)

    def first_and_second() -> Tensor:
        decoder = decoder_for(frozen, 1, 12)
        return torch.cat((decoder.begin(ids[:, :5]), decoder.step(ids[:, 5])))

    before = first_and_second()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    assert torch.equal(first_and_second(), before)


def test_dropout_plays_no_part() -> None:
    model, ids = small_model(), some_tokens()
    still = read(model, ids, 4)
    model.train().set_dropout(dataclasses.replace(model.config, dropout=0.9))
    assert torch.equal(read(model, ids, 4), still)


def test_a_model_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="LanguageModel"):
        freeze(LanguageModel(small_config(), VOCAB))


# Numbers of fewer bits, and matrices laid out for the machine


@pytest.fixture
def reduced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small models, too, are kept in the dtype that they compute in."""
    monkeypatch.setattr(frozen_module, "REDUCED_FROM", 0)
    yield


VARIANTS: dict[str, dict[str, Any]] = {
    "gpt-2": {"bias": True},
    "modern": {"position": "rotary", "qk_norm": True, "activation": "relu2", "n_gram": 3},
    "llama": {"position": "rotary", "norm": "rms", "activation": "swiglu", "n_kv_head": 1},
    "paper": {"position": "sinusoidal", "norm_place": "post", "activation": "relu"},
}


@pytest.mark.usefixtures("reduced")
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("batch", [2, SMALL_BATCH + 1])
@pytest.mark.parametrize("variant", VARIANTS)
def test_in_bf16_it_is_about_as_near_the_plain_fp32_numbers_as_the_model_itself(
    monkeypatch: pytest.MonkeyPatch, variant: str, batch: int, packed: bool
) -> None:
    if not packed:
        monkeypatch.setattr(frozen_module, "_can_pack", lambda dtype: False)
    model = small_model(n_embd=64, n_head=4, **VARIANTS[variant])
    ids = some_tokens(batch)
    exact = expected(model, ids, 4)
    model.compute_dtype = torch.bfloat16
    own_error = relative_error(expected(model, ids, 4), exact)
    assert 1e-4 < own_error < 0.05  # it was in bf16 indeed
    assert relative_error(read(model, ids, 4), exact) < 1.5 * own_error


def test_on_a_cpu_a_small_model_is_written_with_in_fp32() -> None:
    model = small_model()
    model.compute_dtype = torch.bfloat16
    assert freeze(model).dtype == torch.float32


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(5, 33), (33, 5)])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_packed_matrix_gives_the_product_of_the_plain_one(
    shape: tuple[int, int], bias: bool, precision: torch.dtype
) -> None:
    if not frozen_module._can_pack(precision):
        pytest.skip("this build of torch has no packed products")
    torch.manual_seed(0)
    layer = nn.Linear(*shape, bias=bias)
    x, stream = noise(7, shape[0]).to(precision), noise(7, shape[1]).to(precision)
    packed = frozen_module.PackedLinear(layer, precision)
    plain = frozen_module.FrozenLinear(layer, precision)
    tolerance = 1e-6 if precision == torch.float32 else 0.01
    assert relative_error(packed(x), plain(x)) < tolerance
    assert relative_error(packed.onto(stream, x), plain.onto(stream, x)) < tolerance
    assert relative_error(plain(x), layer(x.float())) < tolerance


def test_a_build_without_packed_products_writes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen_module, "PACKED_FROM", 0)
    model, ids = small_model(), some_tokens()
    packed = read(model, ids, 4)
    monkeypatch.setattr(frozen_module, "_can_pack", lambda dtype: False)
    assert relative_error(read(model, ids, 4), packed) < 1e-5


def test_a_long_context_takes_memory_only_as_the_text_grows() -> None:
    cache = KVCache((1, 1, 1, 2), 131_072, torch.empty(0))
    cache.fill(3)
    assert cache.mask.tolist() == [0.0] * 3 + [-torch.inf] * (GROWTH - 3)
    grown = 0
    for _ in range(5000):
        before = len(cache.mask)
        cache.add()
        grown += len(cache.mask) > before
    assert 5003 <= len(cache.mask) < 1.2 * 5003
    assert grown < 40  # each copies all that is there
