"""A model of which only the names and shapes are read, without memory for its weights."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from engine.config.schema import ModelConfig
from engine.model import LanguageModel, build_model


@lru_cache(maxsize=8)  # the checkpoints of a run have the same
def build_empty_model(config: ModelConfig, vocab_size: int) -> LanguageModel:
    """Build a model on the device ``meta``; callers share it."""
    with torch.device("meta"), _WithoutValues():
        return build_model(config, vocab_size)


class _WithoutValues(TorchFunctionMode):
    """Leaves out what fills tensors: without memory that does nothing, but takes seconds."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name.endswith("_") and not name.startswith("__") and name != "requires_grad_":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))
