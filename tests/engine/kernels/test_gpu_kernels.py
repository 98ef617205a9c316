"""The kernels for a GPU against PyTorch's own operations, in double precision."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from data.batches import Split
from engine import kernels
from engine.model.block import activate
from engine.model.positions import rotary, rotate
from engine.training.trainer import Trainer
from tests.engine.conftest import MakeTrainer
from tests.engine.models import relative_error

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 6e-3, torch.float16: 1e-3}
DTYPES = list(TOLERANCE)
EPSILON = 1e-5


def random(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape) + seed)
    return torch.randn(*shape, generator=generator).to("cuda", dtype).requires_grad_()


def in_double(x: Tensor) -> Tensor:
    return x.detach().double().requires_grad_()


def check(
    found: Sequence[Tensor],
    expected: Sequence[Tensor],
    leaves: Sequence[tuple[Tensor, Tensor]],
    tolerance: float,
) -> None:
    """Results and gradients agree, whatever comes back from behind them."""
    behind = [random(*y.shape, dtype=y.dtype, seed=1).detach() for y in found]
    torch.autograd.backward(found, behind)
    torch.autograd.backward(expected, [d.double() for d in behind])
    for ours, theirs in [*zip(found, expected, strict=True)]:
        assert relative_error(ours.double(), theirs) < tolerance
    for ours, theirs in leaves:
        assert ours.grad is not None and theirs.grad is not None
        assert ours.grad.dtype == ours.dtype
        assert relative_error(ours.grad.double(), theirs.grad) < tolerance


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rotates", [False, True])
@pytest.mark.parametrize("norm", ["none", "layer", "rms"])
@pytest.mark.parametrize(
    "shape", [(2, 9, 2, 2, 8), (3, 17, 4, 2, 64), (1, 5, 3, 1, 24), (2, 33, 2, 2, 192)]
)
def test_queries_keys_and_values(
    dtype: torch.dtype, rotates: bool, norm: str, shape: tuple[int, ...]
) -> None:
    B, T, nh, nkv, hs = shape
    qkv = random(B, T, (nh + 2 * nkv) * hs, dtype=dtype)
    plain = in_double(qkv)
    rope = rotary(torch.arange(T, device="cuda"), hs, torch.float32) if rotates else None
    q, k, v = (
        part.view(B, T, -1, hs).transpose(1, 2)
        for part in torch.split(plain, [nh * hs, nkv * hs, nkv * hs], dim=-1)
    )
    if norm == "layer":
        q, k = (F.layer_norm(x, (hs,), eps=EPSILON) for x in (q, k))
    elif norm == "rms":
        q, k = (F.rms_norm(x, (hs,), eps=EPSILON) for x in (q, k))
    if rope:
        cos, sin = (part.double() for part in rope)
        q, k = (rotate(x, (cos, sin)) for x in (q, k))
    found = kernels.gpu.heads(qkv, nh, nkv, norm=norm, epsilon=EPSILON, rope=rope)
    check(found, (q, k, v), [(qkv, plain)], TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["layer", "layer without bias", "layer alone", "rms", "rms alone"])
@pytest.mark.parametrize("shape", [(3, 7, 48), (2, 5, 384), (600, 9, 16), (1, 3, 1600)])
def test_norms(dtype: torch.dtype, kind: str, shape: tuple[int, ...]) -> None:
    C = shape[-1]
    x = random(*shape, dtype=dtype)
    gain = None if "alone" in kind else random(C)
    bias = random(C) if kind == "layer" else None
    leaves = [(one, in_double(one)) for one in (x, gain, bias) if one is not None]
    plain_x, *rest = [plain for _, plain in leaves]
    plain_gain, plain_bias = [*rest, None, None][:2]
    found = kernels.gpu.norm(x, gain, bias, EPSILON, kind.split()[0])
    if kind.startswith("layer"):
        expected = F.layer_norm(plain_x, (C,), plain_gain, plain_bias, EPSILON)
    else:
        expected = F.rms_norm(plain_x, (C,), plain_gain, EPSILON)
    check([found], [expected], leaves, 3 * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["relu2", "swiglu"])
@pytest.mark.parametrize("shape", [(3, 7, 48), (2, 5, 3000), (1, 1, 2)])
def test_activations(dtype: torch.dtype, name: str, shape: tuple[int, ...]) -> None:
    x = random(*shape, dtype=dtype)
    plain = in_double(x)
    check(
        [kernels.gpu.activation(x, name)], [activate(plain, name)], [(x, plain)], TOLERANCE[dtype]
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"model__position": "rotary", "model__qk_norm": True, "model__activation": "relu2"},
        {"model__position": "rotary", "model__norm": "rms", "model__activation": "swiglu"},
        {"model__qk_norm": True, "model__norm": "rms", "model__n_kv_head": 1},
        {"model__qk_norm": True, "model__n_embd": 6, "model__n_head": 2},  # heads of 3 numbers
        {"model__bias": True},
        {"model__norm_place": "post", "model__bias": True, "model__position": "rotary"},
    ],
    ids=str,
)
def test_a_model_trains_as_with_pytorchs_kernels(
    make_trainer: MakeTrainer, split: Split, changes: dict[str, Any]
) -> None:
    """The same text, the same weights, five steps."""
    plain = make_trainer(**changes, optim__optimizer="muon")
    losses = []
    for whose in ("torch", "native"):
        runtime = dataclasses.replace(plain.runtime, device="cuda", kernels=whose)
        trainer = Trainer(plain.config, runtime, split, plain.model.vocab_size)
        losses.append([trainer.train_step().loss.item() for _ in range(5)])
        losses[-1].append(trainer.evaluate().loss)
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
