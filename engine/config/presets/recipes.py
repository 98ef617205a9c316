"""Recipes to train with: a quick test, nanoGPT's, the fastest known here, and GPT-2."""

from __future__ import annotations

from msgspec import Struct

from engine.config.setting import Value


class Preset(Struct, frozen=True):
    """A named set of changes to the schema's defaults."""

    name: str
    help: str  # one sentence
    values: dict[str, Value]
    changed: str = ""  # the changes from the previous model of the lecture
    lecture_loss: float | None = None  # validation loss shown in the video, nats per token
    vocab_size: int | None = None  # of the published model; None takes the text's


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
# 4,096 tokens are three letters each: a step reads more text and takes longer, and tables of the
# tokens before would learn pairs of words by heart. docs/experiments.md has what else was tried.
FAST_BPE = FAST | {
    "data.tokenizer": "bpe",
    "data.vocab_size": 4096,
    "model.n_gram": 1,
    "optim.weight_decay": 0.5,
    "train.max_steps": 800,
}
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
    Preset("fast", "0.8 M, the fastest recipe: nanoGPT's final loss in a tenth of its time.", FAST),
    Preset(
        "fast-bpe",
        "1.8 M, fast with tokens of several letters (bpe): 7 % fewer bits per byte, and sooner.",
        FAST_BPE,
    ),
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
        "10.6 M, nanoGPT's Shakespeare recipe: minutes on a GPU.",
        SIZE_10M | {"train.max_steps": 5000},
    ),
)

# GPT-2 approximates GELU by a tanh, here it is exact: the two differ by 5e-4 at most. The recipe is
# nanoGPT's for its reproduction of the 124 M model: half a million tokens per step. The larger
# models use the learning rates that GPT-3 lists for their sizes (Brown et al. 2020, table 2.1).
GPT2_VOCAB_SIZE = 50_257  # of GPT-2's own tokenizer
GPT2_RECIPE: dict[str, Value] = {
    "model.block_size": 1024,
    "model.bias": True,
    "train.batch_size": 12,
    "train.grad_accum_steps": 40,
    "train.max_steps": 600_000,
    "optim.warmup_steps": 2000,
    "optim.beta2": 0.95,
    "eval.interval": 1000,
    "checkpoint.interval": 1000,
}


def _gpt2(name: str, size: str, layers: int, heads: int, width: int, rate: float) -> Preset:
    shape: dict[str, Value] = {
        "model.n_layer": layers,
        "model.n_head": heads,
        "model.n_embd": width,
        "optim.learning_rate": rate,
        "optim.min_lr": round(rate / 10, 9),  # not 5.9999999999999995e-05
    }
    told = f"{size} as published: {layers} layers, {heads} heads, width {width}."
    return Preset(name, told, GPT2_RECIPE | shape, vocab_size=GPT2_VOCAB_SIZE)


GPT2 = (  # its four sizes (Radford et al. 2019, table 2)
    _gpt2("gpt2", "124 M", 12, 12, 768, 6e-4),
    _gpt2("gpt2-medium", "355 M", 24, 16, 1024, 3e-4),
    _gpt2("gpt2-large", "774 M", 36, 20, 1280, 2.5e-4),
    _gpt2("gpt2-xl", "1558 M", 48, 25, 1600, 2e-4),
)
