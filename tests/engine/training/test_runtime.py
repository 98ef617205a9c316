"""From ``auto`` to a decision, and the library's front door."""

from __future__ import annotations

import dataclasses
import gc
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import engine
from data.batches import Split
from data.errors import InputError
from engine.config.presets import Gpu, preset_config
from engine.config.schema import ModelConfig
from engine.lr_finder.finder import prepare
from engine.lr_finder.ramp import Ramp
from engine.machine.limits import bounded_threads
from engine.machine.memory import LARGEST_SHARE, described_failure
from engine.metrics import MetricStore
from engine.protocol import (
    Adjust,
    Evaluate,
    Event,
    Failed,
    Fork,
    Open,
    Refused,
    Resume,
    Rewind,
    Sample,
    Save,
    State,
    Warned,
)
from engine.session.worker import EngineLoop
from engine.training import memory_probe, runtime, throughput
from engine.training.memory_probe import largest_micro_batch
from engine.training.runtime import resolve_precision, resolve_runtime, usable_here
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


def test_a_sequence_that_takes_very_long_is_told_before_it_is_begun(
    make_config: MakeConfig, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, {("fp32", 1): 1234.5})
    said: list[str] = []
    config = make_config(system__micro_batch_size=0, system__kernels="torch")
    resolve_runtime(config, split, 90, quiet, said.append)
    assert said == [
        "one sequence of 8 tokens takes about 1,234 seconds here, and training pauses and stops "
        "only between two: lower model.block_size"
    ]


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


@pytest.mark.parametrize(("bf16", "chosen"), [(0.01, "bf16"), (0.24, "fp32")])
def test_measuring_ends_after_a_while_but_not_before_each_precision_was_tried(
    make_config: MakeConfig,
    split: Split,
    monkeypatch: pytest.MonkeyPatch,
    bf16: float,
    chosen: str,
) -> None:
    seconds = {(p, t): one for p, one in (("fp32", 0.02), ("bf16", bf16)) for t in (1, 2)}
    pretend(monkeypatch, seconds)
    monkeypatch.setattr(runtime, "MEASURING_SECONDS", -1.0)
    said: list[str] = []
    config = make_config(**AUTO, system__kernels="torch")
    settled = resolve_runtime(config, split, 90, said.append, quiet)
    assert (settled.precision, settled.threads) == (chosen, 2)
    measuring = "measuring which precision and thread count is fastest"
    assert said == [f"{measuring} (1 of 4)", f"{measuring} (2 of 4)"]


def test_a_precision_that_is_hopeless_here_is_measured_once(
    make_config: MakeConfig, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {("fp32", 2): 0.02, ("fp32", 1): 0.03, ("bf16", 2): 0.24}  # no (bf16, 1)
    pretend(monkeypatch, seconds)
    settled = resolve_runtime(make_config(**AUTO), split, 90, quiet, quiet)
    assert (settled.precision, settled.threads) == ("fp32", 2)


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

    monkeypatch.setattr(runtime, "nvidia_gpu", lambda: Gpu.THERE)
    monkeypatch.setattr(runtime, "available_devices", lambda: ["cpu"])
    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    monkeypatch.setattr(torch.version, "cuda", built_with)
    said: list[str] = []
    assert runtime.resolve_device("auto", said.append) == "cpu"
    assert said == [f"this machine seems to have an NVIDIA GPU, but {reason}: training on the CPU"]


def test_a_gpu_that_the_build_has_no_kernels_for_is_told_and_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")

    runtime.why_no_kernels.cache_clear()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla K80")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (3, 7))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_90"])
    monkeypatch.setattr(torch, "ones", fail)
    try:
        for asked in ("auto", "cuda"):
            said: list[str] = []
            assert runtime.resolve_device(asked, said.append) == "cpu"
            (told,) = said
            assert "no kernels for the Tesla K80 (sm_37, it has sm_75, sm_90)" in told
            assert "training on the CPU" in told
        assert not runtime.is_usable("cuda") and runtime.is_usable("cpu")
    finally:
        runtime.why_no_kernels.cache_clear()


@pytest.mark.parametrize(
    ("wall", "cpu", "counted"),
    [
        (60.0, 0.2, 0.2),  # stopped, or asleep
        (60.0, 58.0, 60.0),  # a slow quantum
        (4.0, 0.0, 4.0),  # waiting, as for a GPU
    ],
)
def test_the_time_in_which_a_process_is_stopped_is_not_training_time(
    monkeypatch: pytest.MonkeyPatch, wall: float, cpu: float, counted: float
) -> None:
    clocks = {"perf_counter": 100.0, "process_time": 7.0}
    for name in clocks:
        monkeypatch.setattr(time, name, lambda name=name: clocks[name])
    watch = throughput.Stopwatch()
    clocks["perf_counter"] += wall
    clocks["process_time"] += cpu
    assert watch.seconds() == pytest.approx(counted)


