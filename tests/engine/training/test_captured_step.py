"""A captured step is the step itself: the same bits, whatever is changed between two steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from data.batches import Split
from engine.checkpoint.store import optimizer_tensors, restore, take_snapshot
from engine.machine.cuda_graph import Work
from engine.training.precision import SUPPORTED
from engine.training.trainer import Trainer
from tests.engine.captures import Recorder
from tests.engine.conftest import DEVICES, HAS_CUDA, MakeTrainer, assert_same_bits

CONFIGS: dict[str, dict[str, Any]] = {
    "adamw": {},
    "sgd": {"optim__optimizer": "sgd"},
    "muon": {"optim__optimizer": "muon", "optim__weight_decay": 0.1},
    "dropout": {"model__dropout": 0.3},
    "accumulated": {"train__grad_accum_steps": 3, "model__dropout": 0.3},
    "uneven": {"system__micro_batch_size": 3, "train__grad_accum_steps": 2},
    "averaged": {"optim__ema_decay": 0.9},
    "unclipped": {"optim__grad_clip": 0.0},
    "rotary": {"model__position": "rotary", "model__n_gram": 3, "model__qk_norm": True},
}


Pair = tuple[Trainer, Trainer]
MakePair = Callable[..., Pair]


@pytest.fixture
def make_pair(make_trainer: MakeTrainer, split: Split) -> MakePair:
    """The same trainer twice: step by step, and with the step captured."""

    def make(device: str, **changes: Any) -> Pair:
        plain = make_trainer(**changes)
        kernels = "native" if device == "cuda" else "torch"
        runtime = dataclasses.replace(plain.runtime, device=device, kernels=kernels)
        graph = dataclasses.replace(runtime, cuda_graph=device == "cuda")
        vocab_size = plain.model.vocab_size
        one, other = (Trainer(plain.config, r, split, vocab_size) for r in (runtime, graph))
        if device == "cpu":  # which has no graphs: the pieces and their order are those of a GPU
            other.graph.capture_with(Recorder())
        other.graph.tell = pytest.fail
        return one, other

    return make


def take_steps(pair: Pair, count: int) -> None:
    """Both must come to the same losses, weights and optimizer states."""
    for _ in range(count):
        plain, graph = (trainer.train_step() for trainer in pair)
        assert plain.loss.item() == graph.loss.item()
        assert plain.grad_norm.item() == graph.grad_norm.item()
    states = [{k: v.detach().cpu() for k, v in optimizer_tensors(one).items()} for one in pair]
    assert_same_bits(*states)
    for models in zip(*((one.model, one.evaluated_model) for one in pair), strict=True):
        assert_same_bits(*({k: v.cpu() for k, v in m.state_dict().items()} for m in models))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", CONFIGS)
def test_a_captured_step_has_the_bits_of_a_plain_one(
    make_pair: MakePair, device: str, name: str
) -> None:
    take_steps(make_pair(device, **CONFIGS[name]), 6)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", SUPPORTED["cuda"])
def test_in_every_precision(make_pair: MakePair, device: str, precision: str) -> None:
    if device == "cpu" and precision == "tf32":
        pytest.skip("a CPU has no tf32")
    take_steps(make_pair(device, system__precision=precision, optim__optimizer="muon"), 6)


@pytest.mark.parametrize("device", DEVICES)
def test_what_is_adjusted_between_steps_takes_effect(make_pair: MakePair, device: str) -> None:
    pair = make_pair(device, model__dropout=0.2, optim__optimizer="muon")
    take_steps(pair, 4)
    for changes in (
        {"optim.learning_rate": 0.003},
        {"optim.muon_lr": 0.1},
        {"optim.grad_clip": 0.01},
        {"optim.weight_decay": 0.3, "optim.beta2": 0.9, "optim.momentum": 0.5},
        {"model.dropout": 0.0},
        {"train.batch_size": 2},
        {"train.batch_size": 8, "train.grad_accum_steps": 2},
        {"train.max_steps": 40},
    ):
        for trainer in pair:
            trainer.adjust(trainer.config.replace(changes))
        take_steps(pair, 3)


def test_other_rates_need_no_new_capture_and_other_constants_do(make_trainer: MakeTrainer) -> None:
    trainer, recorder = make_trainer(), Recorder()
    trainer.graph.capture_with(recorder)
    for _ in range(3):
        trainer.train_step()
    assert (recorder.captured, recorder.replayed) == (2, 4)  # a micro-batch and the update
    for rate in (0.003, 0.004):
        trainer.adjust(trainer.config.replace({"optim.learning_rate": rate}))
        trainer.train_step()
    assert recorder.captured == 2
    trainer.adjust(trainer.config.replace({"model.dropout": 0.5}))
    trainer.train_step()  # plainly: what the new constants need is made ready
    assert recorder.captured == 2
    trainer.train_step()
    assert recorder.captured == 4


@pytest.mark.parametrize("device", DEVICES)
def test_a_trainer_that_goes_back_goes_the_same_way_again(make_pair: MakePair, device: str) -> None:
    pair = make_pair(device, model__dropout=0.2, optim__optimizer="muon", optim__ema_decay=0.9)
    take_steps(pair, 3)
    snapshots = [take_snapshot(trainer, {}) for trainer in pair]
    take_steps(pair, 3)
    for trainer, snapshot in zip(pair, snapshots, strict=True):
        restore(trainer, snapshot)
    take_steps(pair, 4)


@pytest.mark.parametrize("device", DEVICES)
def test_evaluating_and_other_random_numbers_in_between_change_nothing(
    make_pair: MakePair, device: str
) -> None:
    pair = make_pair(device, model__dropout=0.3)
    for _ in range(3):
        take_steps(pair, 2)
        pair[1].evaluate(whole=True)
        torch.rand(3, device=device)


@pytest.mark.parametrize("device", DEVICES)
def test_a_gradient_that_is_no_number_leaves_the_weights_alone(
    make_pair: MakePair, device: str
) -> None:
    pair = make_pair(device, optim__optimizer="muon")
    take_steps(pair, 3)
    for trainer in pair:
        with torch.no_grad():
            trainer.model.get_parameter("head.weight")[0] = float("nan")
    before = {k: v.cpu().clone() for k, v in pair[1].model.state_dict().items()}
    for trainer in pair:
        assert not torch.isfinite(trainer.train_step().grad_norm)
    after = {k: v.cpu() for k, v in pair[1].model.state_dict().items()}
    assert_same_bits(before, after)


def test_a_capture_that_fails_is_told_once_and_training_goes_on(
    make_trainer: MakeTrainer,
) -> None:
    plain, trainer = make_trainer(), make_trainer()
    told: list[str] = []

    def refuse(work: Work) -> Work:
        raise RuntimeError("operation not permitted when stream is capturing\nmore words")

    trainer.graph.capture_with(lambda: refuse)
    trainer.graph.tell = told.append
    take_steps((plain, trainer), 5)
    assert told == ["operation not permitted when stream is capturing"]


def test_a_capture_that_fails_in_the_middle_of_a_step_loses_nothing(
    make_trainer: MakeTrainer,
) -> None:
    changes: dict[str, Any] = {"train__grad_accum_steps": 2, "model__dropout": 0.2}
    plain, trainer = make_trainer(**changes), make_trainer(**changes)
    told: list[str] = []
    captures = 0

    def capture(work: Work) -> Work:
        nonlocal captures
        captures += 1
        if captures == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return work

    trainer.graph.capture_with(lambda: capture)
    trainer.graph.tell = told.append
    take_steps((plain, trainer), 5)
    assert told == ["CUDA out of memory"]


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_CUDA, reason="there is no CUDA device")
def test_a_captured_step_never_waits_for_the_gpu(make_pair: MakePair) -> None:
    _, trainer = make_pair("cuda", model__dropout=0.2, optim__optimizer="muon")
    for _ in range(3):
        trainer.train_step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        results = [trainer.train_step() for _ in range(3)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(torch.isfinite(result.loss) for result in results)


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_CUDA, reason="there is no CUDA device")
@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_an_update_that_does_not_fit_moves_no_weight(
    make_pair: MakePair, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    pair = make_pair("cuda", optim__optimizer=optimizer)
    trainer = pair[1]
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    room = torch.cuda.get_device_properties(0).total_memory
    with monkeypatch.context() as patch:
        patch.setattr(trainer.optimizer, "_numbers_of_a_step", lambda: room)
        with pytest.raises(torch.OutOfMemoryError):
            trainer.train_step()
    assert all(torch.equal(v, before[k]) for k, v in trainer.model.state_dict().items())
    take_steps(pair, 4)
