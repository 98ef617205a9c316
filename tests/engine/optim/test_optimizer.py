"""Which optimizer moves which parameter, and each against torch's own on the same gradients."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from engine.config.presets import preset_config
from engine.config.schema import ModelConfig, OptimConfig
from engine.model import GPT, build_model
from engine.optim.muon import Muon
from engine.optim.optimizer import Optimizer
from tests.engine.models import VOCAB, random_model, relative_error, small_config, small_model

STEPS = 5
GO, SKIP = torch.tensor(False), torch.tensor(True)
LAYER = "blocks.0."


def optim(optimizer: str, **changes: Any) -> OptimConfig:
    values: dict[str, Any] = {"learning_rate": 0.01, "muon_lr": 0.02, "weight_decay": 0.2}
    return OptimConfig(optimizer=optimizer, **values | changes)


def model() -> GPT:
    return small_model(bias=True, activation="swiglu", n_kv_head=1)


def give_gradients(seed: int, *models: nn.Module) -> None:
    """The same random ones to every model."""
    for one in models:
        generator = torch.Generator().manual_seed(seed)
        for parameter in one.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)


def split(parameters: list[Tensor]) -> list[dict[str, Any]]:
    """What decays and what does not."""
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": 0.2},
        {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0},
    ]


def take_step(optimizer: Optimizer, rate: float, skip: Tensor) -> None:
    optimizer.set_rate(rate)
    optimizer.step(skip)


# Against torch's


def plain_adamw(parameters: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(split(parameters), lr=0.01, betas=(0.85, 0.95), foreach=False)


def plain_sgd(parameters: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.SGD(split(parameters), lr=0.01, momentum=0.8, foreach=False)


def no_momentum(parameters: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.SGD(split(parameters), lr=0.01, foreach=False)


@pytest.mark.parametrize(
    ("plain", "config"),
    [
        (plain_adamw, optim("adamw", beta1=0.85, beta2=0.95)),
        (plain_sgd, optim("sgd", momentum=0.8)),
        (no_momentum, optim("sgd", momentum=0.0)),
    ],
)
def test_updates_are_those_of_torchs_plain_code(
    plain: Callable[[list[Tensor]], torch.optim.Optimizer], config: OptimConfig
) -> None:
    ours, theirs = model(), model()
    optimizer, reference = Optimizer(ours, config), plain(list(theirs.parameters()))
    for step in range(STEPS):
        give_gradients(step, ours, theirs)
        take_step(optimizer, 0.01, GO)
        reference.step()
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7, msg=name)


def torchs_muon(theirs: GPT, rate: float) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    """torch's Muon over the matrices of the blocks, each of those that are stacked by itself.

    Returns it with what it moves, in the order of ``stacked``.
    """
    matrices = [
        part.detach().clone().requires_grad_()
        for weight, heights in stacked(theirs)
        for part in torch.split(weight, heights)
    ]
    return torch.optim.Muon(matrices, lr=rate, weight_decay=0.2, momentum=0.9), matrices


def stacked(model: GPT) -> list[tuple[Tensor, list[int]]]:
    """The matrices of two blocks of width 16: their keys and values have one head of 8."""
    gate = model.config.d_ff
    heights = {
        "attention.qkv": [16, 8, 8],
        "attention.proj": [16],
        "feed_forward.up": [gate, gate],
        "feed_forward.proj": [16],
    }
    return [
        (block.get_parameter(f"{name}.weight"), parts)
        for block in model.blocks
        for name, parts in heights.items()
    ]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_muon_moves_the_matrices_as_torchs_does_and_adamw_the_rest(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, tolerance: float
) -> None:
    ours, theirs = model(), model()
    before = [weight.detach().clone() for weight, _ in stacked(ours)]
    config = optim("muon", momentum=0.9, beta1=0.85, beta2=0.95)
    optimizer = Optimizer(ours, config)
    optimizer.compute_with(dtype, native=False)
    muon, matrices = torchs_muon(theirs, 0.02)
    taken = {id(weight) for weight, _ in stacked(theirs)}
    adamw = plain_adamw([p for p in theirs.parameters() if id(p) not in taken])
    if dtype == torch.float32:  # torch's always orthogonalises in bf16: let it not
        monkeypatch.setattr(Tensor, "bfloat16", lambda tensor: tensor.clone())
    for step in range(STEPS):
        give_gradients(step, ours, theirs)
        gradients = [g for weight, h in stacked(theirs) for g in torch.split(_grad(weight), h)]
        for matrix, gradient in zip(matrices, gradients, strict=True):
            matrix.grad = gradient.clone()
        take_step(optimizer, 0.01, GO)
        muon.step()
        adamw.step()
    wanted = iter(matrices)
    for (weight, heights), start in zip(stacked(ours), before, strict=True):
        expected = torch.cat([next(wanted) for _ in heights])
        assert relative_error(weight - start, expected - start) < tolerance
    mine = {id(weight) for weight, _ in stacked(ours)}
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        if id(a) not in mine:
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7, msg=name)


def _grad(weight: Tensor) -> Tensor:
    assert weight.grad is not None
    return weight.grad


# Which moves which


def test_matrices_and_embeddings_decay_biases_and_norms_do_not() -> None:
    ours = model()
    for optimizer in (Optimizer(ours, optim(name)) for name in ("adamw", "sgd")):
        decay = {id(p): g["weight_decay"] for g in optimizer.rest.param_groups for p in g["params"]}
        assert len(decay) == len(list(ours.parameters()))
        for name, parameter in ours.named_parameters():
            is_vector = "bias" in name or "norm" in name
            assert decay[id(parameter)] == (0.0 if is_vector else 0.2), name


def test_muon_takes_the_blocks_matrices_and_nothing_else() -> None:
    ours = model()
    optimizer = Optimizer(ours, optim("muon"))
    assert optimizer.muon is not None
    names = {id(parameter): name for name, parameter in ours.named_parameters()}
    inside = ["attention.qkv", "attention.proj", "feed_forward.up", "feed_forward.proj"]
    expected = {f"blocks.{i}.{name}.weight" for i in range(2) for name in inside}
    assert {names[id(weight)] for weight in optimizer.muon.state} == expected
    rest = [names[id(p)] for g in optimizer.rest.param_groups for p in g["params"]]
    assert sorted(rest) == sorted(set(names.values()) - expected)


def test_a_tied_head_is_moved_once() -> None:
    for name in ("adamw", "muon", "sgd"):
        optimizer = Optimizer(small_model(), optim(name))
        moved = [id(p) for g in optimizer.rest.param_groups for p in g["params"]]
        assert len(moved) == len(set(moved))


def test_a_model_without_blocks_is_adamws_alone() -> None:
    bigram = build_model(ModelConfig(architecture="bigram"), VOCAB)
    optimizer = Optimizer(bigram, optim("muon"))
    assert optimizer.muon is None
    give_gradients(0, bigram)
    weight = bigram.get_parameter("token_embedding.weight")
    before = weight.detach().clone()
    take_step(optimizer, 0.01, GO)
    assert (weight != before).any()


def test_a_model_without_projections_is_all_moved() -> None:
    ours = random_model(small_config(output_proj=False, mlp_ratio=1.0))
    before = {name: p.detach().clone() for name, p in ours.named_parameters()}
    optimizer = Optimizer(ours, optim("muon"))
    give_gradients(0, ours)
    take_step(optimizer, 0.01, GO)
    assert all((p != before[name]).any() for name, p in ours.named_parameters())


# Settings


def test_settings_reach_every_group_when_they_change() -> None:
    optimizer = Optimizer(model(), optim("adamw"))
    optimizer.configure(optim("adamw", beta1=0.8, beta2=0.7, weight_decay=0.5))
    assert [g["betas"] for g in optimizer.rest.param_groups] == [(0.8, 0.7)] * 2
    assert [g["weight_decay"] for g in optimizer.rest.param_groups] == [0.5, 0.0]
    optimizer = Optimizer(model(), optim("sgd"))
    optimizer.configure(optim("sgd", momentum=0.3, weight_decay=0.5))
    assert [g["momentum"] for g in optimizer.rest.param_groups] == [0.3] * 2
    assert [g["weight_decay"] for g in optimizer.rest.param_groups] == [0.5, 0.0]
    optimizer = Optimizer(model(), optim("muon"))
    optimizer.configure(optim("muon", momentum=0.3, weight_decay=0.5))
    assert optimizer.muon is not None
    assert (optimizer.muon.momentum, optimizer.muon.weight_decay) == (0.3, 0.5)


def test_muons_rate_goes_up_and_down_with_the_schedule() -> None:
    """At half of AdamW's peak, Muon moves half as far as at its own."""
    moved = []
    for rate in (0.01, 0.005):
        ours = model()
        weight = ours.get_parameter("blocks.0.attention.proj.weight")
        before = weight.detach().clone()
        give_gradients(0, ours)
        take_step(Optimizer(ours, optim("muon", weight_decay=0.0)), rate, GO)
        moved.append(weight - before)
    torch.testing.assert_close(moved[1], moved[0] / 2, rtol=1e-3, atol=1e-6)