# What somebody believed: a recorded number of threads, or a precision of another card


@pytest.mark.parametrize(
    ("asked", "got", "sentence"),
    [
        (8, 8, ""),
        (1024, 8, "system.threads is 1024, and this process may use 2 cores: training with 8 "
         "threads instead"),
    ],
)  # fmt: skip
def test_many_more_threads_than_cores_are_bounded_and_told(
    make_config: MakeConfig,
    split: Split,
    monkeypatch: pytest.MonkeyPatch,
    asked: int,
    got: int,
    sentence: str,
) -> None:
    monkeypatch.setattr("engine.machine.limits.cores", lambda: 2)
    monkeypatch.setattr(runtime, "cores", lambda: 2)
    said: list[str] = []
    config = make_config(system__threads=asked, system__kernels="torch")
    assert resolve_runtime(config, split, 90, quiet, said.append).threads == got
    assert said == ([sentence] if sentence else [])


def test_threads_that_a_run_recorded_elsewhere_are_bounded_and_told(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(system__threads=2))
    rig.to_step(session, 2)
    database = session.files.database
    known = database.meta()["runtime"]
    known["asked"]["threads"] = known["resolved"]["threads"] = 1024
    database.set_meta(runtime=known)
    session = rig.open(rig.close(session))
    most = session.trainer.runtime.threads
    assert most == torch.get_num_threads() == bounded_threads(1024) < 1024
    assert f"training with {most} threads instead" in rig.said(Warned)[0].message
    assert session.files.database.meta()["runtime"]["resolved"]["threads"] == most


def test_a_precision_that_this_card_only_emulates_is_replaced_when_a_run_is_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation
    )
    said: list[str] = []
    elsewhere = Runtime("cuda", "bf16", 1, 4, False, "native", True)
    here = usable_here(elsewhere, said.append)
    assert here == dataclasses.replace(elsewhere, precision="fp32")
    assert "supports only fp32 and tf32 and fp16" in said[0]


# Long contexts are predicted and measured from short sequences


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model__position": "rotary", "model__n_gram": 3},
        {"model__attn_dropout": 0.3, "system__kernels": "torch"},
        {"system__precision": "bf16"},
    ],
)
def test_the_memory_of_long_sequences_is_predicted_from_short_ones(
    make_trainer: MakeTrainer, changes: dict[str, Any]
) -> None:
    trainer = make_trainer(model__block_size=300, **changes)
    for size in (1, 2):
        predicted = memory_probe._kept_by_a_pass(trainer, size)
        assert predicted == pytest.approx(memory_probe.kept_bytes(trainer, size), rel=0.001)


def test_a_context_of_a_hundred_thousand_is_measured_in_a_moment(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "PASS_FLOPS", 1e9)
    long = Split(np.zeros(131_073, np.uint8), np.zeros(131_073, np.uint8))
    config = make_config(model__block_size=131_072, **AUTO)
    started = time.monotonic()
    with suppress(InputError):  # this machine may have too little memory
        resolve_runtime(config, long, 90, quiet, quiet)
    assert time.monotonic() - started < 30


# A GPU, as far as a CPU can show it


