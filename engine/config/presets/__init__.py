"""Named configurations."""

from __future__ import annotations

import dataclasses
import difflib
import os
import shutil
from pathlib import Path

from data.errors import InputError
from engine.config.presets.gpt2 import GPT2
from engine.config.presets.ladder import LADDER
from engine.config.presets.origins import ORIGINS
from engine.config.presets.preset import Preset
from engine.config.presets.recipes import FAST, MODERN, RECIPES
from engine.config.schema import Config

__all__ = [
    "FAST",
    "GROUPS",
    "LADDER",
    "MODERN",
    "PRESETS",
    "Preset",
    "default_preset",
    "preset_config",
    "probably_has_cuda",
]

GROUPS: dict[str, tuple[Preset, ...]] = {
    "to train with": RECIPES,
    "Karpathy's lecture, rung by rung: the validation loss it shows, and what changes": LADDER,
    "where this program comes from": ORIGINS,
    "GPT-2 as published (counted with its own 50,257 tokens)": GPT2,
}
PRESETS = {preset.name: preset for group in GROUPS.values() for preset in group}


def preset_config(name: str) -> Config:
    """The configuration a preset stands for.

    Raises:
        InputError: There is no such preset; the sentence names the nearest.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(PRESETS)}."
        raise InputError(f"there is no preset {name!r}: {hint}")
    return dataclasses.replace(Config().replace(PRESETS[name].values), preset=name)


def default_preset(device: str = "auto") -> str:
    """The preset that suits the machine, judged without loading torch."""
    return "fast-10m" if device in ("auto", "cuda") and probably_has_cuda() else "fast"


def probably_has_cuda() -> bool:
    """Whether an NVIDIA GPU seems to be there; torch has the last word when it loads."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is not None