# Leaving a step out, and coming back


@pytest.mark.parametrize("name", ["adamw", "muon", "sgd"])
@pytest.mark.parametrize("steps_before", [0, 2])
def test_a_step_that_is_left_out_is_as_if_it_had_not_been(name: str, steps_before: int) -> None:
    ours, other = model(), model()
    optimizers = Optimizer(ours, optim(name)), Optimizer(other, optim(name))
    for step in range(steps_before + 2):
        if step == steps_before:
            for parameter in ours.parameters():
                parameter.grad = torch.full_like(parameter, float("nan"))
            take_step(optimizers[0], 0.01, SKIP)
        give_gradients(step, ours, other)
        for optimizer in optimizers:
            take_step(optimizer, 0.01, GO)
    for a, b in zip(ours.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["adamw", "muon", "sgd"])
@pytest.mark.parametrize("steps_before", [0, 3])
def test_what_is_remembered_can_be_taken_over(name: str, steps_before: int) -> None:
    straight, stopped = model(), model()
    first, second = Optimizer(straight, optim(name)), Optimizer(stopped, optim(name))
    for step in range(steps_before):
        give_gradients(step, straight, stopped)
        take_step(first, 0.01, GO)
        take_step(second, 0.01, GO)
    states = [{k: v.clone() for k, v in second.state_of(p).items()} for p in stopped.parameters()]
    third = Optimizer(stopped, optim(name))
    give_gradients(99, stopped)
    take_step(third, 0.0, GO)  # something to be forgotten again
    third.restore(dict(zip(stopped.parameters(), states, strict=True)))
    for step in range(10, 13):
        give_gradients(step, straight, stopped)
        take_step(first, 0.01, GO)
        take_step(third, 0.01, GO)
    for a, b in zip(straight.parameters(), stopped.parameters(), strict=True):
        assert torch.equal(a, b)


