"""The average of the weights: its closed form, and who looks at it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.tokenizers import CharTokenizer
from engine.checkpoint.load import load_model
from engine.checkpoint.retention import Rules
from engine.checkpoint.store import (
    find_checkpoint,
    read_checkpoint,
    restore,
    take_snapshot,
    write_checkpoint,
)
from engine.training.ema import WeightAverage
from engine.training.trainer import Trainer
from tests.engine.conftest import MakeTrainer, assert_same_bits, checkpoint_state, weights
from tests.engine.models import scatter, small_model

LATE = 10**9  # a step at which the decay is the one that was asked for


def test_after_many_steps_it_is_the_geometric_sum() -> None:
    """d^n of the start and (1 - d) d^(n - i) of the weights after step i."""
    model, d, n = small_model(), 0.8, 12
    average = WeightAverage(model)
    start = model.head.weight.detach().double().clone()
    expected = d**n * start
    for i in range(1, n + 1):
        scatter(model)
        average.update(model, d, LATE)
        expected += (1 - d) * d ** (n - i) * model.head.weight.detach().double()
    found = average.model.get_parameter("head.weight")
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_in_the_first_steps_less_of_it_stays(decay: float) -> None:
    model = small_model()
    average = WeightAverage(model)
    expected = model.head.weight.detach().double().clone()
    for step in range(30):
        scatter(model)
        average.update(model, decay, step)
        stays = min(decay, (1 + step) / (10 + step))
        expected = stays * expected + (1 - stays) * model.head.weight.detach().double()
    found = average.model.get_parameter("head.weight")
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_it_is_apart_from_the_model_and_not_trained() -> None:
    model = small_model()
    average = WeightAverage(model)
    assert not average.model.training
    assert not any(parameter.requires_grad for parameter in average.model.parameters())
    head = average.model.get_parameter("head.weight")
    assert head is average.model.get_parameter("token_embedding.weight")  # tied, too
    scatter(model)
    assert (head != model.head.weight).any()


# In training


def by_hand(trainer: Trainer, steps: int) -> dict[str, np.ndarray]:
    """The average after some steps of training, in double precision."""
    decay = trainer.config.optim.ema_decay
    expected = {name: value.astype(np.float64) for name, value in weights(trainer.model).items()}
    for step in range(steps):
        trainer.train_step()
        stays = min(decay, (1 + step) / (10 + step))
        for name, value in weights(trainer.model).items():
            expected[name] = stays * expected[name] + (1 - stays) * value
    return expected


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
def test_a_trainer_averages_the_weights_after_each_step(
    make_trainer: MakeTrainer, optimizer: str
) -> None:
    trainer = make_trainer(optim__ema_decay=0.3, optim__optimizer=optimizer)
    expected = by_hand(trainer, 6)
    for name, value in weights(trainer.evaluated_model).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_averaging_changes_no_training(make_trainer: MakeTrainer) -> None:
    averaged, plain = make_trainer(optim__ema_decay=0.9), make_trainer()
    assert plain.average is None and plain.evaluated_model is plain.model
    for trainer in (averaged, plain):
        for _ in range(4):
            trainer.train_step()
    assert_same_bits(weights(averaged.model), weights(plain.model))


def test_evaluations_take_the_average_unless_told_otherwise(make_trainer: MakeTrainer) -> None:
    trainer, other = make_trainer(optim__ema_decay=0.9), make_trainer()
    for _ in range(5):
        trainer.train_step()
    assert trainer.average is not None
    assert trainer.evaluated_model is trainer.average.model
    average, latest = trainer.evaluate(), trainer.evaluate(model=trainer.model)
    assert average.loss != latest.loss
    other.model.load_state_dict(trainer.average.model.state_dict())
    assert other.evaluate().loss == average.loss
    other.model.load_state_dict(trainer.model.state_dict())
    assert other.evaluate().loss == latest.loss


# In a checkpoint


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
@pytest.mark.parametrize("tied", [True, False])
def test_average_and_weights_both_come_back_to_the_bit(
    make_trainer: MakeTrainer, tokenizer: CharTokenizer, tmp_path: Path, optimizer: str, tied: bool
) -> None:
    changes: dict[str, Any] = {
        "optim__ema_decay": 0.9,
        "optim__optimizer": optimizer,
        "model__tie_weights": tied,
    }
    trainer, other = make_trainer(**changes), make_trainer(**changes, train__seed=5)
    for _ in range(3):
        trainer.train_step()
    state = checkpoint_state(trainer, tokenizer)
    write_checkpoint(tmp_path, take_snapshot(trainer, state), Rules(3), None)
    restore(other, read_checkpoint(find_checkpoint(tmp_path, "latest")))
    other.adjust(trainer.config)  # the seed of the batches
    for _ in range(2):
        assert_same_bits(weights(trainer.model), weights(other.model))
        assert_same_bits(weights(trainer.evaluated_model), weights(other.evaluated_model))
        assert (
            weights(trainer.model)["head.weight"] != weights(trainer.evaluated_model)["head.weight"]
        ).any()
        assert trainer.train_step().loss == other.train_step().loss


def test_the_model_of_a_checkpoint_is_the_average(
    make_trainer: MakeTrainer, tokenizer: CharTokenizer, tmp_path: Path
) -> None:
    trainer = make_trainer(optim__ema_decay=0.9)
    for _ in range(3):
        trainer.train_step()
    state = checkpoint_state(trainer, tokenizer)
    write_checkpoint(tmp_path, take_snapshot(trainer, state), Rules(3), None)
    loaded = load_model(tmp_path, "latest")
    assert_same_bits(weights(loaded), weights(trainer.evaluated_model))
