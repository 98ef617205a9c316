"""GPT-2 in its four sizes (Radford et al. 2019, table 2).

GPT-2 approximates GELU by a tanh, here it is exact: the two differ by 5e-4 at most. The recipe is
nanoGPT's for its reproduction of the 124 M model: half a million tokens per step. The larger models
use the learning rates that GPT-3 lists for their sizes (Brown et al. 2020, table 2.1).
"""

from __future__ import annotations

from engine.config.presets.preset import Preset
from engine.config.setting import Value

VOCAB_SIZE = 50_257  # of GPT-2's own tokenizer
RECIPE: dict[str, Value] = {
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


def _size(name: str, size: str, layers: int, heads: int, width: int, rate: float) -> Preset:
    shape: dict[str, Value] = {
        "model.n_layer": layers,
        "model.n_head": heads,
        "model.n_embd": width,
        "optim.learning_rate": rate,
        "optim.min_lr": rate / 10,
    }
    told = f"{size}: {layers} layers, {heads} heads, width {width}."
    return Preset(name, told, RECIPE | shape, vocab_size=VOCAB_SIZE)


GPT2 = (
    _size("gpt2", "124 M", 12, 12, 768, 6e-4),
    _size("gpt2-medium", "355 M", 24, 16, 1024, 3e-4),
    _size("gpt2-large", "774 M", 36, 20, 1280, 2.5e-4),
    _size("gpt2-xl", "1558 M", 48, 25, 1600, 2e-4),
)
