"""From ``auto`` to a decision, and the library's front door."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

import engine
from data.batches import Split
from data.errors import InputError
from engine import runtime
from engine.protocol import Adjust
from engine.runtime import resolve_runtime
from tests.engine.conftest import MakeConfig, Rig, assert_same_bits, weights

AUTO: dict[str, Any] = {
    "system__precision": "auto",
    "system__threads": 0,
    "system__micro_batch_size": 0,
}


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
    settled = resolve_runtime(make_config(**AUTO), split, 90, lambda message: None)
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
    assert resolve_runtime(config, split, 90, lambda m: None).micro_batch_size == expected


def test_what_is_asked_for_is_not_measured(
    make_config: MakeConfig, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, {})
    settled = resolve_runtime(make_config(), split, 90, lambda message: None)
    assert settled == runtime.Runtime("cpu", "fp32", 1, 4, False)


def test_measuring_for_real_changes_nothing_of_the_training(
    rig: Rig, make_config: MakeConfig
) -> None:
    measured = rig.new(make_config(system__micro_batch_size=0))
    plain = rig.new(make_config())
    for session in (measured, plain):
        rig.to_step(session, 3)
    assert measured.trainer.runtime.micro_batch_size == 4
    assert_same_bits(weights(measured.trainer.model), weights(plain.trainer.model))


def test_a_device_that_is_not_here_is_one_sentence(make_config: MakeConfig, split: Split) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(InputError, match="this machine has none that PyTorch can use"):
        resolve_runtime(make_config(system__device="cuda"), split, 90, lambda message: None)


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
        "import sys, engine, engine.config, engine.presets, engine.protocol, engine.worker\n"
        "assert 'torch' not in sys.modules\n"
        "import engine.session, engine.checkpoint, engine.runtime\n"
        "assert not {'textual', 'plotext', 'rich', 'tui'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
