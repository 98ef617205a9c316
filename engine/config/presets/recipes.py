"""Recipes to train with: a quick test, nanoGPT's, and the fastest known here."""

from __future__ import annotations

from engine.config.presets.preset import Preset
from engine.config.setting import Value

MODERN: dict[str, Value] = {  # docs/experiments.md has the measured effect of each
    "model.position": "rotary",
    "model.n_gram": 3,
    "model.qk_norm": True,
    "model.activation": "relu2",
    "model.tie_weights": False,
    "optim.optimizer": "muon",
    "optim.schedule": "linear",
    "optim.learning_rate": 0.01,
    "optim.muon_lr": 0.02,
    "optim.min_lr": 0.0,
    "optim.momentum": 0.9,
    "optim.beta2": 0.95,
    "optim.weight_decay": 0.0,
    "optim.grad_clip": 0.0,
    "optim.warmup_steps": 0,
}
FAST = MODERN | {"model.n_head": 2}  # 2,000 steps, the same number of tokens as nanogpt-cpu
SIZE_10M: dict[str, Value] = {  # the shape of nanoGPT's Shakespeare model
    "model.n_layer": 6,
    "model.n_head": 6,
    "model.n_embd": 384,
    "model.block_size": 256,
    "model.dropout": 0.2,
    "train.batch_size": 64,
}
REGULARISED: dict[str, Value] = {  # for a model large enough to memorise the text
    "model.dropout": 0.15,
    "model.attn_dropout": 0.3,
    "optim.weight_decay": 1.0,  # multiplied by the learning rate, which starts large and ends at 0
}

RECIPES = (
    Preset(
        "tiny",
        "0.1 M, seconds on a CPU: for a first try, and for tests.",
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
    Preset("fast", "0.8 M, the fastest recipe: nanoGPT's final loss in seconds.", FAST),
    Preset(
        "fast-10m",
        "10.7 M, the fastest recipe, with weight decay and dropout: seconds on a GPU.",
        MODERN | SIZE_10M | REGULARISED | {"train.max_steps": 1000},
    ),
    Preset(
        "nanogpt-cpu",
        "0.8 M, nanoGPT's recipe for a laptop: minutes on a CPU.",
        {"system.precision": "fp32"},
    ),
    Preset(
        "nanogpt",
        "10.7 M, nanoGPT's Shakespeare recipe: minutes on a GPU.",
        SIZE_10M | {"train.max_steps": 5000},
    ),
)
