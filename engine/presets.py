"""Named configurations."""

from __future__ import annotations

import dataclasses
import difflib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from data.errors import InputError
from engine.config import Config
from engine.settings import Value


@dataclass(frozen=True)
class Preset:
    """A named set of changes to the schema's defaults."""

    name: str
    help: str
    values: dict[str, Value]


MODERN: dict[str, Value] = {  # docs/experiments.md says what each of these buys
    "model.position": "rotary",
    "model.n_gram": 3,
    "model.norm": "layer",
    "model.qk_norm": True,
    "model.activation": "relu2",
    "model.zero_init": True,
    "model.tie_weights": False,
    "model.embd_std": 0.3,
    "model.rope_theta": 300.0,
    "optim.optimizer": "muon",
    "optim.schedule": "linear",
    "optim.learning_rate": 0.02,
    "optim.muon_lr": 0.03,
    "optim.min_lr": 0.0,
    "optim.momentum": 0.9,
    "optim.beta2": 0.95,
    "optim.weight_decay": 0.0,
    "optim.grad_clip": 0.0,
    "optim.warmup_steps": 0,
}
FAST = MODERN | {"model.n_head": 2, "train.max_steps": 300}

PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "tiny",
            "0.1 M parameters, done in seconds: a first look, and the tests.",
            {
                "model.n_layer": 2,
                "model.n_head": 2,
                "model.n_embd": 64,
                "model.block_size": 32,
                "train.batch_size": 16,
                "train.max_steps": 400,
                "optim.learning_rate": 3e-3,
                "optim.min_lr": 3e-4,
                "optim.warmup_steps": 20,
                "eval.interval": 100,
                "eval.batches": 10,
                "checkpoint.interval": 200,
                "system.precision": "fp32",
            },
        ),
        Preset(
            "fast",
            "0.8 M parameters, our own best recipe: to nanoGPT's final loss in seconds.",
            FAST,
        ),
        Preset(
            "nanogpt-cpu",
            "0.8 M parameters, nanoGPT's recipe for a laptop: minutes on a CPU.",
            {"system.precision": "fp32"},
        ),
        Preset(
            "nanogpt",
            "10.7 M parameters, nanoGPT's Shakespeare recipe: minutes on a GPU, hours on a CPU.",
            {
                "model.n_layer": 6,
                "model.n_head": 6,
                "model.n_embd": 384,
                "model.block_size": 256,
                "model.dropout": 0.2,
                "train.batch_size": 64,
                "train.max_steps": 5000,
            },
        ),
    )
}


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
    return "nanogpt" if device in ("auto", "cuda") and probably_has_cuda() else "nanogpt-cpu"


def probably_has_cuda() -> bool:
    """Whether an NVIDIA GPU seems to be there; torch has the last word when it loads."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is not None
