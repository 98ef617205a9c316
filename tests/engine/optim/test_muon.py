"""Muon: torch's own, matrix by matrix, and the property it is named for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.optim.muon import Muon, orthogonalize
from tests.engine.models import noise, relative_error

RATE, MOMENTUM, DECAY, STEPS = 0.02, 0.9, 0.1, 6
SHAPES = {
    "square": ([16], 16),
    "wide": ([16], 64),
    "tall": ([64], 16),
    "queries, keys, values": ([16, 16, 16], 16),
    "shared keys and values": ([16, 4, 4], 16),
    "gate and value, both tall": ([24, 24], 16),
}


def run_both(heights: list[int], columns: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """How far ours moves a weight, and torch's the parts of it, on the same gradients."""
    start = noise(sum(heights), columns)
    weight = start.clone().requires_grad_()
    parts = [part.clone().requires_grad_() for part in torch.split(start, heights)]
    ours = Muon([(weight, heights)], dtype, MOMENTUM, DECAY)
    theirs: torch.optim.Optimizer = torch.optim.Muon(
        parts, lr=RATE, momentum=MOMENTUM, weight_decay=DECAY
    )
    for step in range(STEPS):
        weight.grad = noise(sum(heights), columns, seed=10 + step)
        for part, gradient in zip(parts, torch.split(weight.grad, heights), strict=True):
            part.grad = gradient.clone()
        ours.step(RATE)
        theirs.step()
    return weight.detach() - start, torch.cat(parts).detach() - start


@pytest.mark.parametrize("shape", SHAPES)
def test_updates_are_torchs_in_bf16_within_one_percent(shape: str) -> None:
    """Which is how torch's computes, and what is exact here may be rounded otherwise elsewhere."""
    moved, expected = run_both(*SHAPES[shape], torch.bfloat16)
    assert relative_error(moved, expected) < 0.01


@pytest.mark.parametrize("shape", SHAPES)
def test_updates_are_torchs_in_fp32_if_torch_is_made_to_use_it(
    shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tensor, "bfloat16", lambda tensor: tensor.clone())
    moved, expected = run_both(*SHAPES[shape], torch.float32)
    assert relative_error(moved, expected) < 1e-5


def test_matrices_of_one_shape_in_one_batch_are_as_each_by_itself() -> None:
    """Lying down: a tall one and a wide one of the same sides share a batch."""
    shapes = [(16, 16), (16, 16), (48, 16), (16, 48), (48, 16)]
    together, alone = (
        [noise(*shape, seed=i).requires_grad_() for i, shape in enumerate(shapes)] for _ in "12"
    )
    optimizers = [Muon([(w, [w.size(0)]) for w in together], torch.float32)]
    optimizers += [Muon([(w, [w.size(0)])], torch.float32) for w in alone]
    for i, (one, other) in enumerate(zip(together, alone, strict=True)):
        one.grad = other.grad = noise(*one.shape, seed=20 + i)
    for optimizer in optimizers:
        optimizer.step(RATE)
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("dtype", "slack"), [(torch.float32, 0.0), (torch.bfloat16, 0.03)])
@pytest.mark.parametrize("shape", [(16, 16), (16, 64), (30, 31)])
def test_singular_values_end_near_one_and_the_directions_stay(
    shape: tuple[int, int], dtype: torch.dtype, slack: float
) -> None:
    """Whatever they were, from 1 down to a hundredth of the largest."""
    u, _, v = torch.linalg.svd(noise(*shape), full_matrices=False)
    values = torch.logspace(0, -2, shape[0])
    x = orthogonalize((1000 * u * values @ v)[None], dtype)[0]
    found = torch.linalg.svdvals(x)
    assert 0.6 - slack < found.min() and found.max() < 1.3 + slack
    across = u.mT @ x @ v.mT  # diagonal, if the directions are the same
    off = across - across.diag().diag()
    assert off.norm() / across.norm() < (1e-3 if dtype == torch.float32 else 0.1)


def test_a_gradient_of_nothing_moves_nothing_but_by_decay() -> None:
    weight = noise(8, 8).requires_grad_()
    before = weight.detach().clone()
    muon = Muon([(weight, [8])], torch.float32, weight_decay=0.5)
    muon.step(0.1)  # no gradient at all
    torch.testing.assert_close(weight.detach(), before * 0.95)
    weight.grad = torch.zeros(8, 8)
    muon.step(0.1)
    torch.testing.assert_close(weight.detach(), before * 0.95**2)


def test_a_tall_part_moves_further_by_the_root_of_its_sides() -> None:
    tall, wide = noise(64, 16).requires_grad_(), noise(16, 64).requires_grad_()
    starts = tall.detach().clone(), wide.detach().clone()
    tall.grad, wide.grad = noise(16, 64, seed=3).mT.contiguous(), noise(16, 64, seed=3)
    Muon([(tall, [64]), (wide, [16])], torch.float32).step(RATE)
    moved = tall.detach() - starts[0], wide.detach() - starts[1]
    torch.testing.assert_close(moved[0], 2 * moved[1].mT, rtol=1e-4, atol=1e-6)
