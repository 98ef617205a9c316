"""The models of Karpathy's lecture *Let's build GPT: from scratch, in code, spelled out* (2023).

Each model (a rung of the ladder) adds a few changes to the previous one. docs/ladder.md lists the
differences from the video.
"""

from __future__ import annotations

from engine.config.presets.preset import Preset
from engine.config.setting import Value

SMALL: dict[str, Value] = {  # the same in all models before the lecture scales up
    "model.architecture": "bigram",
    "model.n_layer": 1,
    "model.n_head": 1,
    "model.n_embd": 32,
    "model.block_size": 8,
    "model.mlp_ratio": 0.0,
    "model.activation": "relu",
    "model.norm": "none",
    "model.residual": False,
    "model.output_proj": False,
    "model.bias": True,
    "model.tie_weights": False,
    "model.init": "torch",
    "model.embd_dropout": 0.0,  # the lecture has dropout inside blocks only
    "train.batch_size": 32,
    "train.max_steps": 3000,
    "optim.learning_rate": 1e-2,
    "optim.schedule": "constant",
    "optim.warmup_steps": 0,
    "optim.weight_decay": 0.01,  # this and the betas are torch's defaults
    "optim.beta1": 0.9,
    "optim.beta2": 0.999,
    "optim.grad_clip": 0.0,
    "eval.interval": 500,
    "eval.batches": 200,
    "system.precision": "fp32",
}


def _build_ladder() -> list[Preset]:
    rungs: list[Preset] = []
    values = SMALL
    for name, loss, changed, changes in _CHANGES:
        values = values | changes
        rungs.append(Preset(name, changed, values, changed, loss))
    return rungs


_CHANGES: tuple[tuple[str, float, str, dict[str, Value]], ...] = (
    ("bigram", 2.49, "A table of next-token logits.", {}),
    (
        "self-attention",
        2.40,
        "One attention head of size 32, with token and position embeddings; "
        "learning rate 1e-3 for 5000 steps.",
        {"model.architecture": "gpt", "optim.learning_rate": 1e-3, "train.max_steps": 5000},
    ),
    ("multi-head", 2.28, "4 heads of size 8.", {"model.n_head": 4}),
    (
        "feed-forward",
        2.24,
        "A linear layer and a ReLU after attention.",
        {"model.mlp_ratio": 1.0},
    ),
    (
        "residual",
        2.08,
        "3 blocks with residual connections, output projections and an MLP 4x as wide.",
        {
            "model.n_layer": 3,
            "model.residual": True,
            "model.output_proj": True,
            "model.mlp_ratio": 4.0,
        },
    ),
    (
        "layer-norm",
        2.06,
        "A layer norm before each sublayer and at the end.",
        {"model.norm": "layer"},
    ),
    (
        "lecture",
        1.48,
        "Scaled up: 6 layers, 6 heads, width 384, context 256, batch 64, dropout 0.2, "
        "learning rate 3e-4, any precision.",
        {
            "model.n_layer": 6,
            "model.n_head": 6,
            "model.n_embd": 384,
            "model.block_size": 256,
            "model.dropout": 0.2,
            "train.batch_size": 64,
            "optim.learning_rate": 3e-4,
            "system.precision": "auto",
        },
    ),
)

LADDER = tuple(_build_ladder())
