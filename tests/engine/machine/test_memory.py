"""A model that cannot fit is refused before anything is built."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from data.errors import InputError
from engine.config.model_size import parameter_count
from engine.config.presets import preset_config
from engine.config.schema import ModelConfig
from engine.machine import limits, memory
from engine.machine.memory import check_memory, memory_now, why_killed
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
def test_the_parameters_are_counted_without_the_model(changes: dict[str, Any]) -> None:
    shape: dict[str, Any] = {"n_layer": 3, "n_head": 2, "n_embd": 64, "block_size": 16}
    config = ModelConfig(**shape | changes)
    exact = sum(parameter.numel() for parameter in build_model(config, 65).parameters())
    assert parameter_count(config, 65) == exact


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
        "self/statm": "9000 5000 300 0 0 2000 0",
        "meminfo": "MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\n",
        "vmstat": "nr_free_pages 7\noom_kill 3\n",
        "memory.max": "3000000000",
        "memory.current": "2500000000",
        "memory.stat": "active_file 1\ninactive_file 500000000\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(limits, "PROC", tmp_path)
    monkeypatch.setattr(limits, "CGROUP", tmp_path)
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda which: unlimited)
    return tmp_path


def write(folder: Path, **files: object) -> None:
    """Write files of a control group."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


@pytest.mark.parametrize(
    ("model", "way_out"),
    [
        (ModelConfig(n_layer=200, n_head=2, n_embd=32768), "lower model.n_layer or model.n_embd"),
        (ModelConfig(n_embd=32768), "lower model.n_embd, or take a text with fewer than its 1,1"),
        (ModelConfig(n_layer=1, n_head=1, n_embd=8, block_size=65536), "GB: lower model.block_siz"),
        (ModelConfig(architecture="bigram"), "GB: take a text with fewer than its 1,100,000 diff"),
    ],
)
def test_what_makes_a_model_smaller_is_what_made_it_large(model: ModelConfig, way_out: str) -> None:
    with pytest.raises(InputError) as refused:
        check_memory(model, 65 if model.n_layer == 200 else 1_100_000)
    assert way_out in str(refused.value)


def test_the_logits_of_a_large_vocabulary_and_their_gradient_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "probably_has_cuda", lambda: False)
    model = ModelConfig(n_layer=1, n_head=1, n_embd=8, block_size=1024)
    V, T = 100_000, 1024
    state = parameter_count(model, V) * memory.TRAINING_BYTES
    assert state < 2 * T * V * 4 / 10
    for short, refused in ((0, False), (1, True)):
        needed = state + 2 * T * V * 4
        monkeypatch.setattr(memory, "physical_bytes", lambda n=needed - short: n)
        monkeypatch.setattr(memory, "LARGEST_SHARE", 1)
        with pytest.raises(InputError, match="block_size") if refused else nullcontext():
            check_memory(model, V)


def test_what_is_left_is_that_of_the_container_if_it_has_less(kernel: Path) -> None:
    now = memory_now()
    assert now is not None
    assert (now["left"], now["kills"]) == (1_000_000_000, 3)
    assert now["held"] % 5000 == 0
    (kernel / "memory.max").write_text("max")
    unlimited = memory_now()
    assert unlimited is not None and unlimited["left"] == 8_000_000 * 1024


MB = 10**6


def in_a_service(kernel: Path) -> None:
    """Version 2: the group of this process is unlimited, the one around it is not."""
    write(kernel / "self", cgroup="0::/batch.slice/job")
    write(kernel / "batch.slice" / "job", memory__max="max", cpu__max="max 100000")
    write(
        kernel / "batch.slice",
        memory__max=700 * MB,
        memory__current=200 * MB,
        cpu__max="150000 100000",
    )
    write(kernel / "batch.slice", memory__stat="inactive_file 50000000")


def in_an_old_container(kernel: Path) -> None:
    """Version 1; the path is that of the host, and what is mounted is the group itself."""
    write(kernel / "self", cgroup="4:memory:/docker/0123\n2:cpu,cpuacct:/docker/0123\n0::/")
    files = {"memory__limit_in_bytes": 700 * MB, "memory__usage_in_bytes": 200 * MB}
    write(kernel / "memory", **files, memory__stat="total_inactive_file 50000000")
    write(kernel / "cpu,cpuacct", cpu__cfs_quota_us=150000, cpu__cfs_period_us=100000)


@pytest.mark.parametrize("place", [in_a_service, in_an_old_container])
def test_limits_are_those_of_the_control_groups_around_this_process(
    kernel: Path, monkeypatch: pytest.MonkeyPatch, place: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(memory, "probably_has_cuda", lambda: False)
    place(kernel)
    assert memory.physical_bytes() == 700 * MB
    assert memory.available_bytes() == 550 * MB
    gpt2 = preset_config("gpt2").model
    with pytest.raises(InputError, match=r"needs 2\.4 GB of memory, and this process may use 0\.7"):
        check_memory(gpt2, 50257)


@pytest.mark.parametrize(
    ("which", "left"),
    [(resource.RLIMIT_AS, 700 * MB - 9000), (resource.RLIMIT_DATA, 700 * MB - 2000)],
)
def test_ulimit_is_a_limit(
    kernel: Path, monkeypatch: pytest.MonkeyPatch, which: int, left: int
) -> None:
    def getrlimit(asked: int) -> tuple[int, int]:
        limit = 700 * MB if asked == which else resource.RLIM_INFINITY
        return limit, resource.RLIM_INFINITY

    monkeypatch.setattr(resource, "getrlimit", getrlimit)
    monkeypatch.setattr(os, "sysconf", lambda name: 1 if name == "SC_PAGE_SIZE" else 10**10)
    assert memory.physical_bytes() == 700 * MB
    assert memory.available_bytes() == left


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max", 8), ("100000", 1), ("150000", 1), ("50000", 1), ("400000", 4), ("6400000", 8)],
)
def test_threads_are_as_many_as_the_quota_and_the_affinity_allow(
    kernel: Path, monkeypatch: pytest.MonkeyPatch, quota: str, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(os, "process_cpu_count", lambda: 8, raising=False)
    write(kernel, cpu__max=f"{quota} 100000")
    assert limits.cores() == expected
    assert limits.bounded_threads(10**9) == 4 * expected
    assert limits.bounded_threads(3) == 3


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
