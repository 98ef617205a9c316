"""The trainer: exact, repeatable, and harmless to interrupt."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from data.batches import Split, take_examples, validation_windows
from engine.checkpoint.store import optimizer_tensors
from engine.config.schema import SETTINGS
from engine.model import GPT
from engine.training.trainer import Trainer, drain
from tests.engine.conftest import MakeTrainer, assert_same_bits, weights
from tests.engine.models import scale_gradient

OPTIMIZERS = SETTINGS["optim.optimizer"].choices


def gradients(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Those of the next step, which is then dropped just before its update."""
    quanta = trainer.step_quanta()
    parts = -(-len(trainer._step_offsets()) // trainer._micro_batch_size)
    for _ in range(parts):
        next(quanta)
    return {n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.grad is not None}


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    for name in one:
        difference = (one[name] - other[name]).norm()
        assert difference <= 1e-6 * other[name].norm() + 1e-9, name


def losses(trainer: Trainer, steps: int) -> list[float]:
    return [trainer.train_step().loss.item() for _ in range(steps)]


# Batches and accumulation


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("accumulation", [2, 4, 8])
def test_accumulating_k_batches_of_b_over_k_is_one_batch_of_b(
    make_trainer: MakeTrainer, accumulation: int, optimizer: str
) -> None:
    changes: dict[str, Any] = {"optim__optimizer": optimizer}
    whole = make_trainer(train__batch_size=8, system__micro_batch_size=8, **changes)
    changes |= {"train__batch_size": 8 // accumulation, "train__grad_accum_steps": accumulation}
    parts = make_trainer(**changes)
    assert_close(gradients(parts), gradients(whole))
    ours, theirs = parts.train_step(), whole.train_step()
    assert ours.loss.item() == pytest.approx(theirs.loss.item(), rel=1e-6)
    assert ours.grad_norm.item() == pytest.approx(theirs.grad_norm.item(), rel=1e-6)
    assert ours.tokens == theirs.tokens == 64
    if optimizer == "adamw":  # its first step takes the sign of what may be all rounding
        return
    for one, other in zip(parts.model.parameters(), whole.model.parameters(), strict=True):
        assert (one - other).abs().max() <= 1e-6


@pytest.mark.parametrize("micro_batch_size", [1, 2, 3, 5, 7])
def test_smaller_forward_passes_give_the_same_gradient(
    make_trainer: MakeTrainer, micro_batch_size: int
) -> None:
    whole = make_trainer(train__batch_size=7, system__micro_batch_size=7)
    split = make_trainer(train__batch_size=7, system__micro_batch_size=micro_batch_size)
    assert_close(gradients(split), gradients(whole))


def test_a_gradient_is_that_of_the_mean_loss_over_the_steps_windows(
    make_trainer: MakeTrainer, split: Split
) -> None:
    trainer = make_trainer(train__grad_accum_steps=3)
    accumulated = gradients(trainer)
    x, y = take_examples(split.train, trainer._step_offsets(), 8)  # (12, T) each
    trainer.model.zero_grad()
    logits = trainer.model(torch.from_numpy(x))
    torch.autograd.backward(F.cross_entropy(logits.flatten(0, 1), torch.from_numpy(y).flatten()))
    named = {n: p.grad for n, p in trainer.model.named_parameters() if p.grad is not None}
    assert_close(accumulated, named)


# Bits


@pytest.mark.parametrize(
    ("dropout", "optimizer", "precision"),
    [
        (0.0, "adamw", "fp32"),
        (0.3, "adamw", "bf16"),
        (0.3, "muon", "fp32"),
        (0.0, "muon", "bf16"),
        (0.3, "sgd", "fp32"),
        (0.0, "sgd", "fp16"),
    ],
)
def test_same_seed_same_losses_to_the_bit_another_seed_others(
    make_trainer: MakeTrainer, dropout: float, optimizer: str, precision: str
) -> None:
    changes: dict[str, Any] = {
        "model__dropout": dropout,
        "optim__optimizer": optimizer,
        "system__precision": precision,
    }
    one, same = (make_trainer(**changes) for _ in range(2))
    other = make_trainer(**changes, train__seed=7)
    first = losses(one, 5)
    assert first == losses(same, 5)
    assert first != losses(other, 5)
    assert_same_bits(weights(one.model), weights(same.model))


def test_two_threads_repeat_each_others_bits_too(make_trainer: MakeTrainer) -> None:
    torch.set_num_threads(2)  # the fixture puts it back
    one, same = (make_trainer(model__n_layer=1, model__dropout=0.3) for _ in range(2))
    assert losses(one, 2) == losses(same, 2)
    assert_same_bits(weights(one.model), weights(same.model))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_step_dropped_half_way_and_done_again_gives_the_same_bits(
    make_trainer: MakeTrainer, dropout: float
) -> None:
    changes: dict[str, Any] = {"model__dropout": dropout, "train__grad_accum_steps": 4}
    straight, interrupted = make_trainer(**changes), make_trainer(**changes)
    expected = losses(straight, 4)
    seen = []
    for part in (1, 2, 3, 4):
        quanta = interrupted.step_quanta()
        for _ in range(part):
            next(quanta)
        quanta.close()
        torch.rand(part)  # and somebody else used the random numbers
        seen.append(interrupted.train_step().loss.item())
    assert seen == expected
    assert_same_bits(weights(straight.model), weights(interrupted.model))


def test_weights_change_only_at_the_end_of_a_step(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(train__grad_accum_steps=3)
    before = weights(trainer.model)
    quanta = trainer.step_quanta()
    for _ in range(3):
        next(quanta)
        assert_same_bits(weights(trainer.model), before)
        assert trainer.step == 0
    drain(quanta)
    assert trainer.step == 1
    assert (weights(trainer.model)["head.weight"] != before["head.weight"]).any()


def test_each_step_sees_other_windows(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(optim__learning_rate=1e-30, optim__min_lr=0)
    seen = losses(trainer, 6)
    assert len(set(seen)) == 6


def test_each_micro_batch_of_each_step_has_its_own_dropout(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(model__dropout=0.5, train__grad_accum_steps=2)
    monkeypatch.setattr(trainer, "_step_offsets", lambda: np.zeros(8, dtype=np.int64))
    seen = []
    for _ in range(3):  # the same windows and weights each time
        quanta, before = trainer.step_quanta(), 0.0
        for _ in range(2):
            next(quanta)
            total = trainer._loss_sum.item()
            seen.append(total - before)
            before = total
        trainer.step += 1
    assert len(set(seen)) == 6


# Evaluation


def by_hand(trainer: Trainer, offsets: np.ndarray) -> float:
    """The mean over all tokens, one window at a time, in double precision."""
    model = trainer.model.eval()
    total = 0.0
    for offset in offsets:
        x, y = take_examples(trainer.split.val, np.array([offset]), 8)
        with torch.no_grad():
            logits = model(torch.from_numpy(x)).double()
        total += F.cross_entropy(logits[0], torch.from_numpy(y)[0]).item()
    model.train()
    return total / len(offsets)


def test_a_whole_evaluation_is_the_mean_over_the_split(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(model__dropout=0.5)
    losses(trainer, 3)
    every = validation_windows(len(trainer.split.val), 8)
    evaluation = trainer.evaluate(whole=True)
    assert evaluation.loss == pytest.approx(by_hand(trainer, every), rel=1e-6)
    assert evaluation.whole and evaluation.windows == len(every) and evaluation.step == 3


def test_an_evaluation_on_the_way_takes_evenly_spaced_windows(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(eval__batches=3, train__batch_size=4)
    every = validation_windows(len(trainer.split.val), 8)
    evaluation = trainer.evaluate()
    middles = every[[(2 * i + 1) * len(every) // 24 for i in range(12)]]
    assert evaluation.loss == pytest.approx(by_hand(trainer, middles), rel=1e-6)
    assert not evaluation.whole and (evaluation.windows, evaluation.of) == (12, len(every))


def test_more_batches_than_there_are_is_the_whole_split(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(eval__batches=10**6)
    assert trainer.evaluate() == trainer.evaluate(whole=True)


def test_evaluating_between_and_inside_steps_changes_no_bits(make_trainer: MakeTrainer) -> None:
    changes: dict[str, Any] = {"model__dropout": 0.3, "train__grad_accum_steps": 2}
    alone, watched = make_trainer(**changes), make_trainer(**changes)
    expected = losses(alone, 4)
    seen = []
    for _ in range(4):
        first = watched.evaluate()
        quanta = watched.step_quanta()
        next(quanta)
        assert watched.evaluate() == first  # repeatable, too
        seen.append(drain(quanta).loss.item())
    assert seen == expected
    assert_same_bits(weights(alone.model), weights(watched.model))


# Numbers that are none


def optimizer_state(trainer: Trainer) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in optimizer_tensors(trainer).items()}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("clip", [0.0, 1.0])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_gradient_that_is_no_number_leaves_weights_and_optimizer_untouched(
    make_trainer: MakeTrainer, bad: float, clip: float, optimizer: str
) -> None:
    trainer = make_trainer(optim__grad_clip=clip, optim__optimizer=optimizer)
    losses(trainer, 2)
    before, state_before = weights(trainer.model), optimizer_state(trainer)
    hook = scale_gradient(trainer.model, "head.weight", bad)
    result = trainer.train_step()
    hook.remove()
    assert not torch.isfinite(result.grad_norm)
    assert_same_bits(weights(trainer.model), before)
    assert_same_bits(optimizer_state(trainer), state_before)
    assert torch.isfinite(trainer.train_step().grad_norm)  # and training goes on
    assert (weights(trainer.model)["head.weight"] != before["head.weight"]).any()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_first_step_that_is_left_out_is_as_if_it_had_not_been(
    make_trainer: MakeTrainer, optimizer: str
) -> None:
    """As happens in fp16, whose loss scale begins too high."""
    late, plain = (make_trainer(optim__optimizer=optimizer) for _ in range(2))
    hook = scale_gradient(late.model, "head.weight", float("inf"))
    late.train_step()
    hook.remove()
    late.step = late.tokens = 0
    assert losses(late, 3) == losses(plain, 3)
    assert_same_bits(weights(late.model), weights(plain.model))


def test_gradients_are_clipped_to_the_norm_and_not_when_it_is_off(
    make_trainer: MakeTrainer,
) -> None:
    clipped, free = make_trainer(optim__grad_clip=0.01), make_trainer(optim__grad_clip=0)
    results = [trainer.train_step() for trainer in (clipped, free)]
    assert results[0].grad_norm == results[1].grad_norm > 0.01  # told as it was before
    for trainer, expected in ((clipped, 0.01), (free, results[1].grad_norm.item())):
        found = [p.grad for p in trainer.model.parameters()]
        squares = sum(float(gradient.square().sum()) for gradient in found if gradient is not None)
        assert squares**0.5 == pytest.approx(expected, rel=1e-3)


# Learning


def test_the_loss_falls_on_a_real_text(make_trainer: MakeTrainer) -> None:
    sizes = {"train__batch_size": 16, "system__micro_batch_size": 16, "model__n_embd": 32}
    trainer = make_trainer(train__max_steps=150, **sizes)
    before = trainer.evaluate(whole=True).loss
    assert before == pytest.approx(np.log(trainer.model.vocab_size), abs=0.1)
    losses(trainer, 150)
    assert trainer.evaluate(whole=True).loss < before - 1.0


def test_bf16_learns_as_fp32_does_within_one_percent(make_trainer: MakeTrainer) -> None:
    changes: dict[str, Any] = {"train__batch_size": 8, "optim__learning_rate": 2e-3}
    fp32 = np.array(losses(make_trainer(**changes), 20))
    bf16 = np.array(losses(make_trainer(**changes, system__precision="bf16"), 20))
    assert (fp32 != bf16).any()
    np.testing.assert_allclose(bf16, fp32, rtol=0.01)


def test_adjusting_reaches_schedule_optimizer_dropout_and_batch(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    trainer.adjust(
        trainer.config.replace(
            {
                "optim.learning_rate": 0.5,
                "optim.warmup_steps": 0,
                "optim.beta1": 0.5,
                "model.dropout": 0.25,
                "train.batch_size": 2,
            }
        )
    )
    result = trainer.train_step()
    assert result.learning_rate == 0.5
    assert [group["lr"] for group in trainer.optimizer.rest.param_groups] == [0.5, 0.5]
    assert [group["betas"][0] for group in trainer.optimizer.rest.param_groups] == [0.5, 0.5]
    assert isinstance(trainer.model, GPT) and trainer.model.dropout.p == 0.25
    assert result.tokens == 2 * 8


# Compiling


def test_a_failing_compiler_leaves_the_trainer_as_it_was(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compile_to_failure(model: torch.nn.Module) -> Any:
        def fail(*_: Any) -> None:
            raise RuntimeError("no C++ compiler")

        return fail

    trainer, untouched = make_trainer(model__dropout=0.2), make_trainer(model__dropout=0.2)
    monkeypatch.setattr(torch, "compile", compile_to_failure)
    with pytest.raises(RuntimeError, match=r"no C\+\+ compiler"):
        trainer.compile()
    assert losses(trainer, 3) == losses(untouched, 3)


def test_training_goes_through_the_compiled_twin_and_evaluation_does_not(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def pretend(model: torch.nn.Module) -> Any:
        def call(x: torch.Tensor) -> torch.Tensor:
            calls.append(len(x))
            return model(x)  # type: ignore[no-any-return]

        return call

    trainer, plain = make_trainer(), make_trainer()
    monkeypatch.setattr(torch, "compile", pretend)
    trainer.compile()
    assert losses(trainer, 2) == losses(plain, 2)
    assert calls == [4, 4, 4]
    trainer.evaluate()
    assert len(calls) == 3


def test_training_starts_without_loading_the_compiler() -> None:
    program = (
        "import sys; from engine.config.presets import preset_config\n"
        "from engine.training.trainer import *\n"
        "from data.batches import split_tokens; import numpy as np\n"
        "split = split_tokens(np.arange(5000, dtype=np.uint16) % 60)\n"
        "runtime = Runtime('cpu', 'fp32', 1, 16, False)\n"
        "Trainer(preset_config('tiny'), runtime, split, 60).train_step()\n"
        "sys.exit('torch._dynamo' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