# Too little memory


class LimitedMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Raise as the allocator does when the new tensors alive take more than some bytes."""

    def __init__(self, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._room, self._alive = room, Counter[int]()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = {x.data_ptr() for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.untyped_storage().nbytes():
                self._note(tensor, tensor.untyped_storage().data_ptr() in given)
        return result

    def _note(self, tensor: Tensor, was_there: bool) -> None:
        place, size = tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes()
        if not self._alive[place]:
            if was_there:
                return  # of the model or its optimizer
            self._room -= size
        self._alive[place] += 1
        weakref.finalize(tensor, self._free, place, size)
        if self._room < 0:
            raise torch.OutOfMemoryError("CUDA out of memory")

    def _free(self, place: int, size: int) -> None:
        self._alive[place] -= 1
        self._room += 0 if self._alive[place] else size


@pytest.mark.parametrize("kind", ["adamw", "muon", "sgd"])
def test_an_update_without_enough_memory_changes_nothing_at_all(kind: str) -> None:
    """And once there is enough, it is the one that it would have been."""
    ours, plain = model(), model()
    optimizer, other = (Optimizer(one, optim(kind)) for one in (ours, plain))
    for one in (optimizer, other):
        one.compute_with(torch.float32, native=False)
        one.set_rate(0.01)
    give_gradients(1, ours, plain)
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    failures, room = 0, 0
    while True:
        try:
            with LimitedMemory(room):
                optimizer.step(GO)
            break
        except torch.OutOfMemoryError:
            failures, room = failures + 1, room + 1000
            assert all(torch.equal(x, before[name]) for name, x in ours.state_dict().items())
    other.step(GO)
    assert failures > 5 or kind == "sgd"  # which has no temporary tensors
    for parameter, twin in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.equal(parameter, twin)
        mine, its = optimizer.state_of(parameter), other.state_of(twin)
        assert all(torch.equal(mine[name], its[name]) for name in its)


def test_the_temporary_tensors_of_muon_are_bounded_for_the_largest_model() -> None:
    config = preset_config("gpt2-xl")
    width = config.model.n_embd
    layers = [
        [((3 * width, width), [width] * 3), ((width, width), [width]),
         ((4 * width, width), [4 * width]), ((width, 4 * width), [width])]
        for _ in range(config.model.n_layer)
    ]  # fmt: skip
    muon = Muon(
        [(torch.empty(shape, device="meta"), rows) for layer in layers for shape, rows in layer]
    )
    assert 4 * muon.numbers < 2.2e9
