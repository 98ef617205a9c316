"""What the machine does: from /proc, /sys and NVIDIA's library, and without any of them."""

from __future__ import annotations

import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.machine import limits, usage
from engine.machine.usage import Usage, main_thread_clock


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A /proc and a /sys of our own, empty at first."""
    monkeypatch.setattr(limits, "PROC", tmp_path / "proc")
    monkeypatch.setattr(usage, "SYS", tmp_path / "sys")
    monkeypatch.setattr(usage, "_library", lambda name: None)
    yield tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_machine_that_tells_nothing_has_the_load_of_this_process_alone(machine: Path) -> None:
    assert Usage().read().keys() == {"cpu_load_own"}


def test_loads_memory_temperature_and_power_are_read(machine: Path) -> None:
    write(machine / "proc/stat", "cpu  100 0 100 800 0 0 0 0 0 0\n")
    write(machine / "proc/self/statm", "500 100 10 1 0 60 0\n")
    write(machine / "sys/class/hwmon/hwmon0/name", "nvme\n")
    write(machine / "sys/class/hwmon/hwmon0/temp1_input", "99000\n")
    write(machine / "sys/class/hwmon/hwmon1/name", "k10temp\n")
    write(machine / "sys/class/hwmon/hwmon1/temp1_input", "61500\n")
    energy = machine / "sys/class/powercap/intel-rapl:0/energy_uj"
    write(energy, "1000000\n")
    one = Usage()
    write(machine / "proc/stat", "cpu  150 0 150 850 50 0 0 0 0 0\n")
    write(energy, "3000000\n")
    figures = one.read()
    assert figures["cpu_load"] == 0.5
    assert figures["cpu_temperature"] == 61.5
    assert figures["memory_host"] > 100_000
    assert figures["cpu_power"] > 0
    assert 0 <= figures["cpu_load_own"] <= 1


@pytest.mark.parametrize("broken", ["", "cpu x y\n", "cpu 1\n"])
def test_what_cannot_be_read_is_left_out(machine: Path, broken: str) -> None:
    write(machine / "proc/stat", broken)
    write(machine / "proc/self/statm", broken.replace("1", "x"))
    write(machine / "sys/class/hwmon/hwmon1/name", "coretemp\n")
    write(machine / "sys/class/hwmon/hwmon1/temp1_input", broken or "-273000\n")
    assert Usage().read().keys() == {"cpu_load_own"}


class _Nvml(types.ModuleType):
    """NVIDIA's library for a GPU that does not tell its power."""

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.asked: list[int | str] = []

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:
        self.asked.append(number)
        return number

    def nvmlDeviceGetHandleByUUID(self, name: str) -> int:
        self.asked.append(name)
        return 0

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        return types.SimpleNamespace(gpu=93)

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        return 71

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        raise RuntimeError("Not Supported")


def read_gpu(one: Usage) -> dict[str, float]:
    one.read()  # asks
    assert one._gpu
    one._gpu._asked.result(10)
    return {name: value for name, value in one.read().items() if name.startswith("gpu")}


@pytest.mark.parametrize(("visible", "asked"), [("3,5", 5), ("GPU-3a, GPU-5b", "GPU-5b"), ("", 1)])
def test_a_gpu_is_asked_what_it_knows(
    machine: Path, monkeypatch: pytest.MonkeyPatch, visible: str, asked: int | str
) -> None:
    library = _Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    one = Usage(gpu=1)
    assert read_gpu(one) == {"gpu_load": 0.93, "gpu_temperature": 71.0}
    assert set(library.asked) == {asked}
    one.close()


def test_without_the_library_a_gpu_tells_nothing(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # importing it fails
    one = Usage(gpu=0)
    assert read_gpu(one) == {}
    one.close()


def test_the_main_thread_is_timed_from_another_one_alone() -> None:
    assert main_thread_clock() is None
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(main_thread_clock()))
    thread.start()
    thread.join()
    if sys.platform == "linux":
        assert callable(found[0]) and found[0]() > 0
