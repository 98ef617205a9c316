"""How busy the machine is: processor load, memory, temperature and power; without PyTorch.

Linux tells everything about the processor in /proc and /sys, so that no library is needed there.
psutil, if it is installed, answers on other systems; NVIDIA's own library (the extra ``gpu-stats``)
answers for the GPU. What cannot be read is left out.
"""

from __future__ import annotations

import importlib
import math
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from engine.machine import limits

SYS = Path("/sys")
SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")  # of processors, as Linux calls them
HOTTEST = 150.0  # degrees; more is a broken sensor
Figures: TypeAlias = dict[str, float]


class Usage:
    """Reads figures that rise, such as processor time, as rates since the last time.

    Args:
        gpu: The number of the NVIDIA GPU that trains; None if there is none.
    """

    def __init__(self, gpu: int | None = None) -> None:
        self._cores = limits.cores()
        self._sensors = _processor_sensors()
        self._energy = _energy_counter()
        self._rising = self._read_rising()
        self._gpu = _GpuReader(gpu) if gpu is not None else None

    def read(self) -> Figures:
        """Return what is known; loads are shares, 0 to 1."""
        before, now = self._rising, self._read_rising()
        self._rising = now
        seconds = max(now["seconds"] - before["seconds"], 1e-3)
        figures = {"memory_host": _held_bytes()}
        own = (now["own"] - before["own"]) / seconds / self._cores
        figures["cpu_load_own"] = min(max(own, 0.0), 1.0)
        if (ticks := now["ticks"] - before["ticks"]) > 0:
            figures["cpu_load"] = min(max((now["busy"] - before["busy"]) / ticks, 0.0), 1.0)
        if (joules := now["joules"] - before["joules"]) > 0:
            figures["cpu_power"] = joules / seconds
        figures["cpu_temperature"] = max(map(_degrees, self._sensors), default=math.nan)
        figures |= self._gpu.latest() if self._gpu else {}
        return {name: value for name, value in figures.items() if math.isfinite(value)}

    def _read_rising(self) -> Figures:
        busy, ticks = _busy_ticks()
        return {
            "seconds": time.monotonic(),
            "own": time.process_time(),
            "busy": busy,
            "ticks": ticks,
            "joules": _number_in(self._energy) / 1e6 if self._energy else math.nan,
        }

    def close(self) -> None:
        if self._gpu:
            self._gpu.close()


def _held_bytes() -> float:
    """Return the memory that this process holds; NaN if unknown."""
    try:
        return float(limits.held_bytes())
    except (OSError, ValueError):
        psutil = _library("psutil")
        return float(psutil.Process().memory_info().rss) if psutil else math.nan


def main_thread_clock() -> Callable[[], float] | None:
    """Return a clock of the processor time of the main thread; None if this one is it.

    In the app, it is the thread that draws. None also where the system has no such clock.
    """
    main = threading.main_thread()
    if threading.current_thread() is main or not hasattr(time, "pthread_getcpuclockid"):
        return None
    try:
        clock = time.pthread_getcpuclockid(main.ident or 0)
        time.clock_gettime(clock)
    except OSError:
        return None
    return lambda: time.clock_gettime(clock)


def _busy_ticks() -> tuple[float, float]:
    """Return the processor time of all programs, and with idling; NaN if unknown."""
    try:
        with open(limits.PROC / "stat", encoding="ascii") as file:
            fields = [int(field) for field in file.readline().split()[1:9]]
        ticks = float(sum(fields))
        return ticks - fields[3] - fields[4], ticks  # idle, waiting for a disk
    except (OSError, ValueError, IndexError):
        psutil = _library("psutil")
        if psutil is None:
            return math.nan, math.nan
        times = psutil.cpu_times()
        total = float(sum(times))
        return total - float(times.idle), total


def _processor_sensors() -> list[Path]:
    found = []
    with suppress(OSError):
        for folder in sorted((SYS / "class/hwmon").iterdir()):
            with suppress(OSError):
                if (folder / "name").read_text().strip() in SENSORS:
                    found += sorted(folder.glob("temp1_input"))  # the whole package
    return found


def _energy_counter() -> Path | None:
    """Return the file that counts the microjoules of the processor's package, if it is readable."""
    path = SYS / "class/powercap/intel-rapl:0/energy_uj"
    return path if os.access(path, os.R_OK) and math.isfinite(_number_in(path)) else None


def _degrees(path: Path) -> float:
    degrees = _number_in(path) / 1000
    return degrees if 0 < degrees < HOTTEST else math.nan


def _number_in(path: Path) -> float:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return math.nan


def _library(name: str) -> Any:
    """Import an optional library; None if it is missing or does not load."""
    try:
        return importlib.import_module(name)
    except Exception:  # a broken installation fails in its own ways, and nothing depends on it
        return None


class _GpuReader:
    """Asks NVIDIA's library in a thread of its own: a driver may take its time to answer."""

    def __init__(self, number: int) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="gpu-stats")
        self._number, self._asked = number, Future[Figures]()
        self._asked.set_result({})
        self._latest: Figures = {}
        self._library: Any = None
        self._works = True

    def latest(self) -> Figures:
        """Return the last answer, and ask again."""
        if self._asked.done() and self._works:
            self._latest = self._asked.result()
            self._asked = self._pool.submit(self._read)
        return self._latest

    def _read(self) -> Figures:
        try:
            if self._library is None:
                self._library = importlib.import_module("pynvml")
                self._library.nvmlInit()
            nvml = self._library
            handle = _handle(nvml, self._number)
        except Exception:  # no library, no driver, or another version of either
            self._works = False
            return {}
        figures: Figures = {}
        asks: tuple[tuple[str, Callable[[], Any]], ...] = (
            ("gpu_load", lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100),
            ("gpu_temperature", lambda: nvml.nvmlDeviceGetTemperature(handle, 0)),
            ("gpu_power", lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000),
        )
        for name, ask in asks:
            with suppress(Exception):  # not every GPU knows each of them
                figures[name] = float(ask())
        return figures

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _handle(nvml: Any, number: int) -> Any:
    """Return what the library knows a GPU by, of those that the environment leaves visible."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    name = visible.split(",")[number].strip() if visible else str(number)
    if name.isdecimal():
        return nvml.nvmlDeviceGetHandleByIndex(int(name))
    return nvml.nvmlDeviceGetHandleByUUID(name)