@pytest.fixture
def free_gpu_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Pretend that a GPU has so many bytes free."""

    def pretend_free(free: int) -> None:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, 80 * 10**9))
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)

    return pretend_free


def test_a_model_beyond_the_gpu_is_refused_before_it_is_built(
    make_config: MakeConfig, split: Split, free_gpu_memory: Callable[[int], None]
) -> None:
    free_gpu_memory(10**9)
    config = preset_config("gpt2")
    with pytest.raises(InputError) as refused:
        runtime._fitting_micro_batch(config, split, 50257, "cuda", quiet)
    assert str(refused.value) == (
        "this model has 0.1 billion parameters and needs 2.4 GB of the GPU's memory, of which 1.0 "
        "GB are free: lower model.n_layer or model.n_embd, or set system.device to cpu"
    )


def test_a_micro_batch_beyond_the_gpu_is_refused_and_the_one_that_fits_is_named(
    make_trainer: MakeTrainer,
    monkeypatch: pytest.MonkeyPatch,
    free_gpu_memory: Callable[[int], None],
) -> None:
    trainer = make_trainer()
    monkeypatch.setattr(memory_probe, "peak_bytes", lambda trainer, size: 10**6 * (3 + size))
    monkeypatch.setattr(trainer, "device", SimpleNamespace(type="cuda"))
    monkeypatch.setattr(memory_probe, "kept_bytes", lambda trainer, size, length=None: 10**6)
    weights_too = 12 * trainer.model.parameter_count() + 3 * 10**6
    free_gpu_memory(int((weights_too + 5.5 * 10**6) / LARGEST_SHARE))
    assert largest_micro_batch(trainer, 5) == 5
    with pytest.raises(InputError, match=r"set system.micro_batch_size to 5 or less"):
        largest_micro_batch(trainer, 6)


# Memory that runs out, wherever it does, and a GPU that fails

OUT_OF_MEMORY = {
    "allocator": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "driver": torch.AcceleratorError("CUDA error: out of memory", 2),
    "cpu": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: Error code 12"),
    "python": MemoryError(),
}


@pytest.fixture(params=OUT_OF_MEMORY)
def failing(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], AbstractContextManager[None]]:
    """Run out of memory in a function while a block runs."""

    @contextmanager
    def fail(where: str) -> Iterator[None]:
        def out_of_memory(*_: Any, **__: Any) -> None:
            raise OUT_OF_MEMORY[request.param]

        with monkeypatch.context() as patch:
            patch.setattr(where, out_of_memory)
            yield

    return fail


Fail = Callable[[str], AbstractContextManager[None]]
TRAINER = "engine.training.trainer.Trainer"
WHERE_SESSIONS_WORK = {
    "a pass": (f"{TRAINER}._loss", None),
    "an update": ("engine.optim.optimizer.Optimizer._check_memory", None),
    "reading": ("engine.session.results.Results.read", None),
    "an evaluation": (f"{TRAINER}.evaluate_quanta", Evaluate()),
    "a snapshot": ("engine.session.run_state.take_snapshot", Save()),
    "a rewind": (f"{TRAINER}._loss", Rewind(1)),
    "a fork": ("engine.session.fork.write_checkpoint", Fork()),
    "weights of another step": ("engine.session.session.read_model", Sample({}, step=2)),
}


@pytest.mark.parametrize("what", WHERE_SESSIONS_WORK)
def test_wherever_memory_runs_out_the_run_pauses_is_saved_and_goes_on(
    rig: Rig, make_config: MakeConfig, failing: Fail, what: str
) -> None:
    where, command = WHERE_SESSIONS_WORK[what]
    session = rig.new(make_config(checkpoint__interval=2, system__micro_batch_size=4))
    rig.to_step(session, 3)
    session.saving.collect(None)  # the checkpoint of step 2 is written
    twin = weights(session.trainer.model)
    told = len(rig.said(Warned))
    with failing(where):
        if command:
            rig.send(session, command)
        rig.until(session, lambda: session.status.state is State.PAUSED)
        with suppress(AssertionError):  # it rests, or it goes on failing to save
            rig.rest(session)
    (first, *_) = rig.said(Warned)[told:]
    assert first.message == (
        "memory ran out, so training is paused and saved: gpt-tui train --resume run-1 --set "
        "system.micro_batch_size=2 takes the same steps in more passes"
    )
    if session.trainer.step == 3:
        assert_same_bits(weights(session.trainer.model), twin)
    rig.send(session, Save())
    rig.until(session, lambda: session.status.saved_step == session.trainer.step)
    rig.send(session, Resume())
    rig.to_step(session, 6)
    plain = rig.new(make_config(checkpoint__interval=2))
    rig.to_step(plain, 6)
    assert_same_bits(weights(session.trainer.model), weights(plain.trainer.model))


def test_without_memory_to_come_back_from_a_rewind_the_run_ends_and_is_whole(
    rig: Rig, make_config: MakeConfig, failing: Fail
) -> None:
    session = rig.new(make_config(checkpoint__interval=2))
    rig.to_step(session, 3)
    session.saving.collect(None)
    with failing("engine.session.run_state.restore"):
        rig.send(session, Rewind(2))
        with pytest.raises((MemoryError, RuntimeError)) as failed:
            rig.rest(session)
        assert described_failure(failed.value).startswith("memory ran out: ")
    reopened = rig.open(rig.close(session, save=False))
    assert reopened.trainer.step == 3
    rig.to_step(reopened, 5)


def test_without_memory_for_a_copy_of_the_weights_a_sample_is_refused(
    rig: Rig, make_config: MakeConfig, failing: Fail
) -> None:
    session = rig.new(make_config())
    rig.to_step(session, 2)
    with failing("engine.sampling.background.freeze"):
        rig.send(session, Sample({}))
        assert rig.said(Refused)[-1].message.startswith("there is too little memory left")
    with failing("engine.sampling.generate.Generation.__next__"):
        rig.send(session, Sample({}))
        rig.until(session, lambda: not session.sampler.active)
        assert "ended early: there is too little memory left" in rig.said(Warned)[-1].message
    rig.to_step(session, 4)


@pytest.mark.parametrize("where", ["engine.session.build.Trainer", "engine.session.build.restore"])
def test_without_memory_to_open_a_run_it_is_refused_and_stays_whole(
    rig: Rig, make_config: MakeConfig, failing: Fail, where: str
) -> None:
    session = rig.new(make_config())
    rig.to_step(session, 3)
    path = rig.close(session)
    with failing(where), pytest.raises(InputError, match=r"do not fit into the memory"):
        rig.open(path)
    rig.to_step(rig.open(path), 5)


def test_the_learning_rate_finder_without_memory_says_so(
    make_config: MakeConfig, failing: Fail
) -> None:
    ramp = Ramp(steps=3)
    losses = MetricStore().column("train_loss")
    with failing("engine.lr_finder.finder.Trainer"), pytest.raises(InputError, match=LITTLE):
        prepare(make_config(), ramp, losses, quiet, quiet, lambda: False)
    finder = prepare(make_config(), ramp, losses, quiet, quiet, lambda: False)
    with failing(f"{TRAINER}._loss"), pytest.raises(InputError, match=LITTLE):
        next(finder.quanta())


LITTLE = r"too little memory for the learning-rate finder"


@pytest.mark.parametrize(
    ("told", "answer"),
    [
        ("CUDA error: no kernel image is available for execution", "was not built for this GPU"),
        ("CUDA error: device-side assert triggered\nCUDA kernel errors", "start it again"),
    ],
)
def test_a_gpu_that_fails_is_one_sentence_and_the_run_is_whole(
    rig: Rig,
    make_config: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
    told: str,
    answer: str,
) -> None:
    """Afterwards each further call fails, too, those that close the run among them."""
    session = rig.new(make_config(checkpoint__interval=2))
    rig.to_step(session, 3)
    path = rig.close(session)
    said: list[Event] = []
    loop = EngineLoop(said.append)
    loop.send(Open(str(path), running=True))

    def fail(*_: Any, **__: Any) -> None:
        loop.end()
        raise torch.AcceleratorError(told, 1)

    with monkeypatch.context() as patch:
        patch.setattr(f"{TRAINER}._loss", fail)
        patch.setattr("engine.session.results.Results.read", fail)
        loop.run()
    (failed,) = [one for one in said if isinstance(one, Failed)]
    assert answer in failed.message and "\n" not in failed.message
    assert not [one for one in said if isinstance(one, Warned)]
    rig.to_step(rig.open(path), 5)


# On a real GPU


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.mark.gpu
@needs_cuda
def test_a_gpu_without_room_refuses_a_model_and_a_micro_batch(
    make_config: MakeConfig, split: Split
) -> None:
    gc.collect()  # what tests before this one held would be free again at the next allocation
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    with pytest.raises(InputError, match=r"of the GPU's memory, of which"):
        memory_probe.check_gpu_memory(ModelConfig(n_layer=200, n_head=2, n_embd=32768), 65)
    taken = torch.empty(free - 2**29, dtype=torch.uint8, device="cuda")  # by another program
    try:
        config = make_config(
            train__batch_size=65536, system__micro_batch_size=65536, model__n_embd=256
        )
        with pytest.raises(InputError, match=r"set system.micro_batch_size to \d+ or less"):
            runtime._fitting_micro_batch(config, split, 90, "cuda", quiet)
    finally:
        del taken
        torch.cuda.empty_cache()


@pytest.mark.gpu
@needs_cuda
def test_the_training_time_on_a_gpu_rises_with_every_step(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(system__device="cuda", train__max_steps=400))
    rig.to_step(session, 300)
    session._results.read()
    session.outlet.flush()
    _, seconds = session.files.database.metric(0, "train_seconds")
    each = np.diff(seconds)
    assert (each > 0).all()
    assert np.median(each[100:]) == pytest.approx(each[100:].mean(), rel=0.5)


@pytest.mark.gpu
@needs_cuda
def test_a_gpu_that_ran_out_of_memory_pauses_the_run_saves_it_and_goes_on(
    rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = rig.new(make_config(system__device="cuda", system__cuda_graph=False))
    rig.to_step(session, 3)

    def too_large(*_: Any) -> torch.Tensor:
        return torch.empty(2**50, dtype=torch.uint8, device="cuda")

    with monkeypatch.context() as patch:
        patch.setattr(session.trainer, "_loss", too_large)
        rig.until(session, lambda: session.status.state is State.PAUSED)
    rig.until(session, lambda: session.status.saved_step == 3)
    rig.send(session, Resume())
    rig.to_step(session, 5)
