"""Fewer bits: how far bf16 and fp16 may be from the plain fp32 path, and fp16's loss scale.

One rounding is 0.4 % in bf16 and 0.05 % in fp16. What is allowed here, over all numbers of a
tensor (the norm of the difference over the norm): logits five roundings, gradients, which are sums
of products that partly cancel, some more.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from data.batches import Split
from engine.checkpoint.store import optimizer_tensors, restore, take_snapshot
from engine.config.presets import PRESETS, preset_config
from engine.model import LanguageModel
from engine.training.precision import DTYPES, SUPPORTED, LossScale
from engine.training.trainer import Trainer
from tests.engine.conftest import MakeTrainer, assert_same_bits, weights
from tests.engine.model.test_causality import scaled_down
from tests.engine.models import random_model, relative_error, some_tokens, with_dropout

TOLERANCES = {  # of the logits, the gradient and the loss
    "bf16": (0.02, 0.06, 1e-3),
    "fp16": (0.003, 0.02, 2e-4),
}


def loss_and_gradient(model: LanguageModel) -> tuple[Tensor, Tensor]:
    tokens = some_tokens(8)
    logits = model(tokens[:, :-1])
    assert logits.dtype == torch.float32
    loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    return loss.detach(), torch.cat([gradient.flatten() for gradient in gradients])


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_computes_with_fewer_bits_what_it_computes_in_fp32(
    name: str, precision: str
) -> None:
    of_logits, of_gradient, of_loss = TOLERANCES[precision]
    model, tokens = random_model(scaled_down(preset_config(name).model)), some_tokens()
    logits, (loss, gradient) = model(tokens), loss_and_gradient(model)
    model.compute_dtype = DTYPES[precision]
    assert relative_error(model(tokens), logits) < of_logits
    rounded_loss, rounded_gradient = loss_and_gradient(model)
    assert relative_error(rounded_gradient, gradient) < of_gradient
    assert relative_error(rounded_loss, loss) < of_loss
    if preset_config(name).model.architecture != "bigram":  # a table rounds nothing
        assert not torch.equal(rounded_gradient, gradient)


@pytest.mark.parametrize("precision", TOLERANCES)
def test_dropout_drops_the_same_with_fewer_bits(precision: str) -> None:
    model = with_dropout(random_model(scaled_down(preset_config("fast").model)), dropout=0.3)
    tokens, found = some_tokens(), []
    for dtype in (torch.float32, DTYPES[precision]):
        model.compute_dtype = dtype
        torch.manual_seed(1)
        found.append(model.train()(tokens))
    assert relative_error(found[1], found[0]) < 2 * TOLERANCES[precision][0]


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
@pytest.mark.parametrize("precision", TOLERANCES)
def test_training_with_fewer_bits_is_within_one_percent_of_fp32(
    make_trainer: MakeTrainer, precision: str, optimizer: str
) -> None:
    changes: dict[str, Any] = {
        "train__batch_size": 8,
        "optim__optimizer": optimizer,
        "optim__learning_rate": 2e-3,
    }
    fp32, fewer = (
        np.array([trainer.train_step().loss.item() for _ in range(20)])
        for trainer in (
            make_trainer(**changes),
            make_trainer(**changes, system__precision=precision),
        )
    )
    assert (fp32 != fewer).any()
    np.testing.assert_allclose(fewer, fp32, rtol=0.01)


def test_weights_gradients_and_what_the_optimizer_remembers_stay_fp32(
    make_trainer: MakeTrainer,
) -> None:
    for precision in TOLERANCES:
        trainer = make_trainer(system__precision=precision, optim__optimizer="muon")
        trainer.train_step()
        tensors = [*trainer.model.parameters(), *optimizer_tensors(trainer).values()]
        tensors += [p.grad for p in trainer.model.parameters() if p.grad is not None]
        assert {tensor.dtype for tensor in tensors} == {torch.float32}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
@pytest.mark.parametrize("precision", SUPPORTED["cuda"])
def test_a_gpu_trains_within_one_percent_of_the_plain_cpu(
    make_trainer: MakeTrainer, split: Split, precision: str, optimizer: str
) -> None:
    """From the same weights, which are drawn on the CPU, and on the same batches."""
    plain = make_trainer(optim__optimizer=optimizer, optim__learning_rate=2e-3)
    runtime = dataclasses.replace(plain.runtime, device="cuda", precision=precision)
    ours = Trainer(plain.config, runtime, split, plain.model.vocab_size)
    found, expected = (
        np.array([trainer.train_step().loss.item() for _ in range(10)]) for trainer in (ours, plain)
    )
    np.testing.assert_allclose(found, expected, rtol=0.01)
    assert ours.evaluate().loss == pytest.approx(plain.evaluate().loss, rel=0.01)


# The scale of fp16


def loss_scale() -> LossScale:
    return LossScale(torch.device("cpu"))


GOOD, OVERFLOW = torch.tensor(False), torch.tensor(True)


def test_two_thousand_good_steps_double_the_scale_and_an_overflow_halves_it() -> None:
    scale = loss_scale()
    assert scale.scale == 65536
    for _ in range(1999):
        scale.update(GOOD)
    assert scale.scale == 65536
    scale.update(GOOD)
    assert (scale.scale.item(), scale.good_steps.item()) == (131072, 0)
    for _ in range(1999):
        scale.update(GOOD)
    scale.update(OVERFLOW)  # and the stretch begins anew
    assert (scale.scale.item(), scale.good_steps.item()) == (65536, 0)
    for _ in range(1999):
        scale.update(GOOD)
    assert scale.scale == 65536


def test_gradients_are_divided_by_the_scale() -> None:
    scale = loss_scale()
    gradients = [torch.full((3,), 65536.0), torch.tensor(float("inf"))]
    scale.unscale(gradients)
    assert torch.equal(gradients[0], torch.ones(3))
    assert torch.isinf(gradients[1])


def test_the_scale_keeps_small_gradients_from_vanishing() -> None:
    x = torch.ones((), dtype=torch.float16, requires_grad=True)
    (vanished,) = torch.autograd.grad(x.float() * 1e-9, x)
    assert vanished == 0
    scale = loss_scale()
    (kept,) = torch.autograd.grad(x.float() * 1e-9 * scale.scale, x)
    kept = kept.float()
    scale.unscale([kept])
    assert kept.item() == pytest.approx(1e-9, rel=1e-3)


def fp16_trainer(make_trainer: MakeTrainer, **changes: Any) -> Trainer:
    trainer = make_trainer(system__precision="fp16", **changes)
    assert trainer.loss_scale is not None
    return trainer


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
def test_an_overflow_halves_the_scale_and_leaves_the_step_out(
    make_trainer: MakeTrainer, optimizer: str
) -> None:
    trainer = fp16_trainer(make_trainer, optim__optimizer=optimizer)
    scale = trainer.loss_scale
    assert scale is not None
    trainer.train_step()
    before = weights(trainer.model)
    remembered = {k: v.clone() for k, v in optimizer_tensors(trainer).items() if "scale" not in k}
    scale.scale.fill_(2.0**30)
    result = trainer.train_step()
    assert not torch.isfinite(result.grad_norm) and torch.isfinite(result.loss)
    assert (scale.scale.item(), scale.good_steps.item()) == (2.0**29, 0)
    assert_same_bits(weights(trainer.model), before)
    now = {k: v for k, v in optimizer_tensors(trainer).items() if "scale" not in k}
    assert_same_bits(now, remembered)
    while not torch.isfinite(trainer.train_step().grad_norm):
        assert scale.scale > 1000
    assert (weights(trainer.model)["head.weight"] != before["head.weight"]).any()


def test_the_scale_changes_neither_gradient_nor_norm(make_trainer: MakeTrainer) -> None:
    one, other = fp16_trainer(make_trainer), fp16_trainer(make_trainer)
    assert other.loss_scale is not None
    other.loss_scale.scale.fill_(2.0**10)
    found, wanted = one.train_step(), other.train_step()
    assert found.loss == wanted.loss
    assert found.grad_norm.item() == pytest.approx(wanted.grad_norm.item(), rel=1e-3)


def test_the_scale_comes_back_with_a_checkpoint(make_trainer: MakeTrainer) -> None:
    trainer, other = fp16_trainer(make_trainer), fp16_trainer(make_trainer)
    assert trainer.loss_scale is not None and other.loss_scale is not None
    trainer.loss_scale.scale.fill_(2.0**30)
    for _ in range(3):
        trainer.train_step()
    snapshot = take_snapshot(trainer, {})
    restore(other, snapshot)
    assert other.loss_scale.state() == trainer.loss_scale.state()
    again = [t.train_step().loss.item() for t in (trainer, other) for _ in range(8)]
    assert again[:8] == again[8:]
    assert_same_bits(weights(trainer.model), weights(other.model))
