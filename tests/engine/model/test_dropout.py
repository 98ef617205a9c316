"""The cheap dropout of CPUs: the rate, the scale, the dtype, and nothing but the seed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.model.layers import Dropout, fast_dropout_mask

N = 400_000
RATES = [0.1, 0.2, 0.25, 0.5, 0.9, 0.95]


def mask(
    p: float, seed: int = 0, shape: tuple[int, ...] = (N,), dtype: torch.dtype = torch.float32
) -> Tensor:
    """The mask that a seed gives."""
    torch.manual_seed(seed)
    return fast_dropout_mask(torch.empty(shape, dtype=dtype), p)


@pytest.mark.parametrize("p", RATES)
def test_the_rate_is_as_asked(p: float) -> None:
    dropped = (mask(p) == 0).double().mean().item()
    assert abs(dropped - p) < 4 * (p * (1 - p) / N) ** 0.5  # four standard deviations


@pytest.mark.parametrize("p", RATES)
def test_what_is_kept_is_scaled_so_that_the_mean_stays(p: float) -> None:
    kept = mask(p)
    assert torch.unique(kept[kept > 0]).numel() == 1
    # the rate is rounded to 16 bits, and the scale is that of the rounded rate
    assert kept.max().item() == pytest.approx(1 / (1 - round(p * 2**16) / 2**16), rel=1e-6)
    assert kept.max().item() == pytest.approx(1 / (1 - p), rel=2**-17 / (1 - p))
    assert kept.double().mean().item() == pytest.approx(1, abs=4 * (p / (1 - p) / N) ** 0.5)


@pytest.mark.parametrize("distance", [1, 2, 3, 4, 64])
def test_neighbours_that_come_of_one_random_number_are_independent(distance: int) -> None:
    kept = (mask(0.3) > 0).double() - 0.7
    correlation = (kept[distance:] * kept[:-distance]).mean() / (0.3 * 0.7)
    assert abs(correlation) < 4 / N**0.5


@settings(max_examples=30, deadline=None)
@given(shape=st.lists(st.integers(1, 7), min_size=0, max_size=4), seed=st.integers(0, 2**40))
def test_any_shape_is_served_and_the_seed_alone_decides(shape: list[int], seed: int) -> None:
    one = mask(0.5, seed, tuple(shape))
    assert one.shape == tuple(shape)
    assert torch.equal(one, mask(0.5, seed, tuple(shape)))


def test_another_seed_drops_others_and_so_does_the_next_draw() -> None:
    first = mask(0.5)
    following = fast_dropout_mask(torch.empty(N), 0.5)
    for other in (following, mask(0.5, seed=1)):
        assert ((first == other).double().mean() - 0.5).abs() < 4 * 0.5 / N**0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_mask_has_the_dtype_of_what_it_is_for_and_drops_the_same(dtype: torch.dtype) -> None:
    one = mask(0.2, dtype=dtype)
    assert one.dtype == dtype
    assert torch.equal(one > 0, mask(0.2) > 0)
    assert one.max().item() == pytest.approx(1.25, rel=0.004)


def test_a_module_drops_only_while_training_and_passes_gradients_of_what_is_kept() -> None:
    layer, x = Dropout("resid", 0.4), torch.ones(1000, requires_grad=True)
    assert layer.eval()(x) is x
    layer.train()
    out = layer(x)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(gradient, out.detach())  # the mask, both times
    assert 0 < int((out == 0).sum()) < 1000
    layer.p = 0.0
    assert layer(x) is x


def test_numbers_that_are_none_do_not_hide() -> None:
    x = torch.full((1000,), float("nan"))
    assert torch.isnan(Dropout("resid", 0.4).train()(x)).all()
