"""Worker: tokens a second of sampling, by us, by nanoGPT's ``generate`` or by transformers'.

The weights are freshly initialised: which token comes next makes no difference to the time.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.workers import answer
from benchmarks.workers.measure import now
from benchmarks.workers.nanogpt_loss import model_of
from engine.config.schema import ModelConfig

if TYPE_CHECKING:
    from torch import Tensor

WARM_UP_TOKENS = 4
LEAST_SECONDS = 1.0  # what takes less is done again
Generate = Callable[[int, int, int], object]  # texts, tokens of each start, tokens to add


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Write texts and stop the time.

    Args:
        request: ``program`` (ours, nanogpt or hf), ``checkout`` (nanoGPT's), ``model`` (the
            shape), ``vocab_size``, ``device``, ``threads``, ``precisions`` and ``tasks``: by name
            how many texts, how many tokens each starts with and how many each gets.

    Returns:
        ``told``: for each precision that was computed in, its name as ``precision`` and ``speeds``,
        by task the tokens a second of all texts together; that the start is read counts.
    """
    import torch

    torch.set_num_threads(request["threads"])
    torch.manual_seed(0)
    config = ModelConfig(**request["model"])
    told: list[dict[str, Any]] = []
    for asked in request["precisions"]:
        precision, generate = PROGRAMS[request["program"]](request, config, asked)
        if precision not in [one["precision"] for one in told]:
            told.append({"precision": precision, "speeds": _speeds(request, generate)})
    return {"told": told}


def _speeds(request: dict[str, Any], generate: Generate) -> dict[str, float]:
    speeds = {}
    for name, (texts, start, tokens) in request["tasks"].items():
        generate(texts, start, min(tokens, WARM_UP_TOKENS))
        begin, times, seconds = now(request["device"]), 0, 0.0
        while seconds < LEAST_SECONDS:
            generate(texts, start, tokens)
            times, seconds = times + 1, now(request["device"]) - begin
        speeds[name] = times * texts * tokens / seconds
    return speeds


def _ours(request: dict[str, Any], config: ModelConfig, asked: str) -> tuple[str, Generate]:
    import torch

    from engine.config.schema import SampleConfig
    from engine.model import build_model
    from engine.sampling.frozen import freeze
    from engine.sampling.generate import Generation
    from engine.training.precision import DTYPES

    model = build_model(config, request["vocab_size"]).to(request["device"])
    model.compute_dtype = DTYPES[asked]
    frozen = freeze(model)

    def generate(texts: int, start: int, tokens: int) -> object:
        return list(
            Generation(frozen, [0] * start, tokens, SampleConfig(temperature=1.0), range(texts))
        )

    # a small model is written with in fp32 whatever it trains in
    return "fp32" if frozen.dtype == torch.float32 else asked, generate


def _nanogpt(request: dict[str, Any], config: ModelConfig, asked: str) -> tuple[str, Generate]:
    module = model_of(Path(request["checkout"]))
    shape = module.GPTConfig(**_shape(config), vocab_size=request["vocab_size"], bias=config.bias)
    model = module.GPT(shape).eval().to(request["device"])

    def generate(texts: int, start: int, tokens: int) -> object:
        with _casting(request["device"], asked):
            return model.generate(_zeros(texts, start, request["device"]), tokens)

    return asked, generate


def _hf(request: dict[str, Any], config: ModelConfig, asked: str) -> tuple[str, Generate]:
    transformers = importlib.import_module("transformers")
    shape = _shape(config) | {"n_positions": config.block_size}
    shape.pop("block_size")
    settings = transformers.GPT2Config(
        **shape, vocab_size=request["vocab_size"], bos_token_id=None, eos_token_id=None
    )
    model = transformers.GPT2LMHeadModel(settings).eval().to(request["device"])

    def generate(texts: int, start: int, tokens: int) -> object:
        ids = _zeros(texts, start, request["device"])
        with _casting(request["device"], asked):
            return model.generate(
                ids,
                attention_mask=ids + 1,
                max_new_tokens=tokens,
                do_sample=True,
                top_k=0,
                use_cache=True,
                pad_token_id=0,
            )

    return asked, generate


PROGRAMS = {"ours": _ours, "nanogpt": _nanogpt, "hf": _hf}


def _shape(config: ModelConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in ("n_layer", "n_head", "n_embd", "block_size")}


def _zeros(texts: int, tokens: int, device: str) -> Tensor:
    import torch

    return torch.zeros(texts, tokens, dtype=torch.long, device=device)


def _casting(device: str, precision: str) -> Any:
    """The surroundings that nanoGPT's sample.py gives its model."""
    import torch

    from engine.training.precision import DTYPES

    return nullcontext() if precision == "fp32" else torch.autocast(device, DTYPES[precision])


if __name__ == "__main__":
    answer(work)
