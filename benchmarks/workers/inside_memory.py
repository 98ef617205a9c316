"""Worker: how much memory looking inside a model of GPT-2's shape takes, by view."""

from __future__ import annotations

import resource
import sys
from typing import Any

from benchmarks.workers import answer

VIEWS = ("attention", "steps", "prediction", "surprise", "embeddings", "layers")


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Look inside a model with random weights, the views in the order of what they take.

    Args:
        request: ``threads``.

    Returns:
        By view, the bytes that the process has held at most since before the first one.
    """
    import numpy as np
    import torch

    from data.tokenizers import CharTokenizer
    from engine.config.presets import preset_config
    from engine.inspect.background import Subject
    from engine.inspect.views import look
    from engine.model import build_model

    torch.set_num_threads(request["threads"])
    config = preset_config("gpt2").model
    model = build_model(config, 50_257).eval()
    ids = [number * 7 % 50_257 for number in range(config.block_size)]
    tokenizer = CharTokenizer(map(chr, range(0x20, 0x20 + 50_257)))
    subject = Subject(model, tokenizer, 0, lambda: np.array(ids))
    with torch.no_grad():
        model(torch.tensor([ids[:8]]))  # what PyTorch takes for itself
    before, taken = _peak(), {}
    options = {"layer": 3, "head": 5, "query": 900, "key": 30}
    for view in VIEWS:
        for _ in look(view, subject, ids, options):
            pass
        taken[view] = _peak() - before
    return taken


def _peak() -> int:
    """Return the largest size of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    answer(work)
