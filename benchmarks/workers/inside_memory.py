"""Worker: how much memory looking inside a model of GPT-2's shape takes, by view."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from benchmarks.workers import answer, peak_bytes

VIEWS = ("attention", "steps", "prediction", "surprise", "embeddings", "layers")


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Look inside a model with random weights, the views in the order of what they take.

    Args:
        request: ``threads``.

    Returns:
        By view, the bytes that the process has held at most, beyond what it held before the first
        one.
    """
    import numpy as np
    import torch

    from data.tokenizers import CharTokenizer
    from engine.config.presets import preset_config
    from engine.inspect.background import Subject
    from engine.inspect.views import look
    from engine.machine.limits import held_bytes
    from engine.model import build_model

    torch.set_num_threads(request["threads"])
    config = preset_config("gpt2").model
    model = build_model(config, 50_257).eval()
    ids = [number * 7 % 50_257 for number in range(config.block_size)]
    tokenizer = CharTokenizer(map(chr, range(0x20, 0x20 + 50_257)))
    subject = Subject(model, tokenizer, 0, lambda: np.array(ids))
    with torch.no_grad():
        model(torch.tensor([ids[:8]]))  # what PyTorch takes for itself
    filled = np.ones(0, np.uint8)
    with suppress(OSError):  # else macOS, which does not tell
        # building a model takes more than the model, and would hide what looking takes
        filled = np.ones(max(0, peak_bytes() - held_bytes()), np.uint8)
    before, taken = peak_bytes(), {}
    options = {"layer": 3, "head": 5, "query": 900, "key": 30}
    for view in VIEWS:
        for _ in look(view, subject, ids, options):
            pass
        taken[view] = peak_bytes() - before
    del filled
    return taken


if __name__ == "__main__":
    answer(work)
