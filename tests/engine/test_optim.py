"""AdamW and the learning rate, against closed forms and PyTorch's plain code."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.config import ModelConfig, OptimConfig
from engine.model import GPT
from engine.optim import build_optimizer, configure_optimizer, learning_rate


def optim(**changes: object) -> OptimConfig:
    return OptimConfig(
        **{"learning_rate": 1.0, "min_lr": 0.1, "warmup_steps": 10} | changes  # type: ignore[arg-type]
    )


# The schedule


def nanogpts_rate(step: int, peak: float, floor: float, warmup: int, decay_steps: int) -> float:
    """``get_lr`` of nanoGPT's train.py, with its names changed."""
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if step > decay_steps:
        return floor
    ratio = (step - warmup) / (decay_steps - warmup)
    return floor + 0.5 * (1.0 + math.cos(math.pi * ratio)) * (peak - floor)


@given(step=st.integers(0, 3000), warmup=st.integers(0, 400), decay_steps=st.integers(401, 2500))
def test_cosine_is_nanogpts_formula(step: int, warmup: int, decay_steps: int) -> None:
    config = optim(warmup_steps=warmup, decay_steps=decay_steps)
    expected = nanogpts_rate(step, 1.0, 0.1, warmup, decay_steps)
    assert learning_rate(config, step, 2000) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_warm_up_rises_by_equal_steps_to_the_peak(schedule: str) -> None:
    rates = [learning_rate(optim(schedule=schedule), step, 100) for step in range(11)]
    assert rates == pytest.approx([(step + 1) / 11 for step in range(11)])


def test_linear_falls_by_equal_steps_and_stays_at_the_floor() -> None:
    config = optim(schedule="linear")
    rates = [learning_rate(config, step, 110) for step in range(10, 121)]
    assert rates[:101] == pytest.approx([1 - 0.9 * i / 100 for i in range(101)])
    assert rates[100:] == [0.1] * 11


def test_cosine_is_half_way_at_half_time() -> None:
    assert learning_rate(optim(), 60, 110) == pytest.approx(0.55)
    assert learning_rate(optim(), 110, 110) == learning_rate(optim(), 10**6, 110) == 0.1


def test_constant_stays_at_the_peak() -> None:
    assert {learning_rate(optim(schedule="constant"), s, 50) for s in (10, 49, 50, 10**6)} == {1.0}


def test_decay_ends_at_decay_steps_if_they_are_set_and_with_the_run_if_not() -> None:
    early = optim(decay_steps=40)
    assert learning_rate(early, 39, 110) > 0.1
    assert learning_rate(early, 40, 110) == 0.1
    assert learning_rate(optim(), 109, 110) > 0.1


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("total", [1, 5, 10])
def test_a_warm_up_as_long_as_the_run_rises_to_its_end_and_never_divides_by_zero(
    schedule: str, total: int
) -> None:
    rates = [learning_rate(optim(schedule=schedule), step, total) for step in range(13)]
    assert rates[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert rates[10:] == [0.1] * 3


# AdamW


def small_model() -> GPT:
    torch.manual_seed(0)
    config = ModelConfig(n_layer=2, n_head=2, n_embd=16, block_size=8, bias=True)
    return GPT(config, 20)


def test_matrices_and_embeddings_decay_biases_and_norms_do_not() -> None:
    model = small_model()
    optimizer = build_optimizer(model, OptimConfig(weight_decay=0.3))
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert len(decay) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        is_vector = "bias" in name or "norm" in name
        assert decay[id(parameter)] == (0.0 if is_vector else 0.3), name


def test_settings_reach_every_group_when_they_change() -> None:
    optimizer = build_optimizer(small_model(), OptimConfig())
    configure_optimizer(optimizer, OptimConfig(beta1=0.8, beta2=0.7, weight_decay=0.5))
    assert [g["betas"] for g in optimizer.param_groups] == [(0.8, 0.7)] * 2
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.5, 0.0]


def test_updates_are_those_of_pytorchs_plain_adamw_on_the_same_gradients() -> None:
    ours, plain = small_model(), small_model()
    config = OptimConfig(learning_rate=0.01, weight_decay=0.2, beta1=0.85, beta2=0.95)
    fused = build_optimizer(ours, config)
    matrices = [p for p in plain.parameters() if p.dim() > 1]
    vectors = [p for p in plain.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.2}, {"params": vectors, "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=0.01, betas=(0.85, 0.95), foreach=False)
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        for a, b in zip(ours.parameters(), plain.parameters(), strict=True):
            a.grad = b.grad = torch.randn(a.shape, generator=generator)
        fused.step()
        reference.step()
    for (name, a), b in zip(ours.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7, msg=name)
