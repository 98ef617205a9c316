"""Presets: named configurations."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import os
import re
import shutil
import subprocess
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from data.errors import InputError, suggest
from engine.config.presets.lecture import LADDER, ORIGINS
from engine.config.presets.recipes import GPT2, RECIPES, Preset
from engine.config.schema import Config

__all__ = [
    "GROUPS",
    "LADDER",
    "PRESETS",
    "Gpu",
    "Preset",
    "default_preset",
    "gpu_count",
    "nvidia_gpu",
    "preset_config",
    "probably_has_cuda",
]

DRIVER = Path("/proc/driver/nvidia/gpus")  # has a folder for each GPU
DEVICES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))  # the latter is Windows' Linux's
NVIDIA_SMI_SECONDS = 2.0

GROUPS: dict[str, tuple[Preset, ...]] = {
    "recipes to train with": RECIPES,
    "Karpathy's lecture, step by step: the validation loss it shows, and what changes": LADDER,
    "four teaching projects that rebuild the lecture's model": ORIGINS,
    "GPT-2 as published (parameters counted with its own 50,257 tokens)": GPT2,
}
PRESETS = {preset.name: preset for group in GROUPS.values() for preset in group}


def preset_config(name: str) -> Config:
    """Return the configuration of a preset.

    Raises:
        InputError: There is no such preset; the message suggests the closest one.
    """
    if name not in PRESETS:
        raise InputError(f"there is no preset {name!r}: {suggest(name, PRESETS)}")
    return dataclasses.replace(Config().replace(PRESETS[name].values), preset=name)


def default_preset(device: str = "auto", wait: bool = True) -> str:
    """Return the preset that suits the machine, without loading torch.

    Args:
        wait: Ask nvidia-smi, if nothing else can tell; else a GPU that is there is taken to work.
    """
    if device not in ("auto", "cuda"):
        return "fast"
    has_cuda = _torch_has_cuda() and (
        gpu_without_asking() in (Gpu.THERE, None) if not wait else nvidia_gpu() is Gpu.THERE
    )
    return "fast-10m" if has_cuda else "fast"


def probably_has_cuda() -> bool:
    """Return whether PyTorch can probably use an NVIDIA GPU; only torch can tell for certain."""
    return _torch_has_cuda() and nvidia_gpu() is Gpu.THERE  # the quick question first


class Gpu(StrEnum):
    """What is known of an NVIDIA GPU without loading torch."""

    NONE = "none"
    THERE = "there"
    BROKEN = "broken"  # its driver does not answer


def gpu_without_asking() -> Gpu | None:
    """Return what files tell of an NVIDIA GPU; None if only nvidia-smi can tell.

    As on Windows' Linux, or in a container, which have no folder of the driver.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return Gpu.NONE
    with suppress(OSError):
        if any(DRIVER.iterdir()):
            return Gpu.THERE
    if shutil.which("nvidia-smi") is None:
        return Gpu.NONE
    return None if any(device.exists() for device in DEVICES) else Gpu.BROKEN


def gpu_count() -> int:
    """Return how many NVIDIA GPUs files tell of, without loading torch; 0 if they tell of none."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    with suppress(OSError):
        there = sum(1 for _ in DRIVER.iterdir())
        return there if chosen is None else min(there, len([x for x in chosen.split(",") if x]))
    return 0


@functools.cache
def nvidia_gpu() -> Gpu:
    """Return whether this process sees an NVIDIA GPU whose driver works; may take seconds."""
    return gpu_without_asking() or _ask_nvidia_smi()


def _ask_nvidia_smi() -> Gpu:
    try:
        asked = subprocess.Popen(
            ["nvidia-smi", "-L"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            listed, _ = asked.communicate(timeout=NVIDIA_SMI_SECONDS)
        except subprocess.TimeoutExpired:
            asked.kill()  # not waited for: it may hang in the driver
            return Gpu.BROKEN
    except OSError:
        return Gpu.BROKEN
    return Gpu.THERE if asked.returncode == 0 and b"GPU 0" in listed else Gpu.BROKEN


@functools.cache
def _torch_has_cuda() -> bool:
    """Return whether the installed torch is a build with CUDA, without loading it."""
    try:
        found = importlib.util.find_spec("torch")
        if found is None or found.origin is None:
            return False
        text = Path(found.origin).with_name("version.py").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return True
    return re.search(r"^cuda\b.*= *None", text, re.MULTILINE) is None
