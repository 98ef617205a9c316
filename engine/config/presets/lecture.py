"""The models of Karpathy's lecture, and four teaching projects that rebuild its model.

Each model of *Let's build GPT: from scratch, in code, spelled out* (2023), a rung of the ladder,
adds a few changes to the previous one. docs/ladder.md lists the differences from the video.
"""

from __future__ import annotations

from engine.config.presets.recipes import Preset
from engine.config.setting import Value

TORCH_DEFAULTS: dict[str, Value] = {  # of torch.nn and torch.optim, which the lecture uses
    "model.init": "torch",
    "model.bias": True,
    "model.tie_weights": False,
    "model.embd_dropout": 0.0,  # the lecture has dropout inside blocks only
    "optim.schedule": "constant",
    "optim.warmup_steps": 0,
    "optim.weight_decay": 0.01,
    "optim.beta2": 0.999,
    "optim.grad_clip": 0.0,
}
SMALL: dict[str, Value] = TORCH_DEFAULTS | {  # the same until the lecture scales up
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
    "train.batch_size": 32,
    "train.max_steps": 3000,
    "optim.learning_rate": 1e-2,
    "optim.beta1": 0.9,
    "eval.interval": 500,
    "eval.batches": 200,
    "system.precision": "fp32",
}


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
    ("feed-forward", 2.24, "A linear layer and a ReLU after attention.", {"model.mlp_ratio": 1.0}),
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


def _build_ladder() -> tuple[Preset, ...]:
    rungs: list[Preset] = []
    for name, loss, changed, changes in _CHANGES:
        below = rungs[-1].values if rungs else SMALL
        rungs.append(Preset(name, changed, below | changes, changed, loss))
    return tuple(rungs)


LADDER = _build_ladder()

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
        LADDER[1].values,  # self-attention
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
