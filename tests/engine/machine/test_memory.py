"""A model that cannot fit is refused before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data.errors import InputError
from engine.config.schema import ModelConfig
from engine.machine import memory
from engine.machine.memory import check_memory, memory_now, parameter_estimate, why_killed
from engine.model import build_model


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_weights": False},
        {"n_kv_head": 1, "position": "rotary"},
        {"n_gram": 4, "activation": "swiglu"},
        {"architecture": "bigram"},
    ],
)
def test_the_estimate_is_close_to_the_model(changes: dict[str, Any]) -> None:
    shape: dict[str, Any] = {"n_layer": 3, "n_head": 2, "n_embd": 64, "block_size": 16}
    config = ModelConfig(**shape | changes)
    exact = sum(parameter.numel() for parameter in build_model(config, 65).parameters())
    assert parameter_estimate(config, 65) == pytest.approx(exact, rel=0.01)


def test_a_model_beyond_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "probably_has_cuda", lambda: False)
    with pytest.raises(InputError, match=r"needs .* GB of memory, and this machine has .* GB"):
        check_memory(ModelConfig(n_layer=200, n_head=2, n_embd=32768), 65)
    check_memory(ModelConfig(), 65)


# How much there is, and whether it ran out


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernel's tables, of a machine with 8 GB left of which a container may have 1 GB."""
    files = {
        "self/statm": "9000 5000 300",
        "meminfo": "MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\n",
        "vmstat": "nr_free_pages 7\noom_kill 3\n",
        "memory.max": "3000000000",
        "memory.current": "2500000000",
        "memory.stat": "active_file 1\ninactive_file 500000000\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(memory, "PROC", tmp_path)
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    return tmp_path


def test_what_is_left_is_that_of_the_container_if_it_has_less(kernel: Path) -> None:
    now = memory_now()
    assert now is not None
    assert (now["left"], now["kills"]) == (1_000_000_000, 3)
    assert now["held"] % 5000 == 0
    (kernel / "memory.max").write_text("max")
    unlimited = memory_now()
    assert unlimited is not None and unlimited["left"] == 8_000_000 * 1024


def test_where_the_kernel_tells_nothing_nothing_is_said(kernel: Path) -> None:
    (kernel / "vmstat").unlink()
    assert memory_now() is None
    assert why_killed(None, None, 8) == ""


@pytest.mark.parametrize(
    ("before", "kills", "killed"),
    [
        ({"held": 90, "left": 900, "kills": 1}, 1, False),
        ({"held": 990, "left": 9, "kills": 1}, 1, True),
        ({"held": 90, "left": 900, "kills": 1}, 2, True),
        ({"held": 90, "left": 900, "kills": 1}, 0, False),  # the machine was started again
    ],
)
def test_it_was_memory_if_little_was_left_or_the_kernel_has_killed(
    before: dict[str, int], kills: int, killed: bool
) -> None:
    told = why_killed(before, {"held": 1, "left": 1, "kills": kills}, 8)
    assert ("memory ran out" in told and "micro_batch_size to 4" in told) is killed
    smallest = why_killed(before, {"held": 1, "left": 1, "kills": kills}, 1)
    assert ("smaller model" in smallest) is killed
