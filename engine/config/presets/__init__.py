"""Presets: named configurations."""

from __future__ import annotations

import dataclasses
import difflib
import os
import shutil
from pathlib import Path

from data.errors import InputError
from engine.config.presets.lecture import LADDER, ORIGINS
from engine.config.presets.recipes import GPT2, RECIPES, Preset
from engine.config.schema import Config

__all__ = [
    "GROUPS",
    "LADDER",
    "PRESETS",
    "Preset",
    "default_preset",
    "preset_config",
    "probably_has_cuda",
]

GROUPS: dict[str, tuple[Preset, ...]] = {
    "recipes to train with": RECIPES,
    "Karpathy's lecture, step by step: the validation loss it shows, and what changes": LADDER,
    "the projects this program grew from": ORIGINS,
    "GPT-2 as published (parameters counted with its own 50,257 tokens)": GPT2,
}
PRESETS = {preset.name: preset for group in GROUPS.values() for preset in group}


def preset_config(name: str) -> Config:
    """Return the configuration of a preset.

    Raises:
        InputError: There is no such preset; the message suggests the closest one.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(PRESETS)}."
        raise InputError(f"there is no preset {name!r}: {hint}")
    return dataclasses.replace(Config().replace(PRESETS[name].values), preset=name)


def default_preset(device: str = "auto") -> str:
    """Return the preset that suits the machine, without loading torch."""
    return "fast-10m" if device in ("auto", "cuda") and probably_has_cuda() else "fast"


def probably_has_cuda() -> bool:
    """Return whether there seems to be an NVIDIA GPU; only torch can tell for certain."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is not None
