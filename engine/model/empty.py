"""Models without initial weights: to read names and shapes of, or to load weights into."""

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
    with torch.device("meta"), WithoutValues():
        return build_model(config, vocab_size)


class WithoutValues(TorchFunctionMode):
    """Leaves out what fills tensors, in this thread alone.

    Where the values are not used that takes seconds for nothing, and random numbers out of the
    default generator, which a run in training in another thread may be drawing from.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name.endswith("_") and not name.startswith("__") and name != "requires_grad_":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))
