"""Presets that reproduce the small projects this program grew from."""

from __future__ import annotations

from engine.config.presets.ladder import LADDER
from engine.config.presets.preset import Preset
from engine.config.setting import Value

TORCH_DEFAULTS: dict[str, Value] = {  # of torch.nn and torch.optim
    "model.init": "torch",
    "model.bias": True,
    "model.tie_weights": False,
    "model.embd_dropout": 0.0,
    "optim.schedule": "constant",
    "optim.warmup_steps": 0,
    "optim.weight_decay": 0.01,
    "optim.beta2": 0.999,
    "optim.grad_clip": 0.0,
}
_SELF_ATTENTION = next(rung for rung in LADDER if rung.name == "self-attention")

ORIGINS = (
    Preset(
        "lets-build-gpt",
        "The lecture's width and depth with a context of 8 characters.",
        TORCH_DEFAULTS
        | {
            "model.n_layer": 6,
            "model.n_head": 6,
            "model.n_embd": 384,
            "model.block_size": 8,
            "model.dropout": 0.2,
            "model.activation": "relu",
            "train.batch_size": 64,
            "train.max_steps": 5000,
            "optim.learning_rate": 3e-4,
            "optim.grad_clip": 1.0,
            "eval.interval": 500,
        },
    ),
    Preset(
        "gpt-from-scratch",
        # 1000 x 1,003,854 characters / (32 x 64), rounded up
        "0.8 M for 1000 epochs: 490,164 steps on tinyshakespeare, half a day on a CPU; it can be "
        "stopped at any time and is saved every 100 steps. Variants: model.position=sinusoidal, "
        "model.norm_place=post.",
        TORCH_DEFAULTS
        | {
            "model.n_layer": 4,
            "model.n_head": 8,
            "model.n_embd": 128,
            "model.block_size": 64,
            "model.dropout": 0.2,
            "train.batch_size": 32,
            "train.max_epochs": 1000.0,
            "optim.learning_rate": 5e-5,
            "eval.interval": 100,
            "eval.batches": 10,
            "checkpoint.interval": 100,
        },
    ),
    Preset(
        "jax-notebooks",
        "One block of scaled self-attention; the bigram model of the notebooks is preset bigram.",
        _SELF_ATTENTION.values,
    ),
    Preset(
        "transformer-layer",
        "One layer as in Attention is all you need: width 512, 8 heads, post-norm. To inspect it: "
        "gpt-tui model transformer-layer --trace TEXT.",
        {
            "model.n_layer": 1,
            "model.n_head": 8,
            "model.n_embd": 512,
            "model.position": "sinusoidal",
            "model.norm_place": "post",
            "model.activation": "relu",
            "model.dropout": 0.1,
            "model.bias": True,
        },
    ),
)
