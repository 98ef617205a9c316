"""From ``auto`` to a decision, and the library's front door."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import pytest
import torch

import engine
from data.batches import Split
from data.errors import InputError
from engine.machine.memory import LARGEST_SHARE
from engine.protocol import Adjust, Refused, Resume, Sample, State, Warned
from engine.session import worker
from engine.training import memory_probe, runtime
from engine.training.memory_probe import largest_micro_batch
from engine.training.runtime import resolve_precision, resolve_runtime
from engine.training.trainer import Runtime
from tests.engine.conftest import MakeConfig, MakeTrainer, Rig, assert_same_bits, weights

AUTO: dict[str, Any] = {
    "system__precision": "auto",
    "system__threads": 0,
    "system__micro_batch_size": 0,
}


def quiet(message: str) -> None:
    """Nobody listens."""


def pretend(monkeypatch: pytest.MonkeyPatch, seconds: dict[tuple[str, int], float]) -> None:
    monkeypatch.setattr(runtime, "_thread_counts", lambda: [1, 2])
    monkeypatch.setattr(
        runtime,
        "_seconds_per_sequence",
        lambda probe, precision, threads, size: seconds[precision, threads],
    )


@pytest.mark.parametrize("fastest", [("fp32", 1), ("fp32", 2), ("bf16", 1), ("bf16", 2)])
def test_on_a_cpu_auto_takes_what_measures_fastest(
    make_config: MakeConfig,
    split: Split,
    monkeypatch: pytest.MonkeyPatch,
    fastest: tuple[str, int],
) -> None:
    seconds = dict.fromkeys([(p, t) for p in ("fp32", "bf16") for t in (1, 2)], 0.02)
    pretend(monkeypatch, seconds | {fastest: 0.01})
    settled = resolve_runtime(make_config(**AUTO), split, 90, quiet, quiet)
    assert (settled.device, settled.precision, settled.threads) == ("cpu", *fastest)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.001, 12), (0.04, 4), (0.06, 3), (0.1, 2), (5.0, 1)]
)
def test_a_quantum_takes_at_most_a_fifth_of_a_second_if_it_can(
    make_config: MakeConfig,
    split: Split,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    expected: int,
) -> None:
    pretend(monkeypatch, {("fp32", 1): seconds})
    config = make_config(system__micro_batch_size=0, train__batch_size=12)
    assert resolve_runtime(config, split, 90, quiet, quiet).micro_batch_size == expected


def test_what_is_asked_for_is_not_measured(
    make_config: MakeConfig, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, {})
    config = make_config(system__kernels="torch")
    settled = resolve_runtime(config, split, 90, quiet, quiet)
    assert settled == Runtime("cpu", "fp32", 1, 4, False, "torch")


def test_measuring_for_real_changes_nothing_of_the_training(
    rig: Rig, make_config: MakeConfig
) -> None:
    measured = rig.new(make_config(system__micro_batch_size=0))
    plain = rig.new(make_config())
    for session in (measured, plain):
        rig.to_step(session, 3)
    assert measured.trainer.runtime.micro_batch_size == 4
    assert_same_bits(weights(measured.trainer.model), weights(plain.trainer.model))


# What cannot be had is told, and training goes on without it


def test_a_device_that_is_not_here_is_one_sentence_and_the_best_there_is(
    make_config: MakeConfig, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    said: list[str] = []
    settled = resolve_runtime(make_config(system__device="cuda"), split, 90, quiet, said.append)
    assert settled.device == "cpu"
    assert said == [
        "system.device is cuda, but PyTorch finds no such device on this machine: "
        "training on cpu instead"
    ]


@pytest.mark.parametrize("precision", ["fp16", "tf32"])
def test_a_precision_the_cpu_cannot_compute_is_one_sentence_and_fp32(
    make_config: MakeConfig, split: Split, precision: str
) -> None:
    said: list[str] = []
    config = make_config(system__device="cpu", system__precision=precision)
    assert resolve_runtime(config, split, 90, quiet, said.append).precision == "fp32"
    assert said == [
        f"system.precision is {precision}, but cpu on this machine supports only fp32 and bf16: "
        f"training in fp32 instead"
    ]


@pytest.mark.parametrize(
    ("asked", "has_bf16", "expected"),
    [
        ("auto", True, "bf16"),
        ("auto", False, "fp32"),
        ("bf16", False, "fp32"),
        ("fp16", False, "fp16"),
        ("tf32", True, "tf32"),
    ],
)
def test_precisions_of_a_gpu(
    monkeypatch: pytest.MonkeyPatch, asked: str, has_bf16: bool, expected: str
) -> None:
    def is_bf16_supported(including_emulation: bool = True) -> bool:
        return has_bf16 or including_emulation  # older cards compute it in fp32, slowly

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    said: list[str] = []
    assert resolve_precision("cuda", asked, said.append) == expected
    assert bool(said) == (asked not in ("auto", expected))


def test_a_fall_back_is_told_and_recorded(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(system__device="cpu", system__precision="tf32"))
    assert session.trainer.runtime.precision == "fp32"
    (warned,) = rig.said(Warned)
    assert "training in fp32 instead" in warned.message
    assert session.files.database.meta()["runtime"]["asked"]["precision"] == "tf32"


def test_a_run_whose_device_is_gone_goes_on_with_the_best_there_is(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config())
    rig.to_step(session, 3)
    known = session.files.database.meta()["runtime"]
    gone = {what: {**known[what], "device": "mps"} for what in ("asked", "resolved")}
    session.files.database.set_meta(runtime=gone)
    session = rig.open(rig.close(session))
    assert session.trainer.runtime.device == "cpu"
    assert "system.device is mps" in rig.said(Warned)[-1].message
    rig.to_step(session, 5)


# Memory


def test_what_a_pass_keeps_grows_with_its_sequences_by_the_same_bytes(
    make_trainer: MakeTrainer,
) -> None:
    trainer = make_trainer()
    kept = [memory_probe.kept_bytes(trainer, size) for size in (1, 2, 4)]
    assert 0 < kept[0] < kept[1]
    assert kept[2] - kept[1] == pytest.approx(2 * (kept[1] - kept[0]), rel=0.02)


def test_a_micro_batch_that_cannot_fit_is_refused_and_the_one_that_fits_is_named(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer()
    one, two = memory_probe.kept_bytes(trainer, 1), memory_probe.kept_bytes(trainer, 2)
    weights_too = 16 * trainer.model.parameter_count() + one
    room = weights_too + 5.5 * memory_probe.TRANSIENT_SHARE * (two - one)
    monkeypatch.setattr(memory_probe, "available_bytes", lambda device: int(room / LARGEST_SHARE))
    fits = largest_micro_batch(trainer, 0)
    assert 5 <= fits <= 8
    assert largest_micro_batch(trainer, fits) == fits
    with pytest.raises(InputError, match=rf"set system.micro_batch_size to {fits} or less"):
        largest_micro_batch(trainer, fits + 1)


def test_a_model_of_which_not_one_sequence_fits_is_refused(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_probe, "available_bytes", lambda device: 1000)
    with pytest.raises(InputError, match=r"lower model.block_size, model.n_layer or model.n_embd"):
        largest_micro_batch(make_trainer(), 0)


def test_left_open_the_micro_batch_stays_within_the_memory(
    make_config: MakeConfig, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, {("fp32", 1): 1e-6})
    monkeypatch.setattr(runtime, "largest_micro_batch", lambda probe, wanted: 5)
    config = make_config(system__micro_batch_size=0, train__batch_size=12)
    assert resolve_runtime(config, split, 90, quiet, quiet).micro_batch_size == 4


def test_a_gpu_out_of_memory_pauses_training_and_names_the_way_out(
    rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = rig.new(make_config(system__micro_batch_size=4))
    rig.to_step(session, 3)
    before = weights(session.trainer.model)

    def out_of_memory(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(session.trainer, "_loss", out_of_memory)
        rig.until(session, lambda: session.status.state is State.PAUSED)
    assert rig.said(Warned)[-1].message == (
        "the GPU ran out of memory, so training is paused and saved: gpt-tui train --resume "
        "run-1 --set system.micro_batch_size=2 takes the same steps in more passes"
    )
    assert session.trainer.step == 3
    assert_same_bits(weights(session.trainer.model), before)
    rig.until(session, lambda: session.status.saved_step == 3)
    rig.send(session, Resume())
    rig.to_step(session, 5)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        torch.AcceleratorError("CUDA error: out of memory", 2),  # of the driver, not the allocator
    ],
    ids=["allocator", "driver"],
)
def test_wherever_a_gpu_runs_out_of_memory_nothing_is_lost(
    rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    """In an evaluation, while text is written, and where weights are copied for it."""
    session = rig.new(make_config(eval__interval=3))
    rig.to_step(session, 2)

    def out_of_memory(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(session.trainer, "evaluate_quanta", out_of_memory)
        rig.until(session, lambda: session.status.state is State.PAUSED)
    rig.until(session, lambda: session.status.saved_step == 3)
    with monkeypatch.context() as patch:
        patch.setattr("engine.sampling.background.freeze", out_of_memory)
        rig.send(session, Sample({}))
        assert rig.said(Refused)[-1].message.startswith("the GPU has too little memory left")
    with monkeypatch.context() as patch:
        patch.setattr("engine.sampling.generate.Generation.__next__", out_of_memory)
        rig.send(session, Sample({}))
        rig.until(session, lambda: not session.sampler.active)
        assert "ended early: the GPU has too little memory left" in rig.said(Warned)[-1].message
    rig.send(session, Resume())
    rig.to_step(session, 5)


# As a library


def test_a_run_is_loaded_as_a_model_that_can_be_called_and_generates(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config())
    rig.to_step(session, 4)
    session.handle(Adjust({"optim.beta1": 0.8}))
    path = rig.close(session)
    for run in (path, str(path), path.name):
        model = engine.load(run, "latest")
        assert_same_bits(weights(model), weights(session.trainer.model))
    assert model.tokenizer is not None
    start_tokens = torch.tensor([model.tokenizer.encode("The ").tolist()])
    logits = model(start_tokens)
    assert logits.shape == (1, 4, model.vocab_size)
    tokens = model.generate(start_tokens, max_length=20, seed=1)
    assert model.tokenizer.decode(tokens.tolist()).startswith("The ")
    assert len(tokens) == 24


def test_neither_the_engine_nor_the_loop_loads_a_screen_and_the_schema_no_torch() -> None:
    code = (
        "import sys, engine, engine.config.schema, engine.config.presets, engine.protocol\n"
        "import engine.session.worker\n"
        "assert 'torch' not in sys.modules\n"
        "import engine.session.session, engine.checkpoint.store, engine.training.runtime\n"
        "assert not {'textual', 'plotext', 'rich', 'tui'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_measuring_ends_after_a_while_and_takes_the_best_it_knows(
    make_config: MakeConfig, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = dict.fromkeys([(p, t) for p in ("fp32", "bf16") for t in (1, 2)], 0.02)
    pretend(monkeypatch, seconds)
    monkeypatch.setattr(runtime, "MEASURING_SECONDS", -1.0)
    said: list[str] = []
    config = make_config(**AUTO, system__kernels="torch")
    settled = resolve_runtime(config, split, 90, said.append, quiet)
    assert (settled.precision, settled.threads) == ("bf16", 2)
    assert said == ["measuring which precision and thread count is fastest (1 of 4)"]


@pytest.mark.parametrize(
    ("built_with", "reason"),
    [
        (None, "this PyTorch is built without CUDA (see pytorch.org for a build with CUDA)"),
        ("12.8", "PyTorch cannot use it (The NVIDIA driver on your system is too old.)"),
    ],
)
def test_an_nvidia_gpu_that_pytorch_cannot_use_is_told(
    monkeypatch: pytest.MonkeyPatch, built_with: str | None, reason: str
) -> None:
    def is_available() -> bool:
        if built_with:
            warnings.warn("The NVIDIA driver on your system is too old.", stacklevel=1)
        return False

    monkeypatch.setattr(runtime, "probably_has_cuda", lambda: True)
    monkeypatch.setattr(runtime, "available_devices", lambda: ["cpu"])
    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    monkeypatch.setattr(torch.version, "cuda", built_with)
    said: list[str] = []
    assert runtime.resolve_device("auto", said.append) == "cpu"
    assert said == [f"this machine seems to have an NVIDIA GPU, but {reason}: training on the CPU"]


@pytest.mark.parametrize(
    ("told", "answer"),
    [
        ("CUDA error: no kernel image is available for execution", "was not built for this GPU"),
        ("CUDA error: device-side assert triggered\nCUDA kernel errors", "start it again"),
        ("CUDA out of memory. Tried to allocate 2 GiB", "lower train.batch_size"),
    ],
)
def test_a_gpu_that_fails_is_told_with_a_way_out(told: str, answer: str) -> None:
    assert answer in worker._described(RuntimeError(told), None)
