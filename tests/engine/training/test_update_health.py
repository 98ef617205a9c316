"""What a step does to each weight, as it is measured, and that measuring does not change it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from data.batches import Split, take_examples
from engine.config.schema import SETTINGS
from engine.machine.cuda_graph import Work
from engine.training import update_health
from engine.training.trainer import StepResult, Trainer, drain
from tests.engine.conftest import MakeTrainer, assert_same_bits, weights

OPTIMIZERS = SETTINGS["optim.optimizer"].choices
MATRICES = ("token_embedding", "position_embedding", *(
    f"blocks.{layer}.{one}" for layer in (0, 1)
    for one in ("attention.qkv", "attention.proj", "feed_forward.up", "feed_forward.proj")
))  # fmt: skip


def watched_step(trainer: Trainer) -> StepResult:
    return drain(trainer.step_quanta(watched=True))


def figures_of(result: StepResult) -> dict[str, float]:
    assert result.health
    return result.health.figures()


def norm_of(arrays: dict[str, np.ndarray], part: str) -> float:
    """The norm of a matrix, or of all that a layer has."""
    one = [a for name, a in arrays.items() if name == f"{part}.weight"]
    found = one or [a for name, a in arrays.items() if name.startswith(f"{part}.")]
    return float(np.sqrt(sum((a.astype(np.float64) ** 2).sum() for a in found)))


def gradients_by_hand(trainer: Trainer, split: Split) -> dict[str, np.ndarray]:
    """Those of the mean loss over the windows of the next step."""
    x, y = take_examples(split.train, trainer._step_offsets(), 8)  # (4, T) each
    named = dict(trainer.model.named_parameters())
    logits = trainer.model(torch.from_numpy(x))
    loss = F.cross_entropy(logits.flatten(0, 1), torch.from_numpy(y).flatten())
    found = torch.autograd.grad(loss, [*named.values()])
    return {name: one.numpy() for name, one in zip(named, found, strict=True)}


def parameters(trainer: Trainer) -> dict[str, np.ndarray]:
    return {name: one.detach().numpy().copy() for name, one in trainer.model.named_parameters()}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_norms_and_ratios_are_those_of_a_plain_recomputation(
    make_trainer: MakeTrainer, split: Split, optimizer: str
) -> None:
    trainer = make_trainer(optim__optimizer=optimizer, model__bias=True, optim__grad_clip=0.01)
    trainer.train_step()
    by_hand, before = gradients_by_hand(trainer, split), parameters(trainer)
    found = figures_of(watched_step(trainer))
    after = parameters(trainer)
    moved = {name: after[name] - before[name] for name in before}
    parts = (*MATRICES, "blocks.0", "blocks.1")
    for part in parts:  # gradients are those before clipping
        ratio = norm_of(moved, part) / norm_of(before, part)
        assert found[f"health/grad_norm/{part}"] == pytest.approx(norm_of(by_hand, part), rel=1e-4)
        assert found[f"health/update_ratio/{part}"] == pytest.approx(ratio, rel=1e-4)
    assert found.keys() == {f"health/{one}/{part}" for one in ("grad_norm", "update_ratio")
                            for part in parts}  # fmt: skip


def test_the_first_update_of_adamw_has_the_size_that_its_formula_gives(
    make_trainer: MakeTrainer, split: Split
) -> None:
    trainer = make_trainer(optim__grad_clip=0.0, optim__weight_decay=0.3)
    gradient = gradients_by_hand(trainer, split)["blocks.0.feed_forward.up.weight"]
    weight = parameters(trainer)["blocks.0.feed_forward.up.weight"]
    rate = trainer.learning_rate
    # of the first step, mean and root of the mean square are g and |g|
    update = rate * (gradient / (np.abs(gradient) + 1e-8) + 0.3 * weight)
    expected = np.linalg.norm(update) / np.linalg.norm(weight)
    found = figures_of(watched_step(trainer))
    assert found["health/update_ratio/blocks.0.feed_forward.up"] == pytest.approx(expected, 1e-4)


@pytest.mark.parametrize(
    ("optimizer", "precision", "more"),
    [
        ("adamw", "fp32", {"model__dropout": 0.3}),
        ("muon", "bf16", {"train__grad_accum_steps": 2, "optim__ema_decay": 0.9}),
        ("sgd", "fp16", {}),
    ],
)
def test_a_watched_step_has_the_same_bits(
    make_trainer: MakeTrainer, optimizer: str, precision: str, more: dict[str, Any]
) -> None:
    changes = {"optim__optimizer": optimizer, "system__precision": precision} | more
    plain, watched = make_trainer(**changes), make_trainer(**changes)
    for _ in range(3):
        one, other = plain.train_step(), watched_step(watched)
        assert one.loss.item() == other.loss.item()
        assert one.health is None
        found = figures_of(other)  # as if the loss were not scaled
        names = [f"health/grad_norm/{part}" for part in MATRICES]
        squares = sum(found[name] ** 2 for name in names)
        assert squares == pytest.approx(other.grad_norm.item() ** 2, rel=0.02)  # but for norms
    assert_same_bits(weights(plain.model), weights(watched.model))
    assert_same_bits(weights(plain.evaluated_model), weights(watched.evaluated_model))


def test_of_a_large_model_some_rows_are_copied(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer()
    most = -(-sum(one.numel() for one in trainer.model.parameters()) // 4)
    monkeypatch.setattr(update_health, "MOST_COPIED", most)
    copied: list[int] = []
    end = update_health.WatchedUpdate.end

    def counting(watch: update_health.WatchedUpdate) -> update_health.UpdateHealth:
        copied.append(sum(one.numel() for one in watch._before))
        return end(watch)

    monkeypatch.setattr(update_health.WatchedUpdate, "end", counting)
    before = parameters(trainer)["blocks.1.attention.qkv.weight"][::4]
    found = figures_of(watched_step(trainer))
    after = parameters(trainer)["blocks.1.attention.qkv.weight"][::4]
    assert copied[0] <= 1.1 * most  # but for rounding up, and the gains of norms
    ratio = np.linalg.norm(after - before) / np.linalg.norm(before)
    assert found["health/update_ratio/blocks.1.attention.qkv"] == pytest.approx(ratio, rel=1e-4)


def test_weights_that_begin_at_zero_have_no_ratio_at_first(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(model__zero_init=True)
    first, second = (figures_of(watched_step(trainer)) for _ in range(2))
    name = "health/update_ratio/blocks.0.feed_forward.proj"
    assert name not in first
    assert second[name] > 0


@pytest.mark.parametrize("fails", ["__init__", "end"])
def test_a_step_is_done_where_there_is_no_memory_to_watch_it(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def full(*arguments: object) -> None:
        raise MemoryError

    plain, watched = make_trainer(), make_trainer()
    monkeypatch.setattr(update_health.WatchedUpdate, fails, full)
    assert watched_step(watched).health is None
    plain.train_step()
    assert watched.step == 1
    assert_same_bits(weights(plain.model), weights(watched.model))


def test_nothing_of_it_is_captured_in_a_graph(make_trainer: MakeTrainer) -> None:
    """Graphs are replayed with the same addresses; here a replay does the work again."""
    plain, watched = make_trainer(), make_trainer()
    captured: list[Work] = []

    def capture(work: Work) -> Work:
        captured.append(work)
        return work

    watched.graph.capture_with(lambda: capture)
    for step in range(4):
        plain.train_step()
        result = drain(watched.step_quanta(watched=step in (1, 2)))
        assert bool(result.health) == (step in (1, 2))
    assert len(captured) == 2  # a micro-batch and the update, as without
    assert_same_bits(weights(plain.model), weights(watched.model))
