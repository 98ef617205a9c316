"""With windows of one document each the loss is the mean over what is predicted, and no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from data.batches import Split
from data.tokenizers import CharTokenizer
from engine.training.trainer import Runtime, Trainer
from tests.engine.conftest import MakeConfig, assert_same_bits, weights
from tests.engine.training.test_trainer import assert_close, gradients

SIZES = [3, 40, 5, 9, 2, 14, 6, 25] * 6  # windows have 8 tokens


@pytest.fixture
def make(make_config: MakeConfig, split: Split, tokenizer: CharTokenizer) -> Callable[..., Trainer]:
    """A small trainer on documents of these sizes, in both splits."""
    starts = np.cumsum([0, *SIZES[:-1]])
    part = np.asarray(split.train[: sum(SIZES)]).copy()
    documents = Split(part, part[::-1].copy(), starts, starts)

    def trainer(**changes: Any) -> Trainer:
        config = make_config(data__within_documents=True, **changes)
        system = config.system
        runtime = Runtime("cpu", system.precision, 1, system.micro_batch_size, system.compile)
        return Trainer(config, runtime, documents, tokenizer.vocab_size)

    return trainer


def by_hand(trainer: Trainer, tokens: np.ndarray, offsets: np.ndarray) -> torch.Tensor:
    """The mean over all that is predicted, each document by itself and as long as it is."""
    ends = np.cumsum(SIZES)
    losses = []
    for offset in offsets.tolist():
        end = min(ends[ends > offset + 1][0], offset + 9)
        ids = torch.from_numpy(tokens[offset:end].astype(np.int64))
        losses.append(F.cross_entropy(trainer.model(ids[None, :-1])[0], ids[1:], reduction="none"))
    return torch.cat(losses).mean()


@pytest.mark.parametrize("order", ["random", "epochs"])
@pytest.mark.parametrize("micro_batch_size", [1, 5, 12])
def test_a_gradient_is_that_of_the_mean_over_what_is_predicted(
    make: Callable[..., Trainer], order: str, micro_batch_size: int
) -> None:
    trainer = make(
        train__batch_size=12, data__order=order, system__micro_batch_size=micro_batch_size
    )
    accumulated = gradients(trainer)
    trainer.model.zero_grad()
    expected = by_hand(trainer, trainer.split.train, trainer._step_offsets())
    torch.autograd.backward(expected)
    named = {n: p.grad for n, p in trainer.model.named_parameters() if p.grad is not None}
    assert_close(accumulated, named)
    assert trainer.train_step().loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_an_evaluation_is_the_mean_over_what_is_predicted(make: Callable[..., Trainer]) -> None:
    trainer = make(eval__batches=2, train__batch_size=4, model__dropout=0.5)
    every = trainer.val_windows.to_validate()
    trainer.model.eval()
    with torch.no_grad():
        whole = by_hand(trainer, trainer.split.val, every).item()
        some = by_hand(trainer, trainer.split.val, every[(2 * np.arange(8) + 1) * len(every) // 16])
    found = trainer.evaluate(whole=True)
    assert found.loss == pytest.approx(whole, rel=1e-6) and found.whole
    assert trainer.evaluate().loss == pytest.approx(some.item(), rel=1e-6)


def test_an_epoch_is_over_once_all_windows_were_seen(make: Callable[..., Trainer]) -> None:
    trainer = make(train__batch_size=4, train__max_epochs=2, data__order="epochs")
    count = sum(-(-(one - (number == 0)) // 8) for number, one in enumerate(SIZES))
    assert trainer.total_steps == -(-2 * count // 4)
    for _ in range(3):
        trainer.train_step()
    assert trainer.epoch == pytest.approx(12 / count)


def test_shards_and_a_change_of_the_micro_batch_go_on_to_the_same_bits(
    make: Callable[..., Trainer],
) -> None:
    shared = {"train__batch_size": 8, "train__shards": 4, "system__micro_batch_size": 2}
    one, other = make(**shared), make(**shared)
    for _ in range(3):
        assert one.train_step().loss.item() == other.train_step().loss.item()
    assert_same_bits(weights(one.model), weights(other.model))
    alone = make(train__batch_size=8, system__micro_batch_size=8)
    for _ in range(3):
        alone.train_step()
    for ours, theirs in zip(one.model.parameters(), alone.model.parameters(), strict=True):
        assert (ours - theirs).abs().max() < 1e-4
