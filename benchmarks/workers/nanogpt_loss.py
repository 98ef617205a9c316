"""Worker: the loss of nanoGPT's own weights, in its own model, by the ruler used for all."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.workers import answer
from benchmarks.workers.measure import whole_split_loss

COMPILED_PREFIX = "_orig_mod."  # of the names in a compiled model's checkpoint


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Load a checkpoint and measure it.

    Args:
        request: ``checkout`` (its folder), ``checkpoint`` (``ckpt.pt``), ``val`` (``val.bin``),
            ``device`` and ``threads``.

    Returns:
        ``val_loss``, ``windows``, ``parameters`` (without position embeddings, as it counts) and
        ``updates``, the optimizer steps the weights have seen.
    """
    import numpy as np
    import torch

    torch.set_num_threads(request["threads"])
    checkpoint = torch.load(request["checkpoint"], map_location="cpu", weights_only=True)
    nanogpt = model_of(Path(request["checkout"]))
    model = nanogpt.GPT(nanogpt.GPTConfig(**checkpoint["model_args"]))
    weights = checkpoint["model"].items()
    model.load_state_dict({name.removeprefix(COMPILED_PREFIX): one for name, one in weights})
    model.to(request["device"]).eval()
    tokens = np.fromfile(request["val"], np.uint16)
    loss, windows = whole_split_loss(
        lambda ids: model(ids, ids)[0],  # without targets it gives the last position alone
        tokens,
        checkpoint["model_args"]["block_size"],
        request["device"],
    )
    return {
        "val_loss": loss,
        "windows": windows,
        "parameters": model.get_num_params(),
        "updates": checkpoint["iter_num"],
    }


def model_of(checkout: Path) -> ModuleType:
    """Its ``model.py``, run from its source, so that the checkout stays as it is."""
    path = checkout / "model.py"
    module = ModuleType("nanogpt_model")
    sys.modules[module.__name__] = module  # dataclasses look themselves up there
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), module.__dict__)
    return module


if __name__ == "__main__":
    answer(work)
